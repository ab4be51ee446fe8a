"""Positive pairs: which other frame of the same scan shows nearly the same anatomy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssl_zoo.errors import UserError, unknown

PAIRINGS = ("same_frame", "temporal")
WEIGHTINGS = ("uniform", "linear")
EPSILON = 1e-6  # seconds; container clocks round times to their own ticks


class PairSampler:
    """Draws a partner for each frame of a store.

    `same_frame`: the frame itself, so that the two views differ by augmentation only. `temporal`: one of the other
    stored frames of the same scan at most `window_s` seconds away, before or after, whatever the frame rate. A frame
    without such a neighbour is its own partner; `n_lonely` counts those and `lonely` is their share, which a run should
    report.

    `weighting` says which neighbour. `uniform`: each is equally likely. `linear`: the closer, the likelier, with weight
    window_s - |dt| + step, where `step` is the smallest time between two frames of a scan, so that a frame at the
    window's border still has a chance. VanBerlo et al. (IVPP, arXiv 2403.07715) multiply the loss of a pair by such a
    weight. To draw in proportion gives the same expectation, up to each anchor's sum of weights, where the loss is a
    sum over pairs; where it couples pairs (a softmax or a correlation over the batch) there is no such identity, and
    the draw is what is meant here.

    `index` is a frame store's index: `scan_id` and `time_s` of each row. Memory: four int64 per frame, and a float64
    for `linear`, whose draws also take arrays of the batch times the longest window.
    """

    def __init__(
        self, index: pd.DataFrame, pairing: str = "temporal", window_s: float = 0.2, weighting: str = "uniform"
    ) -> None:
        if pairing not in PAIRINGS:
            raise unknown("pairing", pairing, PAIRINGS)
        if weighting not in WEIGHTINGS:
            raise unknown("pair_weighting", weighting, WEIGHTINGS)
        if pairing == "temporal" and not 0 < window_s < float("inf"):
            raise UserError(f"window_s is {window_s}; it must be a positive number of seconds")
        self.pairing = pairing
        self.window_s = window_s
        self.weighting = weighting
        self.n_lonely, self._frames = 0, len(index)
        if pairing == "same_frame":
            return

        scan = pd.factorize(index["scan_id"])[0]
        time = index["time_s"].to_numpy(np.float64)
        time = time - time.min()
        # One line of time for all scans, laid end to end with gaps that no window crosses.
        line = scan * (time.max() + 2 * window_s + 1) + time
        self._order = np.argsort(line, kind="stable")  # place on the line -> row
        line = line[self._order]
        first = np.searchsorted(line, line - window_s - EPSILON, side="left")
        last = np.searchsorted(line, line + window_s + EPSILON, side="right")
        self._place = np.empty(len(line), np.int64)  # row -> place on the line
        self._place[self._order] = np.arange(len(line))
        self._first = first[self._place]  # row -> first place within its window
        self._others = (last - first - 1)[self._place]  # row -> number of neighbours
        self.n_lonely = int((self._others == 0).sum())
        if weighting == "linear":
            self._line = line  # seconds by place
            steps = np.diff(line)
            steps = steps[(steps > EPSILON) & (steps <= window_s + EPSILON)]  # two frames of one scan, both drawable
            self.step = float(steps.min()) if len(steps) else window_s

    @property
    def lonely(self) -> float:
        """Share of the frames without a neighbour, 0 to 1."""
        return self.n_lonely / self._frames

    def pairs(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A partner row for each of `rows` (int `[B]` to int64 `[B]`); new draws at every call."""
        rows = np.asarray(rows, dtype=np.int64)
        if self.pairing == "same_frame":
            return rows.copy()
        others = self._others[rows]
        if self.weighting == "linear":
            choice = self._closer(rows, rng.random(len(rows)))
        else:
            choice = rng.integers(0, np.maximum(others, 1))
        place = self._first[rows] + choice
        place += place >= self._place[rows]  # step over the frame itself
        return np.where(others > 0, self._order[np.where(others > 0, place, 0)], rows)

    def _closer(self, rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Which of its neighbours each row takes, counted from the window's first; `uniform` in [0, 1), `[B]`."""
        count = max(1, int(self._others[rows].max()))
        neighbour = np.arange(count)  # [K]
        place = self._first[rows, None] + neighbour  # [B, K]
        place += place >= self._place[rows, None]
        there = neighbour < self._others[rows, None]
        away = np.abs(self._line[np.where(there, place, 0)] - self._line[self._place[rows], None])  # seconds
        weight = np.where(there, np.maximum(self.window_s - away, 0) + self.step, 0)
        below = np.cumsum(weight, axis=1)
        choice = (below <= uniform[:, None] * below[:, -1:]).sum(axis=1)
        return np.minimum(choice, np.maximum(self._others[rows] - 1, 0))  # the product may round up to the total
