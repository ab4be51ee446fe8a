"""What a sampler chooses from: every frame of every scan, with its time and, where it was looked at, its descriptor."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Candidates:
    """All frames of S scans, one row each: scan after scan, and within a scan in presentation order.

    `scan_ids`: `[S]`. `starts` int64 `[S + 1]`: the row of each scan's first frame, and the number of rows M. `times`
    float64 `[M]`: seconds, ascending within a scan. `seen` int64 `[C]`: the rows that have a descriptor, ascending;
    `descriptors` int8 `[C, D]`, which may be a memory map. Both None where nobody has looked at the frames.
    """

    scan_ids: tuple[str, ...]
    starts: np.ndarray
    times: np.ndarray
    seen: np.ndarray | None = None
    descriptors: np.ndarray | None = None

    @classmethod
    def of(cls, scan_ids: Sequence[str], times: Sequence[np.ndarray]) -> Candidates:
        """The frames of some scans, from the times of each scan's frames."""
        starts = np.cumsum([0, *(len(scan) for scan in times)])
        return cls(tuple(scan_ids), starts, np.concatenate([np.empty(0), *times]))

    def __len__(self) -> int:
        return len(self.times)

    def of_scan(self, number: int) -> Candidates:
        """The frames of one scan, as if it were alone."""
        begin, end = self.starts[number : number + 2]
        alone = (self.scan_ids[number],), np.array([0, end - begin]), self.times[begin:end]
        if self.seen is None or self.descriptors is None:
            return Candidates(*alone)
        first, last = np.searchsorted(self.seen, (begin, end))
        return Candidates(*alone, self.seen[first:last] - begin, self.descriptors[first:last])


def seeded_order(scan_ids: Sequence[str], seed: int) -> np.ndarray:
    """All scans in the order that `seed` gives them: their numbers, int64 `[S]`.

    A scan's place follows from its own name and the seed, so that scans that join or leave the cohort do not change the
    order of the others.
    """
    keys = [hashlib.sha256(f"{seed}/{scan_id}".encode()).digest() for scan_id in scan_ids]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
