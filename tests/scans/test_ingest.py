"""From folders of files to a store: all kinds of scans together, broken ones, crashes, cleaning, the report."""

from __future__ import annotations

import dataclasses
import errno
import math
import shutil
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from ssl_zoo.cli import app
from ssl_zoo.config.schema import CleaningConfig
from ssl_zoo.errors import UserError
from ssl_zoo.scans.cleaning import CleaningSettings, ScanCleaning
from ssl_zoo.scans.frames import build_store, source_fingerprint
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import read_scans
from tests.scans.numbered import picture

ALL = SamplerSettings("stride", every=1)
KILLER = """
import os, signal
import av
real = av.open
def open_or_die(file, *more, **settings):
    name = str(file)
    if "killer" in name:
        log = name.split("file:")[-1] + ".opened"
        with open(log, "a") as handle:
            handle.write("x")
        if "late" not in name or os.path.getsize(log) > 1:  # a video is opened once before its frames are decoded
            os.kill(os.getpid(), signal.SIGSEGV)
    return real(file, *more, **settings)
av.open = open_or_die
"""


def build(folder: Path, out: Path, workers: int = 1, **more) -> FrameStore:
    settings = {"sampler": ALL, "size": 96} | more
    return build_store(read_scans(folder), out, workers=workers, progress=False, **settings)


@pytest.fixture
def mixed(tmp_path, make_video, make_dicom) -> Path:
    """One scan of each kind, numbered from 0 on."""
    h5py = pytest.importorskip("h5py")
    folder = tmp_path / "scans"
    make_dicom(folder / "a dicom", 4, FrameTime=100, PixelSpacing=[0.2, 0.2])
    (folder / "b images [2]").mkdir()
    stack = np.stack([picture(number) for number in range(5)])
    for number in range(5):
        Image.fromarray(stack[number]).save(folder / f"b images [2]/{number}.png")
    np.save(folder / "c.npy", stack)
    with h5py.File(folder / "d.h5", "w") as file:
        file["x"] = stack[:3]
    make_video(folder / "e.webm", 6, codec="libvpx-vp9")
    make_video(folder / "f.gif", 5, codec="gif", pixels="gray")
    return folder


def test_all_kinds_of_scans_come_into_one_store(tmp_path, mixed, number):
    store = build(mixed, tmp_path / "store")
    assert store.index.groupby("scan_id", sort=False).size().tolist() == [4, 5, 5, 3, 6, 5]
    assert [number(frame[16:80]) for frame in store.frames] == store.index["frame"].tolist()
    first = store.index.groupby("scan_id", sort=False).head(2).groupby("scan_id", sort=False)["time_s"].last()
    np.testing.assert_allclose(first, [0.1, 0.04, 0.04, 0.04, 0.04, 0.04])
    assert store.meta["decoded_by"] == {"h5py": 1, "numpy": 1, "pillow": 1, "pyav": 2, "pydicom": 1}
    assert store.skipped == []


def test_the_report_says_what_was_found_in_each_scan(tmp_path, mixed):
    (mixed / "g.mp4").write_bytes(b"")
    build(mixed, tmp_path / "store", sampler=SamplerSettings("uniform", per_scan=3), size=48)
    report = pd.read_csv(tmp_path / "store/report.csv", dtype={"note": str})
    assert report["scan"].tolist() == ["a dicom", "b images [2]", "c.npy", "d.h5", "e.webm", "f.gif", "g.mp4"]
    assert report["outcome"].tolist() == ["read"] * 6 + ["skipped"]
    assert report["frames"].tolist() == [4, 5, 5, 3, 6, 5, 0]
    assert report["kept"].tolist() == [3] * 6 + [0]
    assert report["reason"].isna().tolist() == [True] * 6 + [False]
    assert report["width"].tolist() == [96] * 6 + [0]
    assert report["spacing_mm"].fillna(0).tolist() == pytest.approx([0.4, 0, 0, 0, 0, 0, 0])


def test_spacing_is_that_of_a_stored_pixel(tmp_path, make_dicom, make_video):
    folder = tmp_path / "scans"
    make_dicom(folder / "a", 2, PixelSpacing=[0.3, 0.3])  # 96 x 64
    make_dicom(folder / "b", 2, PixelSpacing=[0.3, 0.3], frames=np.zeros((2, 192, 64), np.uint8))
    make_video(folder / "c.mp4", 2)
    make_video(folder / "d.mp4", 2)
    (folder / "scans.csv").write_text("scan,patient_id,spacing_mm\na,1,\nb,1,0.1\nc.mp4,2,0.5\nd.mp4,2,\n")
    index = build(folder, tmp_path / "store", size=48).index
    spacing = index.groupby("scan_id")["spacing_mm"].first()
    assert spacing["a"] == pytest.approx(0.3 * 96 / 48)
    assert spacing["b"] == pytest.approx(0.1 * 192 / 48)  # the table stands above the file
    assert spacing["c"] == pytest.approx(0.5 * 96 / 48)
    assert math.isnan(spacing["d"])


def test_a_store_without_spacings_still_opens(tmp_path, mixed):
    build(mixed, tmp_path / "store")
    index = pd.read_parquet(tmp_path / "store/index.parquet")
    index.drop(columns="spacing_mm").to_parquet(tmp_path / "store/index.parquet", index=False)
    assert FrameStore.open(tmp_path / "store").index["spacing_mm"].isna().all()


def test_changes_within_folders_of_images_and_rates_change_the_fingerprint(tmp_path, mixed):
    seen = {source_fingerprint(read_scans(mixed)), source_fingerprint(read_scans(mixed, fps=30))}
    Image.fromarray(picture(77)).save(mixed / "b images [2]/4.png")
    seen.add(source_fingerprint(read_scans(mixed)))
    (mixed / "b images [2]/4.png").unlink()
    seen.add(source_fingerprint(read_scans(mixed)))
    assert len(seen) == 4


def test_scans_that_crash_their_process_are_named_and_all_kinds_of_others_are_read(
    tmp_path, mixed, make_video, monkeypatch
):
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(KILLER)
    build(mixed, tmp_path / "without")
    names = ["d killer.mp4", "z killer late.mp4"]  # at once, and when its frames are decoded
    for name in names:
        make_video(mixed / name, 8)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patch"))
    store = build(mixed, tmp_path / "store", workers=2)
    assert [entry["scan"] for entry in store.skipped] == names
    assert {entry["reason"] for entry in store.skipped} == {"crashed the process that read it (SIGSEGV)"}
    assert (tmp_path / "store/frames.npy").read_bytes() == (tmp_path / "without/frames.npy").read_bytes()


def test_one_scan_that_breaks_the_program_or_its_cleaning_is_named_and_the_others_are_read(
    tmp_path, make_video, monkeypatch
):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        make_video(tmp_path / "scans" / name, 5)

    def breaks(*given):
        calls.append(1)
        return half(*given) if len(calls) != 2 else [][1]

    calls: list[int] = []
    monkeypatch.setattr("ssl_zoo.scans.sector_cut.look", breaks)
    store = build(tmp_path / "scans", tmp_path / "store", cleaning=CleaningSettings(black=False, frozen=False))
    assert store.meta["n_scans"] == 2
    assert store.skipped == [{"scan": "b.mp4", "reason": "cannot be read (IndexError: list index out of range)"}]


def test_a_disk_that_cannot_be_written_to_is_no_fault_of_a_scan(tmp_path, mixed, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ssl_zoo.scans.ingest._Squares.flush", full)
    with pytest.raises(OSError, match="No space left"):
        build(mixed, tmp_path / "store")


def half(sample: np.ndarray, settings: CleaningSettings) -> ScanCleaning:
    """A look that finds the sector in the right half of the frame."""
    height, width = sample.shape[1:3]
    assert sample.shape[3] == 3
    assert len(sample) <= 16
    inside = np.ones((height, width // 2), bool)
    return ScanCleaning((height, width), (0, width // 2, height, width // 2), inside, ~inside, note="looked")


def test_frames_are_cleaned_before_they_are_scaled_and_dropped_by_reason(tmp_path, make_video, make_dicom, monkeypatch):
    make_video(tmp_path / "scans/a.mp4", 40)
    make_dicom(tmp_path / "scans/b", 4, PixelSpacing=[0.5, 0.5])

    def drop(frame, previous, settings, *, screen):
        assert frame.shape == (64, 48)
        assert screen.shape == (64, 96)
        numbers.append(previous is None)
        return "black" if len(numbers) % 2 == 0 else None

    numbers: list[bool] = []
    monkeypatch.setattr("ssl_zoo.scans.sector_cut.look", half)
    monkeypatch.setattr("ssl_zoo.scans.ingest.reason_to_drop", drop)
    store = build(tmp_path / "scans", tmp_path / "store", size=64, cleaning=CleaningSettings(sector="crop"))
    assert store.index["frame"].tolist() == [*range(0, 40, 2), 0, 2]
    assert [place for place, first in enumerate(numbers) if first] == [0, 40]
    assert store.dropped == {"black": 22}
    assert store.meta["cleaning"]["sector"] == "crop"
    assert (store.frames[0][:, :8] == 0).all()  # 48 x 64 in a square of 64
    assert (store.frames[0][:, 8:56] > 0).all()
    assert store.index["spacing_mm"].iloc[-1] == pytest.approx(0.5)  # 64 rows of 64 are left
    report = pd.read_csv(tmp_path / "store/report.csv")
    assert report["dropped"].tolist() == ["20 black", "2 black"]
    assert report["note"].tolist() == ["looked", "looked"]


def test_a_scan_that_cleaning_leaves_out_or_empties_is_listed_with_the_reason(tmp_path, make_video, monkeypatch):
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        make_video(tmp_path / "scans" / name, 5)
    looks = iter([None, "colour flow", None])

    def left_out(sample, settings):
        found = half(sample, settings)
        return ScanCleaning(found.shape, found.box, found.sector, found.overlays, reason=next(looks))

    def drop(frame, previous, settings, *, screen):
        calls.append(1)
        return "black" if len(calls) > 5 else None

    calls: list[int] = []
    monkeypatch.setattr("ssl_zoo.scans.sector_cut.look", left_out)
    monkeypatch.setattr("ssl_zoo.scans.ingest.reason_to_drop", drop)
    store = build(tmp_path / "scans", tmp_path / "store", cleaning=CleaningSettings())
    assert len(store) == 5
    assert store.skipped == [
        {"scan": "b.mp4", "reason": "was left out: colour flow"},
        {"scan": "c.mp4", "reason": "has no frame left after cleaning (5 black)"},
    ]
    assert store.dropped == {"black": 5}


def test_near_duplicates_within_the_whole_store_are_dropped(tmp_path, make_video):
    make_video(tmp_path / "scans/a.avi", 6, codec="ffv1", pixels="gray", first=1)
    make_video(tmp_path / "scans/b.avi", 9, codec="ffv1", pixels="gray", first=1)  # 0 to 5 again, and three more
    make_video(tmp_path / "scans/c.avi", 4, codec="ffv1", pixels="gray", first=1)  # nothing new
    off = {"sector": "keep", "overlays": "keep", "black": False, "frozen": False, "split_screen": False}
    cleaning = CleaningSettings(**off, duplicates="store", min_correlation=1 - 1e-6, max_distance=0)
    store = build(tmp_path / "scans", tmp_path / "store", cleaning=cleaning)
    assert list(zip(store.index["scan_id"], store.index["frame"], strict=True)) == [
        *(("a", frame) for frame in range(6)),
        *(("b", frame) for frame in (6, 7, 8)),
    ]
    plain = build(tmp_path / "scans", tmp_path / "plain")
    np.testing.assert_array_equal(store.frames, plain.frames[[0, 1, 2, 3, 4, 5, 12, 13, 14]])
    assert store.mean == pytest.approx(store.frames.mean() / 255, abs=1e-9)
    assert store.dropped == {"near duplicate in the store": 10}
    assert [entry["scan"] for entry in store.skipped] == ["c.avi"]


def test_with_all_steps_off_the_store_is_that_without_cleaning(tmp_path, mixed):
    off = CleaningSettings(sector="keep", overlays="keep", black=False, frozen=False, split_screen=False)
    plain, same = build(mixed, tmp_path / "a"), build(mixed, tmp_path / "b", cleaning=off)
    assert same.fingerprint == plain.fingerprint
    assert (tmp_path / "a/frames.npy").read_bytes() == (tmp_path / "b/frames.npy").read_bytes()
    cleaned = build(mixed, tmp_path / "c", cleaning=CleaningSettings(sector="keep", overlays="keep"))
    assert cleaned.fingerprint != plain.fingerprint


def test_the_sampler_of_changes_sees_cleaned_frames(tmp_path, make_video, monkeypatch):
    make_video(tmp_path / "scans/a.mp4", 30)
    seen = []
    monkeypatch.setattr("ssl_zoo.scans.sector_cut.look", half)
    monkeypatch.setattr("ssl_zoo.scans.first_look.describe", lambda images: seen.append(images.shape) or fake(images))
    settings = {"sampler": SamplerSettings("diverse", per_scan=4), "cleaning": CleaningSettings(black=False)}
    assert len(build(tmp_path / "scans", tmp_path / "store", **settings)) <= 4
    assert {shape[1:] for shape in seen} == {(64, 48)}  # the right half of 96 x 64


def fake(images: np.ndarray) -> np.ndarray:
    from ssl_zoo.scans.descriptors import DIMENSIONS

    return np.random.default_rng(0).integers(-9, 9, (len(images), DIMENSIONS)).astype(np.int8)


def write_many(folder: Path, n_good: int, n_broken: int, make_video) -> list[str]:
    """A folder of scans of a few kinds; returns the names of the broken ones."""
    whole = [
        make_video(folder / f"good_{kind}.{kind}", 6, codec=codec, width=32, height=32, pixels=pixels)
        for kind, codec, pixels in (("mp4", "libx264", "yuv420p"), ("avi", "mpeg4", "yuv420p"), ("gif", "gif", "gray"))
    ]
    sound = folder / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    cut = whole[0].read_bytes()
    unknown = whole[1].read_bytes().replace(b"FMP4", b"QQZX")  # a codec of which ffmpeg has never heard
    contents = [b"", b"this is a text file\n" * 20, cut[: len(cut) * 2 // 3], sound.read_bytes(), unknown]
    sound.unlink()
    for number in range(n_good - len(whole)):
        source = whole[number % len(whole)]
        shutil.copy(source, folder / f"scan {number} (ü){source.suffix}")
    names = [f"broken {number}.mp4" for number in range(n_broken)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(contents[number % len(contents)])
    return names


@pytest.mark.parametrize(
    ("n_good", "n_broken"), [(40, 8), pytest.param(970, 30, marks=pytest.mark.slow)], ids=["few", "a thousand"]
)
def test_a_folder_with_broken_scans_is_read_and_they_are_named(tmp_path, make_video, n_good, n_broken):
    broken = write_many(tmp_path / "scans", n_good, n_broken, make_video)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    command = ["frames", str(tmp_path / "scans"), "--out", str(tmp_path / "new/store"), "--per-scan", "4"]
    result = CliRunner().invoke(app, [*command, "--size", "16", "--workers", "2"])
    assert result.exit_code == 0, result.output
    store = FrameStore.open(tmp_path / "new/store")
    assert sorted(entry["scan"] for entry in store.skipped) == sorted(broken)
    assert not any(entry.get("again") for entry in store.skipped)  # broken they stay
    assert store.meta["n_scans"] == n_good
    assert len(store) == 4 * n_good
    assert store.fingerprint != store.meta["fingerprint"]  # with other scans left out it would be another store
    report = pd.read_csv(tmp_path / "new/store/report.csv")
    assert report["outcome"].value_counts().to_dict() == {"read": n_good, "skipped": n_broken}
    assert report.loc[report["outcome"] == "skipped", "reason"].notna().all()
    assert all(f"skipped scan {name}: " in result.output for name in broken)
    assert f"{4 * n_good} frames of {n_good} scans" in result.output
    assert "patient of its own" in result.output
    shutil.rmtree(tmp_path / "new")  # and nothing was written anywhere else
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_the_keys_of_cleaning_are_its_settings_with_every_step_off():
    config = CleaningSettings(**dataclasses.asdict(CleaningConfig()))
    assert dataclasses.asdict(CleaningConfig()).keys() == dataclasses.asdict(config).keys()
    assert not config.anything


def test_the_command_takes_cleaning_and_any_other_key(tmp_path, mixed):
    command = ["frames", str(mixed), "--out", str(tmp_path / "store"), "--clean", "--quiet", "--fps", "50"]
    result = CliRunner().invoke(app, [*command, "cleaning.black=false", "frames.size=32", "--workers", "1"])
    assert result.exit_code == 0, result.output
    store = FrameStore.open(tmp_path / "store")
    assert store.meta["cleaning"]["sector"] == "mask"
    assert store.meta["cleaning"]["black"] is False
    assert store.frames.shape[1:] == (32, 32)


def test_less_than_one_process_or_frame_a_second_is_refused(tmp_path, mixed):
    for option in (["--workers", "-1"], ["--workers", "0"], ["--fps", "0"]):
        result = CliRunner().invoke(app, ["frames", str(mixed), "--out", str(tmp_path / "store"), *option])
        assert result.exit_code == 2
        assert option[0] in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "{out}", "cleaning.blak=true"], "unknown key 'cleaning.blak'; did you mean 'cleaning.black'"),
        (["--out", "{out}", "per_scan=many"], "per_scan"),
        (["--out", "{out}", "cleaning.sector=krop"], "did you mean 'crop'"),
        (["--out", "{out}", "--sampler", "unifrom"], "did you mean 'uniform'"),
        ([], "--out"),
    ],
)
def test_a_wrong_key_is_named_and_nothing_is_written(tmp_path, make_video, arguments, words):
    make_video(tmp_path / "scans/a.mp4", 5)
    given = [argument.format(out=tmp_path / "store") for argument in arguments]
    result = CliRunner().invoke(app, ["frames", str(tmp_path / "scans"), *given])
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


@pytest.mark.parametrize(
    "option",
    [["--per-scan", "3"], ["--fps", "50"], ["--workers", "4"], ["--allow-outside"], ["--clean"], ["--out", "store"]],
    ids=lambda option: option[0],
)
def test_options_of_folders_are_refused_for_experiments(tmp_path, option):
    result = CliRunner().invoke(app, ["frames", str(tmp_path / "mine.yaml"), *option])
    assert isinstance(result.exception, UserError)
    assert "write keys, as frames.size=64" in str(result.exception)
