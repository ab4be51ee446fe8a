from __future__ import annotations

import dataclasses
import itertools
import zlib

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint
from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers import SAMPLERS, SamplerSettings, sample
from ssl_zoo.scans.samplers.places import places_of_scan

EVEN = np.arange(250) * 0.04  # 10 s at 25 frames/s
UNEVEN = np.cumsum(np.random.default_rng(1).choice([0.01, 0.02, 0.3], 250))


def keep(times: np.ndarray, settings: SamplerSettings) -> np.ndarray:
    """The frames kept of one scan."""
    return sample(Candidates.of(["scan"], [times]), settings)


def chosen_by_scan(times: dict[str, np.ndarray], settings: SamplerSettings) -> dict[str, list[int]]:
    """The frames kept of each scan of a cohort."""
    cohort = Candidates.of(list(times), list(times.values()))
    rows = sample(cohort, settings)
    parts = np.split(rows, np.searchsorted(rows, cohort.starts[1:-1]))
    return {scan: (part - start).tolist() for scan, part, start in zip(times, parts, cohort.starts, strict=False)}


def runs(indices: np.ndarray) -> list[np.ndarray]:
    return np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)


@pytest.mark.parametrize("times", [EVEN, UNEVEN, EVEN[:1], EVEN[:7]], ids=["even", "uneven", "one", "seven"])
@pytest.mark.parametrize(
    "settings",
    [
        SamplerSettings("uniform"),
        SamplerSettings("uniform", per_scan=1),
        SamplerSettings("uniform", per_scan=31, clip_length=4),
        SamplerSettings("uniform", clip_length=3, clip_step_s=0.1),
        SamplerSettings("stride", every=5),
        SamplerSettings("stride", per_scan=5, clip_length=3),
        SamplerSettings("stride", every_s=0.5, clip_length=3),
        SamplerSettings("stride", every_s=0.5, clip_length=3, clip_step_s=0.1),
    ],
    ids=str,
)
def test_every_sampler_returns_ascending_distinct_frames_of_the_scan(times, settings):
    settings.check()
    indices = keep(times, settings)
    assert len(indices) >= 1
    assert np.issubdtype(indices.dtype, np.integer)
    assert (np.diff(indices) > 0).all()
    assert indices[0] >= 0
    assert indices[-1] < len(times)


def test_stride_by_frames_keeps_every_nth():
    settings = SamplerSettings("stride", every=7)
    np.testing.assert_array_equal(keep(UNEVEN, settings), np.arange(0, 250, 7))


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_stride_by_seconds_keeps_the_first_frame_after_each_tick(times):
    step = 0.2
    elapsed = times - times[0]
    ticks = np.arange(int(elapsed[-1] / step + 1e-6) + 1) * step
    expected = np.unique([np.flatnonzero(elapsed >= tick - 1e-6)[0] for tick in ticks])
    np.testing.assert_array_equal(keep(times, SamplerSettings("stride", every_s=step)), expected)


def test_stride_with_runs_brings_the_following_frames():
    settings = SamplerSettings("stride", every=50, clip_length=3)
    assert keep(EVEN, settings).tolist() == [0, 1, 2, 50, 51, 52, 100, 101, 102, 150, 151, 152, 200, 201, 202]
    spaced = dataclasses.replace(settings, every=200, clip_step_s=0.1)
    assert keep(EVEN, spaced).tolist() == [0, 3, 6, 200, 203, 206]  # 0.12 s: the first frames 0.1 s away


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("per_scan", [1, 2, 32, 100, 249, 250, 1000])
@pytest.mark.parametrize("clip_length", [1, 2, 3, 4])
def test_uniform_keeps_exactly_its_budget(times, per_scan, clip_length):
    settings = SamplerSettings("uniform", per_scan=per_scan, clip_length=min(clip_length, per_scan))
    assert len(keep(times, settings)) == min(per_scan, len(times))


def test_uniform_takes_the_frame_nearest_to_the_middle_of_each_part_of_the_duration():
    times = np.array([0.0, 1.0, 1.1, 1.2, 6.0, 6.1, 9.0, 10.0])
    kept = keep(times, SamplerSettings("uniform", per_scan=2))
    assert times[kept].tolist() == [1.2, 6.1]  # nearest to 2.5 and 7.5
    even = keep(EVEN, SamplerSettings("uniform", per_scan=32))
    gaps = np.diff(EVEN[even])
    assert gaps.max() - gaps.min() < 0.0401  # as even as the frame times allow


def test_uniform_runs_are_neighbours_spread_over_the_scan():
    kept = keep(EVEN, SamplerSettings("uniform", per_scan=32, clip_length=4))
    found = runs(kept)
    assert [len(run) for run in found] == [4] * 8
    middles = [EVEN[run].mean() for run in found]
    np.testing.assert_allclose(middles, (np.arange(8) + 0.5) * EVEN[-1] / 8, atol=0.05)


def test_no_run_is_shorter_than_asked():
    kept = keep(EVEN, SamplerSettings("uniform", per_scan=32, clip_length=3))
    assert sorted(len(run) for run in runs(kept)) == [3] * 8 + [4] * 2  # ten runs share 32 frames


def test_spaced_runs_lie_on_their_grid():
    kept = keep(EVEN, SamplerSettings("uniform", per_scan=8, clip_length=2, clip_step_s=0.2))
    assert (kept % 5 == 0).all()
    assert np.diff(kept)[::2].tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SamplerSettings("unifrom"), "did you mean 'uniform'"),
        (SamplerSettings("uniform", per_scan=0), "per_scan is 0"),
        (SamplerSettings("uniform", per_scan=4, clip_length=5), "clip_length is 5"),
        (SamplerSettings("uniform", clip_step_s=-1.0), "clip_step_s is -1"),
        (SamplerSettings("stride", every=2, every_s=0.1), "no more than one of"),
        (SamplerSettings("stride", per_scan=4, clip_length=5), r"more than frames.per_scan \(4\)"),
        (SamplerSettings("stride", every_s=float("nan")), "every_s is nan"),
        (SamplerSettings("stride", every=2, frames=100), "no more than one of"),
        (SamplerSettings("random", frames=0), "frames.frames is 0"),
        (SamplerSettings("random", frames=3, clip_length=5), r"more than frames.frames \(3\)"),
        (SamplerSettings("diverse", scans=0), "frames.scans is 0"),
        (SamplerSettings("motion", candidate_step_s=0.0), "candidate_step_s is 0"),
        (SamplerSettings("random", seed=-1), "frames.seed is -1"),
        (SamplerSettings("divers"), "did you mean 'diverse'"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(UserError, match=words):
        settings.check()


def test_each_sampler_states_its_law():
    for name, sampler in SAMPLERS.items():
        assert "Law:" in (sampler.choose.__doc__ or ""), name


@pytest.mark.parametrize(
    ("settings", "checksum"),
    [
        (SamplerSettings("uniform", per_scan=32, clip_length=2), 566267300),
        (SamplerSettings("uniform", per_scan=31, clip_length=3, clip_step_s=0.1), 2750366395),
        (SamplerSettings("stride", every_s=0.5, clip_length=3, clip_step_s=0.1), 650517167),
    ],
    ids=str,
)
def test_stores_of_earlier_versions_would_hold_the_same_frames(settings, checksum):
    assert zlib.crc32(keep(UNEVEN, settings).astype("<i8").tobytes()) == checksum


def test_random_keeps_its_budget_of_distinct_frames_and_more_of_a_larger_one():
    few = keep(UNEVEN, SamplerSettings("random", per_scan=16))
    many = keep(UNEVEN, SamplerSettings("random", per_scan=100))
    assert (len(few), len(many)) == (16, 100)
    assert np.isin(few, many).all()
    assert keep(UNEVEN, SamplerSettings("random", per_scan=1000)).tolist() == list(range(250))


def test_random_follows_the_seed_and_the_scan():
    draws = [
        sample(Candidates.of([scan], [EVEN]), SamplerSettings("random", seed=seed)).tolist()
        for scan, seed in (("a", 0), ("a", 0), ("a", 1), ("b", 0))
    ]
    assert draws[0] == draws[1]
    assert len({tuple(draw) for draw in draws}) == 3


def test_random_takes_every_frame_equally_often():
    counts = np.zeros(20)
    for seed in range(600):
        counts[keep(EVEN[:20], SamplerSettings("random", per_scan=5, seed=seed))] += 1
    assert np.abs(counts - 150).max() < 5 * np.sqrt(150 * 0.75)


@pytest.mark.parametrize("step", [None, 0.1])
def test_random_runs_are_whole_and_apart(step):
    kept = keep(EVEN, SamplerSettings("random", per_scan=32, clip_length=3, clip_step_s=step))
    assert len(kept) == 30  # ten runs; an eleventh would be too many
    frames = kept.reshape(10, 3)
    spacing = 1 if step is None else 3  # 0.12 s: the first frame 0.1 s away
    assert (np.diff(frames, axis=1) == spacing).all()
    assert (np.diff(frames[:, [0, -1]].ravel()) > 0).all()


@pytest.mark.parametrize("name", ["uniform", "random"])
@pytest.mark.parametrize("clip_length", [1, 3])
def test_a_budget_for_the_store_is_divided_evenly_and_short_scans_leave_theirs_to_others(name, clip_length):
    lengths = {"long": 90, "short": 9, "longer": 120, "middle": 60}
    cohort = Candidates.of(list(lengths), [EVEN[:n] for n in lengths.values()])
    for frames in (12, 36, 37, 60, 120, 150, 270, 1000):
        rows = sample(cohort, SamplerSettings(name, frames=frames, clip_length=clip_length))
        assert len(rows) == min(frames // clip_length * clip_length, sum(lengths.values()))
        shares = dict(zip(lengths, np.histogram(rows, cohort.starts)[0].tolist(), strict=True))
        assert shares["short"] == min(9, max(shares.values()))
        full = [scan for scan, share in shares.items() if share == lengths[scan]]
        rest = [share for scan, share in shares.items() if scan not in full]
        assert max(rest, default=0) - min(rest, default=0) <= clip_length
        assert all(lengths[scan] <= max(shares.values()) for scan in full)


def test_what_does_not_divide_goes_to_scans_by_the_seed_and_not_by_their_place():
    cohorts = [Candidates.of(names, [EVEN] * 5) for names in (list("abcde"), list("edcba"))]
    lucky = set()
    for seed in range(8):
        counts = []
        for cohort in cohorts:
            rows = sample(cohort, SamplerSettings("uniform", frames=7, seed=seed))
            counts.append(dict(zip(cohort.scan_ids, np.histogram(rows, cohort.starts)[0].tolist(), strict=True)))
        assert counts[0] == counts[1]
        assert sorted(counts[0].values()) == [1, 1, 1, 2, 2]
        lucky |= {scan for scan, share in counts[0].items() if share == 2}
    assert lucky == set("abcde")


def test_with_fewer_frames_than_scans_some_scans_give_none():
    cohort = Candidates.of(list("abcde"), [EVEN] * 5)
    rows = sample(cohort, SamplerSettings("random", frames=3))
    assert sorted(np.histogram(rows, cohort.starts)[0].tolist()) == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    "settings",
    [
        SamplerSettings("uniform", per_scan=20, clip_length=2),
        SamplerSettings("uniform", frames=50),
        SamplerSettings("random", per_scan=20, clip_length=2),
        SamplerSettings("random", frames=50, clip_length=3),
        SamplerSettings("stride", frames=50),
        SamplerSettings("stride", per_scan=20, clip_length=2),
    ],
    ids=str,
)
def test_a_scan_is_sampled_alike_in_any_order(settings):
    times = {"a": EVEN, "b": UNEVEN, "c": EVEN[:30]}
    one = chosen_by_scan(times, settings)
    other = chosen_by_scan(dict(reversed(times.items())), settings)
    assert one == other
    assert sum(map(len, one.values())) <= (settings.frames or 1000)


@pytest.mark.parametrize("clip_length", [1, 3])
def test_stride_by_budget_takes_the_smallest_step_that_fits(clip_length):
    cohort = Candidates.of(["a", "b", "c"], [EVEN, EVEN[:100], EVEN[:9]])
    for frames in (9, 20, 59, 60, 61, 200, 359, 360):
        kept = sample(cohort, SamplerSettings("stride", frames=frames, clip_length=clip_length))
        steps = [
            sample(cohort, SamplerSettings("stride", every=every, clip_length=clip_length)) for every in range(1, 260)
        ]
        np.testing.assert_array_equal(kept, next(rows for rows in steps if len(rows) <= frames))


@pytest.mark.parametrize("settings", [{}, {"clip_length": 3}, {"clip_length": 3, "clip_step_s": 0.1}], ids=str)
def test_stride_by_frames_of_a_scan_takes_each_scans_own_smallest_step_that_fits(settings):
    cohort = {"a": EVEN, "b": UNEVEN, "c": EVEN[:100], "d": EVEN[:9], "e": EVEN[:1]}
    for per_scan in (3, 4, 9, 33, 125, 249, 250, 1000):
        kept = chosen_by_scan(cohort, SamplerSettings("stride", per_scan=per_scan, **settings))
        for scan, times in cohort.items():
            steps = (keep(times, SamplerSettings("stride", every=every, **settings)) for every in range(1, 260))
            assert kept[scan] == next(rows.tolist() for rows in steps if len(rows) <= per_scan)


def test_a_budget_that_no_stride_keeps_is_refused():
    cohort = Candidates.of(["a", "b", "c"], [EVEN, EVEN, EVEN])
    with pytest.raises(UserError, match=r"frames\.frames is 5.*at least 6.*3 scans"):
        sample(cohort, SamplerSettings("stride", frames=5, clip_length=2))


@pytest.mark.parametrize("times", [EVEN, UNEVEN, EVEN[:1], EVEN[:5]], ids=["even", "uneven", "one", "five"])
@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("spacing", [None, 0.1])
@pytest.mark.parametrize("step", [None, 0.5])
def test_places_follow_each_other_without_overlap(times, length, spacing, step):
    settings = SamplerSettings("random", clip_length=length, clip_step_s=spacing, candidate_step_s=step)
    places = places_of_scan(times, settings)
    runs = np.split(places.rows, places.starts[1:-1])
    assert (np.diff(places.rows) > 0).all()
    assert all(len(run) == length for run in runs) or len(runs) == 1
    for run, after in itertools.zip_longest(runs, runs[1:]):
        gaps = np.diff(times[run])
        if spacing is not None:
            assert (gaps >= spacing - 1e-6).all()
            assert all(times[b - 1] - times[a] < spacing - 1e-6 for a, b in itertools.pairwise(run))
        else:
            assert (np.diff(run) == 1).all()
        if after is not None and step is None:
            assert after[0] == run[-1] + 1
        if after is not None and step is not None:
            assert times[after[0]] - times[run[0]] > 0
    assert np.isin(places.faces, places.rows).all()
    assert len(places.faces) == len(places) == len(runs)


def test_candidates_begin_at_the_multiples_of_their_step():
    places = places_of_scan(EVEN, SamplerSettings("random", clip_length=2, candidate_step_s=1.0))
    np.testing.assert_allclose(EVEN[places.rows[::2]], np.arange(10))


def test_settings_that_came_later_are_told_only_where_they_are_given():
    assert set(SamplerSettings().to_json()) == {
        *("sampler", "per_scan", "every", "every_s", "clip_length", "clip_step_s", "seed")
    }
    assert SamplerSettings("random", frames=100).to_json()["frames"] == 100
    assert SamplerSettings(scans=3).to_json() == SamplerSettings().to_json() | {"scans": 3}


def test_the_store_of_the_demo_keeps_its_fingerprint():
    card = {
        "version": 1,
        "sampler": SamplerSettings("uniform", per_scan=32, clip_length=2).to_json(),
        "size": 64,
        "channels": 1,
        "decoder": "pyav",
        "source": "4e503e2f4f390fd4",
    }
    assert fingerprint(card) == "b6d92d5b362ff15a"
