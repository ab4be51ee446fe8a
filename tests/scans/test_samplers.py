from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans.samplers import SAMPLERS, SamplerSettings, sample

RNG = np.random.default_rng(0)
EVEN = np.arange(250) * 0.04  # 10 s at 25 frames/s
UNEVEN = np.cumsum(np.random.default_rng(1).choice([0.01, 0.02, 0.3], 250))


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
        SamplerSettings("stride", every_s=0.5, clip_length=3),
        SamplerSettings("stride", every_s=0.5, clip_length=3, clip_step_s=0.1),
    ],
    ids=str,
)
def test_every_sampler_returns_ascending_distinct_frames_of_the_scan(times, settings):
    settings.check()
    indices = sample(times, settings, RNG)
    assert len(indices) >= 1
    assert np.issubdtype(indices.dtype, np.integer)
    assert (np.diff(indices) > 0).all()
    assert indices[0] >= 0
    assert indices[-1] < len(times)


def test_stride_by_frames_keeps_every_nth():
    settings = SamplerSettings("stride", every=7)
    np.testing.assert_array_equal(sample(UNEVEN, settings, RNG), np.arange(0, 250, 7))


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_stride_by_seconds_keeps_the_first_frame_after_each_tick(times):
    step = 0.2
    elapsed = times - times[0]
    ticks = np.arange(int(elapsed[-1] / step + 1e-6) + 1) * step
    expected = np.unique([np.flatnonzero(elapsed >= tick - 1e-6)[0] for tick in ticks])
    np.testing.assert_array_equal(sample(times, SamplerSettings("stride", every_s=step), RNG), expected)


def test_stride_with_runs_brings_the_following_frames():
    settings = SamplerSettings("stride", every=50, clip_length=3)
    assert sample(EVEN, settings, RNG).tolist() == [0, 1, 2, 50, 51, 52, 100, 101, 102, 150, 151, 152, 200, 201, 202]
    spaced = dataclasses.replace(settings, every=200, clip_step_s=0.1)
    assert sample(EVEN, spaced, RNG).tolist() == [0, 3, 6, 200, 203, 206]  # 0.12 s: the first frames 0.1 s away


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("per_scan", [1, 2, 32, 100, 249, 250, 1000])
@pytest.mark.parametrize("clip_length", [1, 2, 3, 4])
def test_uniform_keeps_exactly_its_budget(times, per_scan, clip_length):
    settings = SamplerSettings("uniform", per_scan=per_scan, clip_length=min(clip_length, per_scan))
    assert len(sample(times, settings, RNG)) == min(per_scan, len(times))


def test_uniform_takes_the_frame_nearest_to_the_middle_of_each_part_of_the_duration():
    times = np.array([0.0, 1.0, 1.1, 1.2, 6.0, 6.1, 9.0, 10.0])
    kept = sample(times, SamplerSettings("uniform", per_scan=2), RNG)
    assert times[kept].tolist() == [1.2, 6.1]  # nearest to 2.5 and 7.5
    even = sample(EVEN, SamplerSettings("uniform", per_scan=32), RNG)
    gaps = np.diff(EVEN[even])
    assert gaps.max() - gaps.min() < 0.0401  # as even as the frame times allow


def test_uniform_runs_are_neighbours_spread_over_the_scan():
    kept = sample(EVEN, SamplerSettings("uniform", per_scan=32, clip_length=4), RNG)
    found = runs(kept)
    assert [len(run) for run in found] == [4] * 8
    middles = [EVEN[run].mean() for run in found]
    np.testing.assert_allclose(middles, (np.arange(8) + 0.5) * EVEN[-1] / 8, atol=0.05)


def test_no_run_is_shorter_than_asked():
    kept = sample(EVEN, SamplerSettings("uniform", per_scan=32, clip_length=3), RNG)
    assert sorted(len(run) for run in runs(kept)) == [3] * 8 + [4] * 2  # ten runs share 32 frames


def test_spaced_runs_lie_on_their_grid():
    kept = sample(EVEN, SamplerSettings("uniform", per_scan=8, clip_length=2, clip_step_s=0.2), RNG)
    assert (kept % 5 == 0).all()
    assert np.diff(kept)[::2].tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SamplerSettings("unifrom"), "did you mean 'uniform'"),
        (SamplerSettings("uniform", per_scan=0), "per_scan is 0"),
        (SamplerSettings("uniform", per_scan=4, clip_length=5), "clip_length is 5"),
        (SamplerSettings("uniform", clip_step_s=-1.0), "clip_step_s is -1"),
        (SamplerSettings("stride"), "exactly one of"),
        (SamplerSettings("stride", every=2, every_s=0.1), "exactly one of"),
        (SamplerSettings("stride", every_s=float("nan")), "every_s is nan"),
    ],
    ids=str,
)
def test_impossible_settings_are_named(settings, words):
    with pytest.raises(UserError, match=words):
        settings.check()


def test_each_sampler_states_its_law():
    for name, sampler in SAMPLERS.items():
        assert "Law:" in (sampler.__doc__ or ""), name
