"""Positive pairs: which other frame of the same scan shows nearly the same anatomy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssl_zoo.errors import UserError, unknown

PAIRINGS = ("same_frame", "temporal")
EPSILON = 1e-6  # seconds; container clocks round times to their own ticks


class PairSampler:
    """Draws a partner for each frame of a store.

    `same_frame`: the frame itself, so that the two views differ by augmentation only. `temporal`: one of the other
    stored frames of the same scan at most `window_s` seconds away, before or after, each equally likely. A frame
    without such a neighbour is its own partner; `lonely` is the share of those, which a run should report.

    `index` is a frame store's index: `scan_id` and `time_s` of each row. Memory: four int64 per frame.
    """

    def __init__(self, index: pd.DataFrame, pairing: str = "temporal", window_s: float = 0.2) -> None:
        if pairing not in PAIRINGS:
            raise unknown("pairing", pairing, PAIRINGS)
        if pairing == "temporal" and not 0 < window_s < float("inf"):
            raise UserError(f"window_s is {window_s}; it must be a positive number of seconds")
        self.pairing = pairing
        self.window_s = window_s
        self.lonely = 0.0
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
        self.lonely = float((self._others == 0).mean())

    def pairs(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A partner row for each of `rows` (int `[B]` to int64 `[B]`); new draws at every call."""
        rows = np.asarray(rows, dtype=np.int64)
        if self.pairing == "same_frame":
            return rows.copy()
        others = self._others[rows]
        place = self._first[rows] + rng.integers(0, np.maximum(others, 1))
        place += place >= self._place[rows]  # step over the frame itself
        return np.where(others > 0, self._order[np.where(others > 0, place, 0)], rows)
