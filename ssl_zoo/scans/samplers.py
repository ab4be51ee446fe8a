"""Which frames of a scan are kept: one function per sampler, by times in seconds, never by a frame rate.

A sampler takes the frame times of one scan (float seconds, ascending, `[N]`), the settings and a numpy
Generator, and returns frame indices (int64, ascending, no duplicates). A new sampler is one function and one
line in `SAMPLERS`.

Runs. A positive pair needs a neighbour within a short window, and 32 frames spread over a minute have none.
So a sampler may keep short runs instead of single frames: `clip_length` frames in a row at each place, with the
same number of frames in total. `clip_step_s` spaces the frames of a run (useful at high frame rates, where
neighbours are nearly the same picture).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ssl_zoo.errors import UserError, unknown

EPSILON = 1e-6  # seconds; container clocks round times to their own ticks


@dataclass(frozen=True)
class SamplerSettings:
    """What is kept of each scan. Each sampler reads its own fields and `clip_length`, `clip_step_s`.

    `uniform`: `per_scan` frames. `stride`: every `every`-th frame, or one frame every `every_s` seconds.
    """

    sampler: str = "uniform"
    per_scan: int = 32
    every: int | None = None  # frames
    every_s: float | None = None  # seconds
    clip_length: int = 1  # frames of a run
    clip_step_s: float | None = None  # seconds between the frames of a run; None: neighbouring frames
    seed: int = 0

    def check(self) -> None:
        """Raise UserError for a value that cannot be, naming its key."""
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        for key in ("per_scan", "every", "clip_length"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"frames.{key} is {value}; it must be at least 1")
        for key in ("every_s", "clip_step_s"):
            value = getattr(self, key)
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"frames.{key} is {value}; it must be a positive number of seconds")
        if self.sampler == "stride" and (self.every is None) == (self.every_s is None):
            raise UserError("sampler 'stride' needs exactly one of frames.every (frames) and frames.every_s (seconds)")
        if self.sampler == "uniform" and self.clip_length > self.per_scan:
            raise UserError(f"frames.clip_length is {self.clip_length}, more than frames.per_scan ({self.per_scan})")


def sample(times: np.ndarray, settings: SamplerSettings, rng: np.random.Generator) -> np.ndarray:
    """The kept frame indices of one scan by the sampler that the settings name."""
    return SAMPLERS[settings.sampler](times, settings, rng)


def stride(times: np.ndarray, settings: SamplerSettings, rng: np.random.Generator) -> np.ndarray:
    """Every n-th frame, or one frame every t seconds, from the first frame to the last.

    Law: `every=n` keeps frames 0, n, 2n, ...; `every_s=t` keeps, for k = 0, 1, 2, ..., the first frame at or
    after k·t seconds from the start (a frame that answers for several k is kept once). Each kept frame brings
    the `clip_length - 1` frames that follow it in the run's spacing.
    """
    if settings.every is not None:
        anchors = np.arange(0, len(times), settings.every)
    else:
        anchors = _every_seconds(times, float(settings.every_s or 0))
    if settings.clip_length == 1:
        return anchors
    runs = [anchors]
    for _ in range(settings.clip_length - 1):
        last = runs[-1]
        if settings.clip_step_s is None:
            following = last + 1
        else:
            target = times[last] + settings.clip_step_s - EPSILON
            following = np.maximum(np.searchsorted(times, target), last + 1)
        runs.append(following[following < len(times)])
    return np.unique(np.concatenate(runs))


def uniform(times: np.ndarray, settings: SamplerSettings, rng: np.random.Generator) -> np.ndarray:
    """`per_scan` frames spread evenly over the duration of the scan, singly or in runs.

    Law: exactly min(`per_scan`, N) distinct frames. They form `per_scan // clip_length` runs of at least
    `clip_length` frames; the scan's duration is cut into as many equal parts and the middle of each run is the
    frame nearest to the middle of its part. Runs never overlap: where frames are too few around one place they
    move along just as far as they must. With `clip_step_s` the same holds for the frames that lie on a
    grid of that many seconds, N being their number.
    """
    grid = np.arange(len(times))
    if settings.clip_length > 1 and settings.clip_step_s is not None:
        grid = _every_seconds(times, settings.clip_step_s)
    total = min(settings.per_scan, len(grid))
    if total == len(grid):
        return grid
    n_runs = max(1, total // settings.clip_length)
    lengths = np.full(n_runs, total // n_runs)
    lengths[: total % n_runs] += 1
    before = np.cumsum(lengths) - lengths  # frames in earlier runs

    grid_times = times[grid]
    begin, end = grid_times[0], grid_times[-1]
    middles = begin + (end - begin) * (np.arange(n_runs) + 0.5) / n_runs
    starts = _nearest(grid_times, middles) - (lengths - 1) // 2
    slack = np.maximum.accumulate(np.maximum(starts, 0) - before)  # room left before each run: ascending = no overlap
    starts = np.minimum(slack, len(grid) - total) + before
    run = np.repeat(np.arange(n_runs), lengths)
    return grid[starts[run] + np.arange(total) - before[run]]


SAMPLERS: dict[str, Callable[[np.ndarray, SamplerSettings, np.random.Generator], np.ndarray]] = {
    "stride": stride,
    "uniform": uniform,
}


def _every_seconds(times: np.ndarray, step: float) -> np.ndarray:
    """The first frame at or after each multiple of `step` seconds from the first frame."""
    elapsed = times - times[0]
    tick = np.floor((elapsed + EPSILON) / step)  # the latest multiple that a frame can answer for
    return np.flatnonzero(np.diff(tick, prepend=-1.0) > 0)


def _nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The index of the time nearest to each wanted one; the earlier of two equally near."""
    right = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    return np.where(wanted - times[right - 1] <= times[right] - wanted, right - 1, right)
