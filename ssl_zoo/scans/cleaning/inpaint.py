"""Fills marks from the tissue around them: each pixel becomes the mean of its four neighbours (Laplace's equation).

The equations are the same for every frame of a scan, so that they are factorised once, when the first frame comes.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))


class Filling:
    """Fills the pixels `marks` (bool `[h, w]`) of images of the same size. It can be pickled.

    Neighbours outside `sector` (bool `[h, w]`) do not count: what is black there must not bleed in. A mark without
    any neighbour in the sector that is no mark becomes black.
    """

    def __init__(self, marks: np.ndarray, sector: np.ndarray) -> None:
        self.shape = marks.shape
        self.marks = np.flatnonzero(marks & sector)
        self.sector = sector

    def __call__(self, image: np.ndarray) -> None:
        """Fill the marks of an image in place: uint8 `[h, w]` or `[h, w, 3]`."""
        if not len(self.marks):
            return
        solve, border, weights = self._equations
        flat = image.reshape(self.sector.size, -1)
        known = weights @ flat[border].astype(np.float64)  # [marks, channels]
        flat[self.marks] = np.clip(np.rint(solve(known)), 0, 255).astype(np.uint8)

    def __getstate__(self) -> dict:
        return {key: value for key, value in self.__dict__.items() if key != "_equations"}

    @cached_property
    def _equations(self):
        """The solver, the flat places of the pixels around the marks, and how much they count, `[marks, border]`."""
        height, width = self.shape
        number = np.full(height * width, -1)
        number[self.marks] = np.arange(len(self.marks))
        row, column = np.divmod(self.marks, width)
        within = self.sector.ravel()
        counts = np.zeros(len(self.marks))
        inner, outer = [], []  # pairs of a mark and a neighbour that is a mark; of a mark and one that is not
        for down, right in NEIGHBOURS:
            there = (row + down >= 0) & (row + down < height) & (column + right >= 0) & (column + right < width)
            own = np.flatnonzero(there)
            place = self.marks[own] + down * width + right
            own, place = own[within[place]], place[within[place]]
            counts[own] += 1
            marked = number[place] >= 0
            inner.append(np.stack([own[marked], number[place[marked]]]))
            outer.append(np.stack([own[~marked], place[~marked]]))
        inner, outer = np.concatenate(inner, 1), np.concatenate(outer, 1)
        border, at = np.unique(outer[1], return_inverse=True)
        shape = (len(self.marks), len(self.marks))
        # A hair on the diagonal: marks with no known pixel around them become black instead of undefined.
        matrix = sparse.diags(counts + 1e-6) - sparse.csr_matrix((np.ones(inner.shape[1]), inner), shape)
        weights = sparse.csr_matrix((np.ones(outer.shape[1]), (outer[0], at)), (len(self.marks), len(border)))
        return splu(sparse.csc_matrix(matrix)).solve, border, weights
