"""A store with copies holds every frame of the one without, so many times, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.diversity import diversity
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import read_scans

FOUR = SamplerSettings("uniform", per_scan=4, clip_length=2)


@pytest.fixture
def build(tmp_path, make_video):
    for name in "ab":
        make_video(tmp_path / "scans" / f"{name}.mp4", 20)
    scans = read_scans(tmp_path / "scans", "^(.)")

    def build(name, copies):
        out = tmp_path / name
        return build_store(scans, out, sampler=FOUR, size=16, workers=1, copies=copies, progress=False)

    return build


def test_every_frame_is_there_so_many_times_under_a_scan_of_its_own(build):
    once, thrice = build("once", 1), build("thrice", 3)
    assert len(thrice) == 3 * len(once) == thrice.meta["n_frames"]
    np.testing.assert_array_equal(np.asarray(thrice.frames), np.tile(np.asarray(once.frames), (3, 1, 1)))
    assert thrice.index["row"].tolist() == list(range(24))
    assert set(thrice.index["scan_id"]) == {"a", "b", "a#2", "b#2", "a#3", "b#3"}
    assert (thrice.patients, thrice.mean, thrice.std) == (once.patients, once.mean, once.std)
    assert thrice.meta["n_scans"] == once.meta["n_scans"] == 2
    assert thrice.fingerprint != once.fingerprint
    assert diversity(thrice).whole.effective == pytest.approx(diversity(once).whole.effective)


def test_partners_are_those_of_the_store_without_copies(build):
    once, twice = build("once", 1), build("twice", 2)
    rows = np.arange(8)
    partners = [PairSampler(s.index, "temporal", 0.05).pairs(rows, np.random.default_rng(0)) for s in (once, twice)]
    np.testing.assert_array_equal(*partners)


def test_a_store_with_copies_is_opened_again_and_no_copies_are_refused(build):
    first = build("twice", 2)
    stamp = (first.path / "frames.npy").stat().st_mtime_ns
    assert isinstance(build("twice", 2), FrameStore)
    assert (first.path / "frames.npy").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match=r"frames\.copies is 0"):
        build("none", 0)
