"""Samplers that go by time alone: `stride`, `uniform`, `random`."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssl_zoo.errors import UserError
from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers.by_scan import by_scan
from ssl_zoo.scans.samplers.places import EPSILON, every_seconds, places_of
from ssl_zoo.scans.samplers.settings import SamplerSettings


def stride(candidates: Candidates, settings: SamplerSettings) -> np.ndarray:
    """Every n-th frame, or one frame every t seconds, from the first frame of each scan to its last.

    Law: `every=n` keeps frames 0, n, 2n, ...; `every_s=t` keeps, for k = 0, 1, 2, ..., the first frame at or
    after k·t seconds from the start (a frame that answers for several k is kept once). Each kept frame brings
    the `clip_length - 1` frames that follow it in the run's spacing. Without either, `per_scan=b` keeps of each scan
    what `every=n` keeps with the scan's own smallest n by which that is at most b frames; `frames=b` keeps what
    `every=n` keeps with the smallest n, the same for all scans, by which that is at most b frames of the store;
    UserError where each scan's first run is more already.
    """
    if settings.frames is None:
        return _strides(candidates, settings)
    begin, end = candidates.starts[:-1], candidates.starts[1:]
    every = 1
    while (-(-(end - begin) // every)).sum() > settings.frames and every < (end - begin).max():
        every += 1  # by the first frames of the runs alone: no smaller n can fit
    while True:
        rows = _strides(candidates, dataclasses.replace(settings, every=every, frames=None))
        if len(rows) <= settings.frames:
            return rows
        if every >= (end - begin).max():
            raise UserError(
                f"frames.frames is {settings.frames}, and sampler 'stride' keeps at least {len(rows)}, the first run "
                f"of each of the {len(begin)} scans; allow more frames, or fewer scans with frames.scans"
            )
        every += 1


def _strides(candidates: Candidates, settings: SamplerSettings) -> np.ndarray:
    rows = [np.empty(0, np.int64)]
    for begin, end in zip(candidates.starts[:-1], candidates.starts[1:], strict=True):
        rows.append(begin + _stride(candidates.times[begin:end], settings))
    return np.concatenate(rows)


def _stride(times: np.ndarray, settings: SamplerSettings) -> np.ndarray:
    if settings.every_s is not None:
        anchors = every_seconds(times, settings.every_s)
    elif settings.every is not None:
        anchors = np.arange(0, len(times), settings.every)
    else:
        return _smallest_stride(times, settings)
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


def _smallest_stride(times: np.ndarray, settings: SamplerSettings) -> np.ndarray:
    """What `per_scan` allows of one scan; `clip_length`, which is no more, always fits."""
    every = max(1, -(-len(times) // settings.per_scan))  # by the first frames of the runs alone: no smaller n can fit
    while len(kept := _stride(times, dataclasses.replace(settings, every=every))) > settings.per_scan:
        every += 1
    return kept


def _grid(scan: Candidates, settings: SamplerSettings) -> np.ndarray:
    """The frames that `uniform` spreads over: all, or with spaced runs those on a grid of that many seconds."""
    if settings.clip_length > 1 and settings.clip_step_s is not None:
        return every_seconds(scan.times, settings.clip_step_s)
    return np.arange(len(scan))


def _runs_of_grid(scan: Candidates, settings: SamplerSettings) -> int:
    return max(1, len(_grid(scan, settings)) // settings.clip_length)


@by_scan(_runs_of_grid)
def uniform(scan: Candidates, settings: SamplerSettings, rng: np.random.Generator) -> np.ndarray:
    """`per_scan` frames spread evenly over the duration of each scan, singly or in runs.

    Law: exactly min(`per_scan`, N) distinct frames. They form `per_scan // clip_length` runs of at least
    `clip_length` frames; the scan's duration is cut into as many equal parts and the middle of each run is the
    frame nearest to the middle of its part. Runs never overlap: where frames are too few around one place they
    move along just as far as they must. With `clip_step_s` the same holds for the frames that lie on a
    grid of that many seconds, N being their number. With `frames`, each scan's share of the runs takes the place of
    `per_scan` (see `even_shares`).
    """
    times, grid = scan.times, _grid(scan, settings)
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


def number_of_places(scan: Candidates, settings: SamplerSettings) -> int:
    """The room of a scan whose places are taken or left: their number."""
    return len(places_of(scan, settings))


@by_scan(number_of_places)
def random(scan: Candidates, settings: SamplerSettings, rng: np.random.Generator) -> np.ndarray:
    """`per_scan` frames of each scan by lot, singly or in runs.

    Law: `per_scan // clip_length` of the scan's places (see `places_of_scan`), or all where there are fewer, every set
    of that size being equally likely. What a smaller budget keeps, a larger one of the same seed keeps too. With
    `frames`, each scan's share of the runs takes the place of `per_scan` (see `even_shares`).
    """
    places = places_of(scan, settings)
    return places.take(rng.permutation(len(places))[: settings.per_scan // settings.clip_length])


def _nearest(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The index of the time nearest to each wanted one; the earlier of two equally near."""
    right = np.clip(np.searchsorted(times, wanted), 1, len(times) - 1)
    return np.where(wanted - times[right - 1] <= times[right] - wanted, right - 1, right)
