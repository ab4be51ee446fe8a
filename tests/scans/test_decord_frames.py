from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans import decord_frames
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.reader import MiscountedScan, open_scan
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import read_scans

TOLERANCE = 3  # grey levels
B_FRAMES = {"bf": "3", "b_strategy": "0", "g": "12"}
CLOSED = {**B_FRAMES, "x264-params": "scenecut=0"}
OPEN = {**B_FRAMES, "x264-params": "open_gop=1:scenecut=0"}

ORDINARY = {
    "plain.mp4": {},
    "closed_groups.mov": {"options": CLOSED},
    "no_reordering.m4v": {"options": {"bf": "0", "g": "12"}},
    "with sound.mp4": {"options": CLOSED, "audio": True},
    "full_range.mp4": {"pixels": "yuvj420p"},
    "odd_size.mp4": {"pixels": "yuv444p", "width": 101, "height": 67},
    "one.mp4": {"n_frames": 1},
}
ODD = {
    "open_groups.mp4": {"options": OPEN},
    "intra_refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=12"}},
    "fragments.mp4": {"options": CLOSED, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "first_fragment_inside.mp4": {"options": CLOSED, "container_options": {"movflags": "frag_keyframe"}},
    "uneven.mp4": {"times_ms": np.cumsum(np.random.default_rng(0).integers(10, 90, 40)).tolist()},
    "late_start.mp4": {"times_ms": (5000 + np.arange(40) * 40).tolist()},
    "plain.mkv": {"options": CLOSED},
    "open_groups.ts": {"options": OPEN},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "old.mpg": {"codec": "mpeg2video"},
}


@pytest.fixture
def decord():
    return pytest.importorskip("decord", reason="decord is not installed here")


@pytest.mark.parametrize("name", ORDINARY)
def test_decord_gives_the_frames_that_pyav_gives(decord, tmp_path, make_video, number, name):
    path = make_video(tmp_path / name, **{"n_frames": 40, **ORDINARY[name]})
    scan, reference = open_scan(path, decoder="decord"), open_scan(path)
    assert (scan.decoder, reference.decoder) == ("decord", "pyav")
    np.testing.assert_array_equal(scan.times, reference.times)
    for settings in ({}, {"channels": 3}, {"box": (48, 32)}):
        ours, theirs = (reader.read(range(len(scan)), **settings) for reader in (scan, reference))
        assert ours.shape == theirs.shape
        distance = np.abs(ours.astype(float) - theirs).reshape(len(scan), -1).mean(axis=1)
        assert distance.max() < TOLERANCE
    assert [number(image) for _, image in scan.frames(range(len(scan)))] == list(range(len(scan)))


@pytest.mark.parametrize("name", ["plain.mp4", "closed_groups.mov"])
def test_decords_frame_does_not_depend_on_how_it_was_reached(decord, tmp_path, make_video, name):
    scan = open_scan(make_video(tmp_path / name, 60, **ORDINARY[name]), decoder="decord")
    in_a_row = scan.read(range(60))
    rng = np.random.default_rng(0)
    for _ in range(8):
        wanted = rng.integers(0, 60, 4)
        np.testing.assert_array_equal(scan.read(wanted), in_a_row[wanted])
    np.testing.assert_array_equal(scan.read([59]), in_a_row[-1:])


@pytest.mark.parametrize("name", ODD)
def test_pyav_reads_what_decord_might_read_wrongly(tmp_path, make_video, name):
    scan = open_scan(make_video(tmp_path / name, **{"n_frames": 40, **ODD[name]}), decoder="decord")
    assert scan.decoder == "pyav"


def test_pyav_reads_edit_listed_and_turned_files(tmp_path, make_video, hide_start, turn):
    whole = make_video(tmp_path / "whole.mp4", 60, options=CLOSED)
    for path in (hide_start(whole, 30), turn(whole)):
        scan, reference = open_scan(path, decoder="decord"), open_scan(path)
        assert scan.decoder == "pyav"
        np.testing.assert_array_equal(scan.read(range(len(scan))), reference.read(range(len(reference))))


def test_pyav_reads_where_decord_is_not_installed(tmp_path, make_video, monkeypatch):
    monkeypatch.setitem(sys.modules, "decord", None)
    scan = open_scan(make_video(tmp_path / "plain.mp4", 5), decoder="decord")
    assert scan.decoder == "pyav"
    assert len(scan.read(range(5))) == 5


def test_pyav_reads_where_decord_finds_other_frames(decord, tmp_path, make_video, monkeypatch):
    path = make_video(tmp_path / "plain.mp4", 30)
    others = [
        make_video(tmp_path / "longer.mp4", 31),
        make_video(tmp_path / "slower.mp4", 30, rate=24),
        make_video(tmp_path / "unlike.mp4", 30, first=99),
        path.with_name("absent.mp4"),
    ]
    honest = decord_frames._open
    assert open_scan(path, decoder="decord").decoder == "decord"
    for other in others:
        monkeypatch.setattr(decord_frames, "_open", lambda path, other=other: honest(other))
        assert open_scan(path, decoder="decord").decoder == "pyav"


def test_counting_by_decoding_is_pyavs_work(tmp_path, make_video):
    assert open_scan(make_video(tmp_path / "plain.mp4", 5), exact=True, decoder="decord").decoder == "pyav"


def test_an_unknown_decoder_is_named_with_the_nearest_one(tmp_path):
    with pytest.raises(UserError, match="unknown decoder 'decort'; did you mean 'decord'"):
        open_scan(tmp_path / "any.mp4", decoder="decort")


def test_decord_repeats_no_frame_in_place_of_a_broken_one(decord, tmp_path, make_video):
    path = make_video(tmp_path / "plain.mp4", 60, options={"g": "12"})
    scan = open_scan(path, decoder="decord")
    assert scan.decoder == "decord"
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat")
    content[start + 2600 : start + 2700] = np.random.default_rng(0).bytes(100)
    path.write_bytes(content)
    with pytest.raises(MiscountedScan, match="decord gave up"):
        scan.read(range(60))


def build(folder: Path, out: Path, decoder: str, workers: int = 1) -> FrameStore:
    sampler = SamplerSettings("uniform", per_scan=8, clip_length=2)
    scans = read_scans(folder)
    return build_store(scans, out, sampler=sampler, size=32, workers=workers, decoder=decoder, progress=False)


def test_a_store_counts_which_decoder_read_how_many_scans(decord, tmp_path, make_video):
    make_video(tmp_path / "scans/a.mp4", 40)
    make_video(tmp_path / "scans/b.avi", 40, codec="mpeg4")
    make_video(tmp_path / "scans/c.mp4", 40, options=CLOSED)
    by_pyav = build(tmp_path / "scans", tmp_path / "pyav", "pyav")
    by_decord = build(tmp_path / "scans", tmp_path / "decord", "decord")
    assert by_pyav.meta["decoded_by"] == {"pyav": 3}
    assert by_decord.meta["decoded_by"] == {"decord": 2, "pyav": 1}
    assert by_pyav.fingerprint != by_decord.fingerprint
    assert by_pyav.index.equals(by_decord.index)
    assert np.abs(by_pyav.frames.astype(float) - by_decord.frames).mean(axis=(1, 2)).max() < TOLERANCE
    again = build(tmp_path / "scans", tmp_path / "again", "decord", workers=2)
    np.testing.assert_array_equal(again.frames, by_decord.frames)


def test_a_scan_that_decord_gives_up_on_is_read_by_pyav(tmp_path, make_video, monkeypatch):
    def gives_up(path, indices):
        raise decord_frames.DecordFailure("it is tired")
        yield

    make_video(tmp_path / "scans/a.mp4", 40)
    monkeypatch.setattr(decord_frames, "agrees", lambda *given: True)
    monkeypatch.setattr(decord_frames, "decode", gives_up)
    store = build(tmp_path / "scans", tmp_path / "store", "decord")
    assert store.meta["decoded_by"] == {"pyav": 1}
    np.testing.assert_array_equal(store.frames, build(tmp_path / "scans", tmp_path / "reference", "pyav").frames)


def test_the_real_lung_scans_are_read_alike_by_both(decord):
    folder = Path(__file__).parents[2].parent / "shared/data/covid_blues/lus_videos"
    if not folder.is_dir():
        pytest.skip("COVID-BLUES is not on this machine")
    for path in sorted(folder.glob("*.mp4"))[::40]:
        scan, reference = open_scan(path, decoder="decord"), open_scan(path)
        wanted = [0, len(scan) // 3, len(scan) - 1]
        distance = np.abs(scan.read(wanted).astype(float) - reference.read(wanted)).mean(axis=(1, 2))
        assert distance.max() < TOLERANCE
