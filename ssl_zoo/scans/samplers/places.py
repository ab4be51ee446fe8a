"""Places: the runs of neighbouring frames, one behind the other, that a sampler takes or leaves as wholes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers.settings import SamplerSettings

EPSILON = 1e-6  # seconds; container clocks round times to their own ticks


@dataclass(frozen=True, eq=False)
class Places:
    """P runs of frames that do not overlap: `rows` int64 `[T]`, ascending, of which place p has
    `rows[starts[p] : starts[p + 1]]`; `starts` int64 `[P + 1]`."""

    rows: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def faces(self) -> np.ndarray:
        """The row in the middle of each place (the earlier of two), which is looked at for it: int64 `[P]`."""
        return self.rows[(self.starts[:-1] + self.starts[1:] - 1) // 2]

    def take(self, places: np.ndarray) -> np.ndarray:
        """The rows of some places, ascending."""
        taken = np.zeros(len(self), bool)
        taken[places] = True
        return self.rows[np.repeat(taken, np.diff(self.starts))]

    def only(self, kept: np.ndarray) -> Places:
        """The places marked in `kept`, bool `[P]`."""
        lengths = np.diff(self.starts)
        return Places(self.rows[np.repeat(kept, lengths)], np.cumsum([0, *lengths[kept]]))


def places_of_scan(times: np.ndarray, settings: SamplerSettings) -> Places:
    """The places of one scan, from the times of its frames.

    A place begins at the first frame at or after each multiple of `candidate_step_s` from the scan's start (None: at
    each frame), unless that frame still belongs to the place before it. It has `clip_length` frames: neighbours, or
    each the first one at least `clip_step_s` after the one before. Where the scan ends too early for that there is no
    place, unless the scan would have none at all: then one place has what there is from its first frame on.
    """
    step, length = settings.candidate_step_s, settings.clip_length
    anchors = np.arange(len(times)) if step is None else every_seconds(times, step)
    if length == 1:
        return Places(anchors, np.arange(len(anchors) + 1))
    following = np.arange(1, len(times) + 1)  # the frame that comes after each one in a run
    if settings.clip_step_s is not None:
        wanted = times + settings.clip_step_s - EPSILON
        following = np.maximum(np.searchsorted(times, wanted), following)
    runs: list[list[int]] = []
    free = 0  # the first frame behind the last place
    for anchor in anchors.tolist():
        if anchor < free:
            continue
        run = [anchor]
        while len(run) < length and following[run[-1]] < len(times):
            run.append(int(following[run[-1]]))
        if len(run) == length or not runs:
            runs.append(run)
        free = run[-1] + 1
    return Places(np.array([row for run in runs for row in run], np.int64), np.cumsum([0, *map(len, runs)]))


def places_of(candidates: Candidates, settings: SamplerSettings) -> Places:
    """The places of all scans; where frames were looked at, those places whose faces were."""
    parts = [
        places_of_scan(candidates.times[begin:end], settings)
        for begin, end in zip(candidates.starts[:-1], candidates.starts[1:], strict=True)
    ]
    rows = [begin + part.rows for begin, part in zip(candidates.starts[:-1], parts, strict=True)]
    lengths = [np.diff(part.starts) for part in parts]
    places = Places(np.concatenate(rows), np.cumsum([0, *np.concatenate(lengths)]))
    return places if candidates.seen is None else places.only(np.isin(places.faces, candidates.seen))


def every_seconds(times: np.ndarray, step: float) -> np.ndarray:
    """The first frame at or after each multiple of `step` seconds from the first frame."""
    elapsed = times - times[0]
    tick = np.floor((elapsed + EPSILON) / step)  # the latest multiple that a frame can answer for
    return np.flatnonzero(np.diff(tick, prepend=-1.0) > 0)
