"""Farthest-first traversal, or greedy k-centre.

Each next centre is the point farthest from all centres so far. Then no point is farther from its nearest centre than
twice what the best possible k centres would reach (Gonzalez 1985, Theoretical Computer Science 38).

The naive loop compares every point with every centre when the centre is chosen, and reads all points k times. Here
a point's distance is an upper bound that is brought up to date only when the point might be the farthest: distances
only fall, so a point whose old distance is below the current farthest one cannot be the next centre. The points with
the largest bounds form a pool; it is brought up to date by matrix products, blocks of centres at a time, and gives
centres as long as its farthest point is beyond all bounds outside. The order that results is that of the naive loop,
to the last tie. In memory: the pool, the centres, and a few numbers for each point; the points themselves may lie in a
file.
"""

from __future__ import annotations

import numpy as np

MOST_BYTES = 256  # of a point: then squared distances are whole numbers below 2^24, exact in float32
BEYOND = 1 << 25  # more than any squared distance


def farthest_first(points: np.ndarray, k: int, first: int, *, pool: int = 4096, block: int = 512) -> np.ndarray:
    """The rows of `points` (int8 `[P, D]`, may be a memory map) in the order in which they become centres, int64 `[k]`.

    `first` is the first centre; of equally far points the lowest row comes first, and no row twice. `pool` and `block`
    (points and centres compared at once) change memory and speed, never the result.
    """
    n_points, size = points.shape
    if points.dtype != np.int8 or size > MOST_BYTES:
        raise ValueError(f"points are int8 of at most {MOST_BYTES} bytes, not {points.dtype} of {size}")
    if not 0 < k <= n_points:
        raise ValueError(f"{k} centres among {n_points} points")
    bounds = np.full(n_points, BEYOND, np.int64)  # squared distance to the nearest centre seen; -1 for a centre
    seen = np.zeros(n_points, np.int64)  # how many centres that was
    centres = np.empty((k, size), np.float32)
    order = np.empty(k, np.int64)
    order[0], centres[0], bounds[first] = first, points[first], -1
    found = 1
    while found < k:
        rows, limit = _farthest(bounds, min(pool, n_points))
        x = points[rows].astype(np.float32)  # [T, D]
        near, upto = bounds[rows], seen[rows]
        alive = np.ones(len(rows), bool)
        for begin in range(int(upto.min()) // block * block, found, block):
            end = min(begin + block, found)
            late = np.flatnonzero(alive & (upto < end))
            near[late] = np.minimum(near[late], _squared(x[late], centres[begin:end]).min(axis=1))
            upto[late] = end
            alive = _keys(near, rows, n_points) > limit
        bounds[rows], seen[rows] = near, upto
        rows, x, near = rows[alive], x[alive], near[alive]
        while found < k and len(rows):
            keys = _keys(near, rows, n_points)
            farthest = int(keys.argmax())
            if keys[farthest] <= limit:
                break
            order[found], centres[found] = rows[farthest], x[farthest]
            near = np.minimum(near, _squared(x, centres[found : found + 1])[:, 0])
            near[farthest] = -1
            found += 1
            if found % 16 == 0:  # leave those behind that can no longer be next
                bounds[rows], seen[rows] = near, found
                alive = _keys(near, rows, n_points) > limit
                rows, x, near = rows[alive], x[alive], near[alive]
        bounds[rows], seen[rows] = near, found
    return order


def _keys(near: np.ndarray, rows: np.ndarray, n_points: int) -> np.ndarray:
    """One whole number for each point that ranks first by distance, then by row, the lowest being the largest."""
    return near * n_points + (n_points - 1 - rows)


def _farthest(bounds: np.ndarray, pool: int) -> tuple[np.ndarray, int]:
    """The rows of the `pool` largest keys, and the largest key of all others (-1: of a centre, which is never next)."""
    keys = _keys(bounds, np.arange(len(bounds)), len(bounds))
    if pool == len(bounds):
        return np.arange(len(bounds)), -1
    place = len(bounds) - pool
    parted = np.argpartition(keys, place - 1)
    return np.sort(parted[place:]), max(-1, int(keys[parted[place - 1]]))


def _squared(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances, int64 `[T, K]`, of float32 `[T, D]` and `[K, D]` that hold whole numbers of -128..127."""
    products = x @ centres.T
    products *= -2
    products += np.einsum("kd,kd->k", centres, centres)
    products += np.einsum("td,td->t", x, x)[:, None]
    return products
