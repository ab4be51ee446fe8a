from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ssl_zoo.scans.image_folder import natural_key
from ssl_zoo.scans.reader import UnreadableScan, open_scan
from tests.scans.numbered import picture


def write(folder, names, **settings):
    """One numbered picture for each name, in the order of `names`."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / name, **settings)
    return folder


def test_images_are_frames_in_the_natural_order_of_their_names(tmp_path, number):
    names = [f"frame {k} (a).png" for k in range(1, 13)]
    folder = write(tmp_path / "scan [1]", names)
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._frame 1 (a).png").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    scan = open_scan(folder, fps=10)
    assert (len(scan), scan.width, scan.height, scan.decoder) == (12, 96, 64, "pillow")
    assert [number(image) for _, image in scan.frames(range(12))] == list(range(12))
    assert [number(image) for image in scan.read([11, 0, 11])] == [11, 0, 11]
    np.testing.assert_allclose(scan.times, np.arange(12) / 10)
    np.testing.assert_allclose(open_scan(folder).times, np.arange(12) / 25)  # the stated default


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".bmp", ".tif", ".webp", ".pgm"])
def test_any_kind_of_image_will_do(tmp_path, number, suffix):
    scan = open_scan(write(tmp_path / "scan", [f"{k}{suffix}" for k in range(3)]))
    assert [number(image) for image in scan.read(range(3))] == [0, 1, 2]


def test_levels_and_colours_are_kept(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colour = np.stack([ramp, 255 - ramp, ramp // 2], axis=-1)
    clear = np.concatenate([colour, np.full((16, 16, 1), 0, np.uint8)], axis=-1)
    expected = {"1": ramp, "2": ramp, "3": colour, "4": np.zeros_like(colour)}
    for name, pixels in {"1": ramp, "2": ramp.astype(np.uint16) * 257, "3": colour, "4": clear}.items():
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
        image = open_scan(tmp_path / name).read([0], channels=3)[0]
        wanted = expected[name] if expected[name].ndim == 3 else np.repeat(expected[name][..., None], 3, axis=2)
        np.testing.assert_array_equal(image, wanted)
    np.testing.assert_array_equal(open_scan(tmp_path / "1").read([0])[0], ramp)


def test_a_folder_that_is_no_scan_is_unreadable_with_a_reason(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableScan, match="without images"):
        open_scan(tmp_path / "empty")
    sizes = write(tmp_path / "sizes", ["1.png", "2.png"])
    Image.fromarray(np.zeros((10, 20), np.uint8)).save(sizes / "3.png")
    with pytest.raises(UnreadableScan, match=r"several sizes: '3\.png' has 20x10 pixels and '1\.png' 96x64"):
        open_scan(sizes)
    text = write(tmp_path / "text", ["1.png"])
    (text / "2.png").write_text("no image")
    with pytest.raises(UnreadableScan, match=r"holds '2\.png', which is no image"):
        open_scan(text)
    cut = write(tmp_path / "cut", ["1.png", "2.png"])
    whole = (cut / "2.png").read_bytes()
    (cut / "2.png").write_bytes(whole[: len(whole) - 40])
    scan = open_scan(cut)
    with pytest.raises(UnreadableScan, match=r"holds '2\.png', which cannot be decoded"):
        scan.read([0, 1])


def test_names_sort_as_people_count():
    names = ["a10.png", "a9.png", "A1.png", "b.png", "a09.png", "3.png", "a1b2.png", "a1b10.png"]
    assert sorted(names, key=natural_key) == [
        "3.png",
        "A1.png",
        "a1b2.png",
        "a1b10.png",
        "a09.png",
        "a9.png",
        "a10.png",
        "b.png",
    ]
