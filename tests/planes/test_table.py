from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ssl_zoo.errors import UserError
from ssl_zoo.planes.table import load_images, read_planes

TWO = [
    {"image": "images/a.png", "label": "4CH", "patient_id": "007"},
    {"image": "images/b.png", "label": "LVOT", "patient_id": "8"},
]


def changed(row: int, **values: str) -> list[dict[str, str]]:
    rows = [dict(entry) for entry in TWO]
    rows[row].update(values)
    return rows


def test_a_table_is_read_with_text_patients_and_defaults(table):
    planes = read_planes(table(TWO))
    assert planes.classes == ("4CH", "LVOT")
    assert list(planes.patients) == ["007", "8"]
    assert list(planes.table["cohort"]) == ["internal"] * 2
    assert list(planes.table["split"]) == ["", ""]
    assert planes.table["frame"].isna().all()
    assert list(planes.table.index) == [0, 1]
    assert planes.internal.all()


def test_the_class_list_fixes_the_codes(table):
    planes = read_planes(table(TWO), classes=["LVOT", "4CH"])
    assert planes.labels.tolist() == [1, 0]


def test_further_columns_are_kept_and_spaces_are_not(table):
    planes = read_planes(
        table(changed(0, label=" 4CH ", operator="x", split="Train ")[:1] + changed(1, split="test")[1:])
    )
    assert planes.classes == ("4CH", "LVOT")
    assert list(planes.table["split"]) == ["train", "test"]
    assert planes.table["operator"].iloc[0] == "x"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"image": "images/a.png", "label": "4CH"}], ["patient_id", "image, label"]),
        (changed(1, label=""), ["row 2", "label"]),
        (changed(1, patient_id=" "), ["row 2", "patient_id"]),
        (changed(1, image="../b.png"), ["row 2", "../b.png"]),
        (changed(1, image="images/none.jpg"), ["row 2", "no such file", "images/none.jpg"]),
        (changed(1, split="tset"), ["row 2", "tset", "did you mean 'test'"]),
        (changed(1, split="test"), ["row 1", "split", "empty"]),
        (changed(1, frame="3"), ["row 2", "not a video"]),
        (changed(1, image="scan.mp4"), ["row 2", "video", "frame"]),
        (changed(1, image="scan.mp4", frame="-1"), ["row 2", "'-1'"]),
        (changed(1, image="scan.mp4", frame="two"), ["row 2", "'two'"]),
        (changed(1, label="4CH"), ["planes.csv", "4CH"]),
    ],
)
def test_a_wrong_row_is_named(table, rows, says):
    with pytest.raises(UserError) as caught:
        read_planes(table(rows))
    assert all(part in str(caught.value) for part in ["planes.csv", *says]), caught.value


def test_a_label_outside_the_class_list_names_its_row_and_the_nearest_class(table):
    with pytest.raises(UserError, match=r"planes\.csv, row 2: unknown label 'LVOT'; did you mean 'lvot'"):
        read_planes(table(TWO), classes=["4CH", "lvot"])
    with pytest.raises(UserError, match=r"row 2: unknown label 'LVOT'; did you mean 'RVOT'"):
        read_planes(table(TWO), classes=["4CH", "RVOT"])


def test_a_class_without_an_image_is_refused(table):
    with pytest.raises(UserError, match="3VT"):
        read_planes(table(TWO), classes=["4CH", "LVOT", "3VT"])


def test_files_that_are_no_tables_are_refused(tmp_path: Path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 4)
    (tmp_path / "ragged.csv").write_text("image,label,patient_id\na,b,c,d\n")
    (tmp_path / "header.csv").write_text("image,label,patient_id\n")
    for name in ("empty.csv", "binary.csv", "ragged.csv", "header.csv", "none.csv", "."):
        with pytest.raises(UserError):
            read_planes(tmp_path / name)


def test_the_fingerprint_changes_with_labels_and_pixels_and_not_with_the_place(table, tmp_path: Path):
    first = read_planes(table(TWO)).fingerprint
    assert read_planes(table(TWO)).fingerprint == first
    shutil.copytree(tmp_path, tmp_path.parent / f"{tmp_path.name}_moved")
    assert read_planes(tmp_path.parent / f"{tmp_path.name}_moved" / "planes.csv").fingerprint == first
    assert read_planes(table(changed(0, patient_id="9"))).fingerprint != first
    assert read_planes(table(changed(0, cohort="other"))).fingerprint != first
    assert read_planes(table(TWO), classes=["LVOT", "4CH"]).fingerprint != first
    Image.fromarray(np.full((20, 30), 77, np.uint8)).save(tmp_path / "images/a.png")
    assert read_planes(table(TWO)).fingerprint != first


@pytest.mark.parametrize("column", ["site", "split", "operator"])
def test_the_fingerprint_does_not_change_with_a_column_that_decides_no_number(table, column):
    first = read_planes(table(TWO)).fingerprint
    rows = [{**row, column: value} for row, value in zip(TWO, ("train", "test"), strict=True)]
    assert read_planes(table(rows)).fingerprint == first


@pytest.mark.parametrize("place", [0, 30_000, 50_000, 99_999])
def test_the_fingerprint_changes_with_any_byte_of_a_large_image(table, tmp_path: Path, place):
    path, image = table(TWO), tmp_path / "images/a.png"
    content = bytearray(np.random.default_rng(0).bytes(100_000))
    image.write_bytes(content)
    first = read_planes(path).fingerprint
    before = image.stat()
    content[place] ^= 1
    image.write_bytes(content)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert read_planes(path).fingerprint != first


def test_images_keep_their_aspect_ratio_on_black(table):
    images = load_images(read_planes(table(TWO)), size=30, channels=1)
    assert images.shape == (2, 30, 30)
    assert images.dtype == np.uint8
    assert (images[1, 5:25] == 10).all()
    assert (images[1, :5] == 0).all()
    assert (images[1, 25:] == 0).all()
    assert load_images(read_planes(table(TWO)), size=16, channels=3).shape == (2, 16, 16, 3)


def test_rows_are_loaded_in_the_order_they_are_asked_for(table):
    planes = read_planes(table(TWO))
    both = load_images(planes, 16, 1)
    assert (load_images(planes, 16, 1, rows=[1, 0, 1]) == both[[1, 0, 1]]).all()


@pytest.mark.parametrize("mode", ["L", "1", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_colour_mode_shows_the_same_grey(table, tmp_path: Path, mode, channels):
    path = table(TWO)
    grey = np.full((24, 24), 255, np.uint8)
    grey[:12] = 0
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert("RGB" if mode in ("P", "RGBA") else "L").convert(mode)
    image.save(tmp_path / "images/a.png")
    loaded = load_images(read_planes(path), 24, channels)[0]
    assert (loaded.reshape(24, 24, -1) == grey[..., None]).all()


def test_what_is_transparent_is_black(table, tmp_path: Path):
    path = table(TWO)
    Image.fromarray(np.full((8, 8, 4), [200, 200, 200, 0], np.uint8)).save(tmp_path / "images/a.png")
    assert (load_images(read_planes(path), 8, 1)[0] == 0).all()


@pytest.mark.parametrize("content", [b"", b"not an image", "half"])
def test_an_image_that_is_not_one_is_named_with_its_row(table, tmp_path: Path, content):
    path = table(TWO)
    file = tmp_path / "images/b.png"
    if content == "half":
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(file)
        content = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"planes\.csv, row 2: images/b\.png is not an image"):
        load_images(read_planes(path), 16, 1)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """12 frames of 64 x 48, frame i of grey 20 * i, with B frames, so that decoding and presentation order differ."""
    path = tmp_path / "scan.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "3", "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_frame_of_a_video_is_counted_in_presentation_order(table, video):
    rows = [{"image": "scan.mp4", "label": "ab"[f % 2], "patient_id": "1", "frame": str(f)} for f in (7, 0, 11, 7)]
    rows[1]["label"] = "a"
    images = load_images(read_planes(table([*rows, {**TWO[0], "label": "a", "frame": ""}])), 32, 1)
    assert images[:4, 16, 16].astype(int) == pytest.approx([140, 0, 220, 140], abs=4)
    assert (images[0, :4] == 0).all()  # 64 x 48 becomes 32 x 24


def test_the_fingerprint_changes_with_a_video_that_is_written_anew(table, video):
    rows = [*TWO, {"image": "scan.mp4", "label": "4CH", "patient_id": "1", "frame": "2"}]
    first = read_planes(table(rows)).fingerprint
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * number + 1, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert read_planes(table(rows)).fingerprint != first


def test_a_frame_past_the_end_is_named(table, video):
    rows = [*TWO, {"image": "scan.mp4", "label": "4CH", "patient_id": "1", "frame": "12"}]
    with pytest.raises(UserError, match=r"row 3: scan\.mp4 has 12 frames"):
        load_images(read_planes(table(rows)), 32, 1)


def test_a_broken_video_is_named(table, tmp_path: Path):
    (tmp_path / "scan.mp4").write_bytes(b"nothing" * 100)
    rows = [*TWO, {"image": "scan.mp4", "label": "4CH", "patient_id": "1", "frame": "2"}]
    with pytest.raises(UserError, match=r"row 3: scan\.mp4"):
        load_images(read_planes(table(rows)), 32, 1)


@pytest.fixture
def linked(table, tmp_path: Path) -> Callable[[str], Path]:
    """A table whose second image is a link, or lies in a linked folder, to a place outside of the table's folder."""

    def write(kind: str) -> Path:
        path = table(TWO)
        elsewhere = tmp_path.parent / f"{tmp_path.name}_elsewhere"
        elsewhere.mkdir()
        if kind == "file":
            (tmp_path / "images/b.png").rename(elsewhere / "b.png")
            (tmp_path / "images/b.png").symlink_to(elsewhere / "b.png")
        elif kind == "folder":
            (tmp_path / "images").rename(elsewhere / "images")
            (tmp_path / "images").symlink_to(elsewhere / "images")
        elif kind == "inside":
            (tmp_path / "images/b.png").rename(tmp_path / "images/c.png")
            (tmp_path / "images/b.png").symlink_to(tmp_path / "images/c.png")
        else:  # the table's own folder
            (elsewhere / "link").symlink_to(tmp_path)
            path = elsewhere / "link" / "planes.csv"
        return path

    return write


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_out_of_the_tables_folder_is_refused_unless_it_is_allowed(linked, kind):
    path = linked(kind)
    with pytest.raises(UserError, match=r"images/.\.png' leaves .* by a link; planes\.allow_outside=true permits it"):
        read_planes(path)
    assert len(read_planes(path, allow_outside=True)) == 2


@pytest.mark.parametrize("kind", ["inside", "table"])
def test_a_link_that_stays_in_the_tables_folder_is_followed(linked, kind):
    assert len(read_planes(linked(kind))) == 2


@pytest.mark.parametrize("name", ["../b.png", "absolute"])
def test_a_path_out_of_the_tables_folder_is_refused_unless_it_is_allowed(table, tmp_path: Path, name):
    path = table(TWO)
    outside = tmp_path.parent / f"{tmp_path.name}_b.png"
    (tmp_path / "images/b.png").rename(outside)
    name = str(outside) if name == "absolute" else f"../{outside.name}"
    path.write_text(path.read_text().replace("images/b.png", name))
    with pytest.raises(UserError, match=r"row 2, column 'image': .*planes\.allow_outside=true permits it"):
        read_planes(path)
    assert load_images(read_planes(path, allow_outside=True), 16, 1)[1].max() == 10


def test_a_table_without_patients_needs_a_word_that_images_stand_for_themselves(table, video):
    rows = [{name: value for name, value in row.items() if name != "patient_id"} for row in TWO]
    rows += [{"image": "scan.mp4", "label": "4CH", "frame": frame} for frame in ("1", "5")]
    path = table([{"frame": "", **row} for row in rows])
    with pytest.raises(UserError, match=r"no column 'patient_id' .*planes\.unit=image"):
        read_planes(path)
    planes = read_planes(path, by_image=True)
    assert planes.by_image
    assert len(set(planes.patients[:2])) == 2
    assert planes.patients[2] == planes.patients[3]  # frames of one video stay together


def test_a_table_with_patients_cannot_be_divided_by_image(table):
    with pytest.raises(UserError, match=r"row 1: the table names the patient '007'"):
        read_planes(table(TWO), by_image=True)


def test_the_real_lung_frames_are_read():
    source = Path(__file__).parents[2] / "../shared/data/covid_blues/planes.csv"
    if not source.is_file():
        pytest.skip("COVID-BLUES is not at ../shared/data/covid_blues")
    planes = read_planes(source)
    assert planes.classes == ("b_lines", "no_b_lines")
    assert len(set(planes.patients)) == 14
    images = load_images(planes, 64, 1, rows=range(6))
    assert images.shape == (6, 64, 64)
    assert images.std() > 5
