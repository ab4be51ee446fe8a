from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans import frames, ingest, plans
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.reader import MiscountedScan, ScanReader, open_scan
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import Scans, read_scans

EIGHT = SamplerSettings("uniform", per_scan=8)
FILES = ["frames.npy", "index.parquet", "report.csv", "store.json"]


@pytest.fixture
def cohort(tmp_path, make_video) -> Scans:
    """Three readable scans (one of them with 5 frames, one upright) and a broken one."""
    folder = tmp_path / "scans"
    make_video(folder / "p1_a.mp4", 40)
    make_video(folder / "p1_b.mp4", 5)
    (folder / "p2_bad.mp4").write_bytes(b"not a video")
    make_video(folder / "p3_a.avi", 30, codec="mjpeg", pixels="yuvj420p", width=48, height=96)
    return read_scans(folder, r"^(p\d)")


def build(
    scans: Scans, out: Path, sampler: SamplerSettings = EIGHT, *, size=32, channels=1, workers=1, **more
) -> FrameStore:
    settings = {"size": size, "channels": channels, "workers": workers, **more}
    return build_store(scans, out, sampler=sampler, progress=False, **settings)


def test_a_store_holds_the_sampled_frames_with_scan_patient_and_time(tmp_path, cohort):
    store = build(cohort, tmp_path / "store")
    assert store.frames.shape == (8 + 5 + 8, 32, 32)
    assert store.frames.dtype == np.uint8
    assert store.index.columns.tolist() == ["row", "scan_id", "patient_id", "frame", "time_s", "spacing_mm"]
    assert store.index["row"].tolist() == list(range(21))
    assert store.index["scan_id"].tolist() == ["p1_a"] * 8 + ["p1_b"] * 5 + ["p3_a"] * 8
    assert store.index["patient_id"].tolist() == ["p1"] * 13 + ["p3"] * 8
    np.testing.assert_allclose(store.index["time_s"], store.index["frame"] * 0.04, atol=1e-6)
    assert store.patients == ["p1", "p3"]
    assert (store.meta["n_frames"], store.meta["n_scans"]) == (21, 3)


def test_each_row_is_the_frame_that_the_index_names(tmp_path, cohort, number):
    store = build(cohort, tmp_path / "store", size=96)
    first = store.index["scan_id"] == "p1_a"
    shown = [number(image[16:80]) for image in store.batch(np.flatnonzero(first))]
    assert shown == store.index.loc[first, "frame"].tolist()


def test_aspect_ratio_is_kept_and_the_rest_is_black(tmp_path, cohort):
    store = build(cohort, tmp_path / "store", size=48)
    wide, upright = store.frames[0], store.frames[-1]  # 96x64 and 48x96
    assert (wide[:8] == 0).all()
    assert (wide[-8:] == 0).all()
    assert (wide[8:-8] > 0).all()
    assert (upright[:, :12] == 0).all()
    assert (upright[:, -12:] == 0).all()
    assert (upright[:, 12:-12] > 0).all()


def test_a_scan_that_cannot_be_decoded_is_skipped_and_listed(tmp_path, cohort):
    store = build(cohort, tmp_path / "store")
    assert [entry["scan"] for entry in store.skipped] == ["p2_bad.mp4"]
    assert "cannot be decoded" in store.skipped[0]["reason"]
    assert json.loads((tmp_path / "store/store.json").read_text())["skipped"] == store.skipped


def test_a_scan_that_breaks_half_way_leaves_nothing_behind(tmp_path, cohort, make_video):
    bad = cohort.root / "p2_bad.mp4"
    content = bytearray(make_video(bad, 60).read_bytes())
    start = content.index(b"mdat")
    content[start + 2600 : start + 3600] = np.random.default_rng(0).bytes(1000)
    bad.write_bytes(content)
    store = build(cohort, tmp_path / "store")
    assert [entry["scan"] for entry in store.skipped] == ["p2_bad.mp4"]
    assert len(store) == 21
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == FILES
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans", "store"]


def test_where_no_scan_can_be_decoded_there_is_an_error_and_no_store(tmp_path):
    (tmp_path / "scans").mkdir()
    for name in ("a.mp4", "b.avi"):
        (tmp_path / "scans" / name).write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"none of the 2 scans can be read; 'a\.mp4' cannot be decoded"):
        build(read_scans(tmp_path / "scans"), tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


def test_many_processes_write_the_same_bytes_as_one(tmp_path, cohort):
    one, two = build(cohort, tmp_path / "one"), build(cohort, tmp_path / "two", workers=2)
    assert (tmp_path / "one/frames.npy").read_bytes() == (tmp_path / "two/frames.npy").read_bytes()
    pd.testing.assert_frame_equal(one.index, two.index)
    assert one.meta == two.meta


def test_the_stores_mean_and_deviation_are_those_of_all_pixels(tmp_path, cohort):
    store = build(cohort, tmp_path / "store", channels=3)
    assert store.frames.shape == (21, 32, 32, 3)
    pixels = np.asarray(store.frames) / 255
    assert store.mean == pytest.approx(pixels.mean(), abs=1e-9)
    assert store.std == pytest.approx(pixels.std(), abs=1e-9)


def test_the_same_scans_and_settings_are_decoded_once(tmp_path, cohort, monkeypatch):
    store = build(cohort, tmp_path / "store")
    before = (tmp_path / "store/frames.npy").stat().st_mtime_ns
    monkeypatch.setattr(frames, "make_plans", None)  # any decoding would fail
    again = build(read_scans(cohort.root, r"^(p\d)"), tmp_path / "store")
    assert again.fingerprint == store.fingerprint
    assert (tmp_path / "store/frames.npy").stat().st_mtime_ns == before


def test_other_settings_or_other_scans_replace_the_store(tmp_path, cohort, make_video):
    seen = {build(cohort, tmp_path / "store").fingerprint}
    changes = [
        lambda: build(cohort, tmp_path / "store", size=40),
        lambda: build(cohort, tmp_path / "store", channels=3),
        lambda: build(cohort, tmp_path / "store", SamplerSettings("uniform", per_scan=8, clip_length=2)),
        lambda: build(read_scans(cohort.root, r"_(\w)"), tmp_path / "store"),
    ]
    for change in changes:
        seen.add(change().fingerprint)
    make_video(cohort.root / "p2_bad.mp4", 9)
    store = build(cohort, tmp_path / "store")
    seen.add(store.fingerprint)
    assert len(seen) == 6
    assert len(store) == 29
    assert len(FrameStore.open(tmp_path / "store")) == 29


def test_a_copy_of_the_scans_has_the_same_fingerprint(tmp_path, cohort):
    shutil.copytree(cohort.root, tmp_path / "elsewhere")
    copy = read_scans(tmp_path / "elsewhere", r"^(p\d)")
    assert frames.source_fingerprint(copy) == frames.source_fingerprint(cohort)


def test_a_folder_that_is_no_store_is_never_overwritten(tmp_path, cohort):
    precious = tmp_path / "thesis" / "chapter.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(UserError, match="is no frame store"):
        build(cohort, precious.parent)
    assert precious.read_text() == "years of work"


def test_a_link_to_a_place_for_stores_stays_one(tmp_path, cohort):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "store").symlink_to(tmp_path / "scratch/mine")
    for size in (32, 24):
        store = build(cohort, tmp_path / "store", size=size)
        assert store.path == tmp_path / "store"
        assert (tmp_path / "store").is_symlink()
        assert FrameStore.open(tmp_path / "scratch/mine").frames.shape[1:] == (size, size)
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["mine"]


def test_a_place_that_no_store_can_take_is_refused_before_any_work(tmp_path, cohort, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(frames, "make_plans", None)
    for out in (Path("."), tmp_path / "here"):
        with pytest.raises(UserError, match="the folder that you are in"):
            build(cohort, out)
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "mounted")
    (tmp_path / "mounted").mkdir()
    with pytest.raises(UserError, match="is a mount point"):
        build(cohort, tmp_path / "mounted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "mounted", "scans"]


def test_a_full_disk_is_noticed_before_decoding(tmp_path, cohort, monkeypatch):
    monkeypatch.setattr(frames.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 5_000_000})())
    monkeypatch.setattr(frames, "ingest", None)
    with pytest.raises(UserError, match=r"need 21\.5 MB and the disk has 5\.0 MB free"):
        build(cohort, tmp_path / "store", size=1012)
    assert not (tmp_path / "store").exists()


def test_a_scan_whose_packets_lie_is_counted_by_decoding(tmp_path, cohort, monkeypatch, number):
    """A file whose list of packets promises other frames than the decoder gives is read all the same."""
    honest = open_scan

    class Liar(ScanReader):
        def frames(self, indices, **settings):
            raise MiscountedScan("no frame could be decoded at 0.5 s")
            yield

    def lying(path, *, exact=False, decoder="pyav", fps=25.0):
        scan = honest(path, exact=exact, decoder=decoder, fps=fps)
        if exact:
            return scan
        return Liar(scan.path, np.append(scan.times, scan.times[-1] + 1), scan.width, scan.height)

    monkeypatch.setattr(plans, "open_scan", lying)
    monkeypatch.setattr(ingest, "open_scan", lying)
    store = build(cohort, tmp_path / "store", SamplerSettings("stride", every=1), size=96)
    assert store.index.groupby("scan_id").size().to_dict() == {"p1_a": 40, "p1_b": 5, "p3_a": 30}
    assert number(store.frames[39][16:80]) == 39


def test_a_broken_or_missing_store_is_named(tmp_path, cohort):
    with pytest.raises(UserError, match="no frame store here"):
        FrameStore.open(tmp_path)
    build(cohort, tmp_path / "store")
    content = (tmp_path / "store/frames.npy").read_bytes()
    (tmp_path / "store/frames.npy").write_bytes(content[:-100])
    with pytest.raises(UserError, match="broken frame store"):
        FrameStore.open(tmp_path / "store")


def test_impossible_settings_are_named(tmp_path, cohort):
    with pytest.raises(UserError, match="channels is 2"):
        build(cohort, tmp_path / "store", channels=2)
    with pytest.raises(UserError, match="size is 4"):
        build(cohort, tmp_path / "store", size=4)
    with pytest.raises(UserError, match=r"decoder.*'decort'.*decord"):
        build(cohort, tmp_path / "store", decoder="decort")


def test_runs_give_every_frame_a_neighbour_within_a_short_window(tmp_path, make_video):
    make_video(tmp_path / "scans/long.mp4", 200)
    scans = read_scans(tmp_path / "scans")
    single = build(scans, tmp_path / "single", SamplerSettings("uniform", per_scan=16))
    runs = build(scans, tmp_path / "runs", SamplerSettings("uniform", per_scan=16, clip_length=2))
    assert len(single) == len(runs) == 16
    assert PairSampler(single.index, "temporal", 0.2).lonely == 1
    assert PairSampler(runs.index, "temporal", 0.2).lonely == 0


def test_real_lung_scans_become_a_store(tmp_path):
    source = Path(__file__).parents[2].parent / "shared/data/covid_blues/scans.csv"
    if not source.is_file():
        pytest.skip("COVID-BLUES is not on this machine")
    scans = read_scans(source)
    few = Scans(scans.root, scans.table.iloc[:8].reset_index(drop=True))
    store = build(few, tmp_path / "store", SamplerSettings("uniform", per_scan=32, clip_length=4), size=64)
    assert store.skipped == []
    assert store.index.groupby("scan_id").size().max() == 32
    assert PairSampler(store.index, "temporal", 0.2).lonely == 0
    assert 0.02 < store.mean < 0.5


@pytest.mark.slow
def test_the_real_lung_scans_are_ingested_whole(tmp_path):
    """Every scan of the table is read or named, and every frame that its packets announce is in the store."""
    source = Path(__file__).parents[2].parent / "shared/data/covid_blues/scans.csv"
    if not source.is_file():
        pytest.skip("COVID-BLUES is not on this machine")
    scans = read_scans(source)
    store = build(scans, tmp_path / "store", SamplerSettings("stride", every=1), size=24, workers=2)
    kept = store.index.groupby("scan_id").size().to_dict()
    skipped = {entry["scan"] for entry in store.skipped}
    assert sorted([*kept, *scans.table["scan_id"][scans.table["scan"].isin(skipped)]]) == sorted(scans.table["scan_id"])
    assert store.skipped == []
    lengths = [len(open_scan(path)) for path in scans.table["path"]]
    assert kept == dict(zip(scans.table["scan_id"], lengths, strict=True))
    assert store.meta["dropped"] == {}
