"""The outline of a sector, two straight sides and two arcs, fitted to a map of which pixels speak for and against it.

One family holds what probes draw: a fan (convex probe: arcs around the point where the sides meet), a phased array
(its face nearly a point), a rectangle (parallel sides, flat ends), a trapezoid and a steered parallelogram (flat ends).
An outline has six numbers, all in pixels: where its axis crosses the first and the last row of the fit, the half-widths
there, and the rows where the axis enters and leaves the sector. How round its ends are is one of three `bows`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Bow = tuple[float, float]
Screen = tuple[float, float, float, float]  # first row and column, last row and column
Gain = Callable[[np.ndarray, Bow], np.ndarray]
FAN: Bow = (1.0, 1.0)  # roundness of the face and of the far end: 1 around the apex, 0 flat
BOWS = (FAN, (0.0, 1.0), (0.0, 0.0))
WIDEST = 1.7  # half-width gained in each row, that is a sector of 119 degrees
FARTHEST_APEX = 1e5  # pixels; sides that are parallel meet there
FAR = 20.0  # lengths of the sector; sides that meet farther away are as good as parallel
FLATTENS, LEANS = 0.01, 0.005  # shares of all votes that an outline must win to have flat ends, or to lean
ASIDE = 0.05  # votes against, for each row and pixel that the axis lies beside the middle of what is lit
FILLED = 0.9  # votes for each pixel of a leaning outline: where shadows hide a side, none is believed
STEPS = (8.0, 4.0, 2.0, 1.0, 0.5, 0.25)  # pixels, of the search
COARSE, SPARSE = 2.0, 3  # for steps of so many pixels and more, every third row is enough
MOST_MOVES = 12  # at each step


@dataclass(frozen=True, eq=False)
class Outline:
    """A sector's outline. `numbers` float64 `[6]`: axis at rows `first` and `last`, half-widths there, begin, end."""

    numbers: np.ndarray
    bow: Bow
    first: float
    last: float
    screen: Screen  # beyond it the machine cuts the sector off
    share: float = 1.0  # of all votes for a sector, what those inside come to when those against are taken off
    filled: float = 1.0  # the same for each pixel inside
    upside_down: int = 0  # rows of the raster, where it was fitted to the last row first: the probe is at the bottom

    def region(self, height: int, width: int, step: float = 1.0, margin: float = 0.0) -> np.ndarray:
        """The pixels inside, bool `[height, width]`, of a raster `step` times as fine; widened by `margin` pixels of
        the raster on which the outline was fitted.
        """
        rows = (np.arange(height) + 0.5) / step - 0.5
        rows = self.upside_down - 1 - rows if self.upside_down else rows
        columns = (np.arange(width) + 0.5) / step - 0.5
        top, left, bottom, right = self.screen
        begins, ends, hole_begins, hole_ends = _extents(
            self.numbers[None], self.bow, self.first, self.last, rows, margin
        )
        begins, ends = np.maximum(begins, left - margin), np.minimum(ends, right + margin)
        ends[:, (rows < top - margin) | (rows > bottom + margin)] = -np.inf
        inside = (columns >= begins[0][:, None]) & (columns <= ends[0][:, None])
        return inside & ~((columns > hole_begins[0][:, None]) & (columns < hole_ends[0][:, None]))


def fit_outline(votes: np.ndarray, starts: list[np.ndarray], screen: Screen) -> Outline:
    """The outline with the largest sum of `votes` (float `[h, w]`, below 0 against) inside it.

    `starts` are numbers from which the search may begin, for rows `screen[0]` and `screen[2]` as first and last. From
    the best of them it climbs by all moves of one or two numbers, in ever smaller steps: first upright, then, where
    votes are lost, leaning.
    """
    top, left, bottom, right = screen
    part = votes[int(top) : int(bottom) + 1].copy()
    part[:, : int(left)] = 0
    part[:, int(right) + 1 :] = 0
    rows = np.arange(int(top), int(bottom) + 1, dtype=np.float64)
    fine, coarse = _gain(part, rows, top, bottom), _gain(part[::SPARSE], rows[::SPARSE], top, bottom)
    worth = float(np.maximum(part, 0).sum())

    def climb(numbers: np.ndarray, bow: Bow, moves: np.ndarray, steps: tuple[float, ...] = STEPS) -> Found:
        value = 0.0
        for step in steps:
            gain = coarse if step >= COARSE else fine
            value = float(gain(numbers[None], bow)[0])
            for _ in range(MOST_MOVES):
                gains = gain(numbers + step * moves, bow)
                at = int(gains.argmax())
                if gains[at] <= value + 1e-9:
                    break
                numbers, value = numbers + step * moves[at], float(gains[at])
        return value, numbers, bow

    def fit(candidates: np.ndarray, moves: np.ndarray) -> Found:
        best = climb(candidates[coarse(candidates, FAN).argmax()], FAN, moves)
        for bow in BOWS[1:]:
            other = climb(best[1], bow, moves, STEPS[1:])
            best = other if other[0] > best[0] + FLATTENS * worth else best
        return best

    def area(found: Found) -> float:
        return float(_gain(np.ones_like(part), rows, top, bottom)(found[1][None], found[2])[0])

    candidates = np.array(starts, np.float64)
    upright = candidates[:, 0] == candidates[:, 1]
    best = fit(candidates[upright], UPRIGHT)
    if best[0] < (1 - LEANS) * worth and not upright.all():
        leaning = fit(candidates[~upright], LEANING)
        if leaning[0] > max(best[0] + LEANS * worth, FILLED * area(leaning)):
            best = leaning
    value, numbers, bow = best
    share, filled = value / max(worth, 1e-9), value / max(area(best), 1.0)
    return Outline(numbers, bow, top, bottom, screen, share, filled)


Found = tuple[float, np.ndarray, Bow]  # votes, numbers, bow


def _moves(basis: np.ndarray) -> np.ndarray:
    """All moves along one or two of the `basis` vectors `[D, 6]`, forwards and backwards."""
    single = np.concatenate([basis, -basis])
    pairs = [
        one * basis[a] + other * basis[b]
        for a, b in itertools.combinations(range(len(basis)), 2)
        for one in (-1, 1)
        for other in (-1, 1)
    ]
    return np.concatenate([single, np.array(pairs)])


UPRIGHT = _moves(np.array([[1, 1, 0, 0, 0, 0], *np.eye(6)[2:]]))  # [50, 6] the axis moves as a whole
LEANING = _moves(np.eye(6))  # [72, 6]


def _extents(
    numbers: np.ndarray, bow: Bow, first: float, last: float, rows: np.ndarray, margin: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For outlines `[K, 6]` and each of `rows` `[R]`: where the sector begins and ends, and where the hole before the
    probe's round face does; each `[K, R]`, empty where an end comes before its beginning.
    """
    axis_first, axis_last, half_first, half_last, begin, end = (column[:, None] for column in numbers.T)
    length = max(last - first, 1.0)
    spread = np.clip((half_last - half_first) / length, 0.0, WIDEST)  # half-width gained in each row: none narrows
    lean = (axis_last - axis_first) / length
    at = rows[None] - first
    axis = axis_first + lean * at  # [K, R]
    half = half_first + margin * np.hypot(1, spread) + spread * at
    reach = np.minimum(half_first / np.maximum(spread, 1e-9), FARTHEST_APEX)  # the sides meet so far above `first`
    apex_row = first - reach
    flat = np.full((1, 1), FARTHEST_APEX)
    near = np.minimum(FARTHEST_APEX, np.maximum(begin - apex_row, 0.0)) if bow[0] else flat
    far = np.minimum(FARTHEST_APEX, np.maximum(end - apex_row, 1e-3)) if bow[1] else flat
    apex = np.where(reach < FAR * length, axis_first - lean * reach, axis)  # where sides are parallel, ends are flat
    reached = _chord(far + margin, rows - (end - far))
    centre = apex if bow[1] else axis  # a flat end lies across the axis
    begins, ends = np.maximum(axis - half, centre - reached), np.minimum(axis + half, centre + reached)
    hole = _chord(near - margin, rows - (begin - near))
    centre = apex if bow[0] else axis
    return begins, ends, centre - hole, centre + hole


def _chord(radius: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Half the chord of a circle at an offset from its centre; -1 where there is none."""
    squared = radius * np.abs(radius) - offset * offset
    return np.where(squared > 0, np.sqrt(np.maximum(squared, 0)), -1.0)


def _gain(votes: np.ndarray, rows: np.ndarray, first: float, last: float) -> Gain:
    """A function from outlines `[K, 6]` to the votes inside them, `[K]`: `votes` `[R, w]` of `rows` `[R]`."""
    width = votes.shape[1]
    sums = np.zeros((len(rows), width + 1))
    np.cumsum(votes, axis=1, out=sums[:, 1:])
    sums, steps = sums.ravel(), np.pad(votes, ((0, 0), (0, 1))).ravel()
    base = np.arange(len(rows)) * (width + 1)
    lit = np.flatnonzero((votes > 0).any(0))
    middle = (lit[0] + lit[-1]) / 2 if len(lit) else width / 2

    def up_to(place: np.ndarray) -> np.ndarray:  # [K, r] votes left of a place in each row
        place = np.clip(place + 0.5, 0, width)
        whole = place.astype(np.intp)
        index = whole + base[: place.shape[1]]
        return sums.take(index) + steps.take(index) * (place - whole)

    def gain(numbers: np.ndarray, bow: Bow) -> np.ndarray:
        begins, ends, hole_begins, hole_ends = _extents(numbers, bow, first, last, rows)
        held = np.where(ends > begins, up_to(ends) - up_to(begins), 0.0).sum(1)
        lens = int(np.searchsorted(rows, numbers[:, 4].max(), side="right"))  # rows that a hole can reach
        hole_begins = np.maximum(hole_begins[:, :lens], begins[:, :lens])
        hole_ends = np.minimum(hole_ends[:, :lens], ends[:, :lens])
        held -= np.where(hole_ends > hole_begins, up_to(hole_ends) - up_to(hole_begins), 0.0).sum(1)
        return held - ASIDE * len(rows) * np.abs(numbers[:, 0] + numbers[:, 1] - 2 * middle) / 2

    return gain
