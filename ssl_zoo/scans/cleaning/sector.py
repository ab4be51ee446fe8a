"""The ultrasound sector of a scan: the one part of the screen that lives.

Moving pixels that hang together in thick parts are the sector's; text, rulers, traces and bars are thin, or stand
still. An outline (`shapes`) is then fitted to them, which also takes in what is dark: shadows and the far field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ssl_zoo.scans.cleaning.evidence import Evidence, connected, opened
from ssl_zoo.scans.cleaning.shapes import Outline, Screen, fit_outline

THICK = 0.02  # of the raster's longer side; half the thickness of what is not taken for text, a ruler or a trace
GAP = 3  # pixels; speckle and small shadows leave gaps as wide as this
SMALLEST = 0.03  # of the frame: the smallest sector that is believed
PIECE = 0.003  # of the frame: the smallest part beside the largest that counts
ABOVE, PANEL = 0.1, 0.15  # a sector above a trace has so much of its area at least, a trace below a sector more than so
TWIN_SIZE, TWIN_SHAPE = 0.6, 0.7  # how alike two sectors of a split screen are: areas, and overlap when moved together
# Votes for an outline: 1 for each pixel of the sector's moving parts, and less for others: moving ones elsewhere, lit
# and still ones joined to the sector, those that are never lit, and lit and still ones elsewhere. An edge lies where
# one pixel in nine moves, so that shadows hide it only where they hide nearly all of it.
SCATTERED, STILL, DARK, MARK = 0.1, 0.25, -0.12, -0.25
# Where a fit starts: half-width gained in each row, and how much the axis leans.
START_SLOPES = [(spread, 0.0) for spread in (0.0, 0.15, 0.35, 0.6, 0.9, 1.3)]
START_SLOPES += [(0.0, lean) for lean in (-0.35, -0.2, 0.2, 0.35)]
STRAIGHT, LEVEL = 0.25, 0.5  # of a sector's height, of its width: an upright, a level end as long as that is straight
WHOLE = 0.997  # of the frame: a sector that leaves no border
# A sector with the probe at the bottom is looked for where the outline has a smaller share of the votes than the first,
# and believed where it has so much more of them, and of its own pixels.
TURN, TURNS, TURN_FILLED = 0.97, 0.03, 0.9
GUESS = 0.6  # of the pixels within an outline: where fewer are ever lit, it is a guess
COVERED = 0.97  # of the moving parts by an outline that fits
LOST = 0.04  # of what is lit in a still: an outline that leaves out more is not believed


@dataclass(frozen=True, eq=False)
class Sectors:
    """What was found. `outlines`: of each sector, from left to right; two where the screen is split, none where no
    sector was found, or where it fills the frame. `core` bool `[h, w]` on the evidence's raster: moving parts that
    belong to them. `fits`: whether the outlines hold nearly all of these. `note`: what was doubtful.
    """

    outlines: list[Outline]
    core: np.ndarray
    fits: bool = True
    note: str = ""


def find_sectors(seen: Evidence) -> Sectors:
    """The sectors on the evidence's raster; none where none is found with confidence."""
    thick = max(2, round(THICK * max(seen.moving.shape)))
    parts, count = connected(opened(_dense(seen.moving), thick))
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    if not count or areas.max() < SMALLEST * parts.size:
        return Sectors([], np.zeros(parts.shape, bool), note="no sector found")
    spans = ndimage.find_objects(parts)
    main = _main(areas, spans)
    twin = _twin(parts, areas, spans, main)
    if twin is not None:
        cores = [parts == label for label in sorted((main, twin), key=lambda label: spans[label - 1][1].start)]
        return Sectors([_outline(seen, core, thick) for core in cores], cores[0] | cores[1], note="split screen")
    bottom = spans[main - 1][0].stop
    core, note = parts == main, ""
    colours = np.bincount(parts[seen.colourful], minlength=count + 1)[1:] > 0.5 * areas
    for label in np.flatnonzero(areas >= PIECE * parts.size) + 1:
        below = spans[label - 1][0].start >= bottom - 0.05 * len(parts)
        if below and areas[label - 1] > PANEL * areas[main - 1]:
            note = "a second panel below the sector is left out"
        elif colours[label - 1] and not colours[main - 1]:
            note = "a coloured picture beside the sector is left out"
        elif label != main and not seen.still:  # where nothing moves, it may as well be a panel
            core |= parts == label
    if core.mean() > WHOLE:
        return Sectors([], core)
    outline = _outline(seen, core, thick)
    held = outline.region(*core.shape, margin=1)
    fits = bool((core & held).sum() >= COVERED * core.sum())
    if not fits:
        note = note or "sector of unusual shape"
    elif seen.still and (lost := _lost(seen, held, thick)) > LOST:
        note = f"no outline holds more than {1 - lost:.0%} of what is lit"
        return Sectors([], np.zeros(core.shape, bool), note=note)
    elif (seen.lit & held).sum() < GUESS * held.sum():
        note = note or "much of the sector is black, so that its outline is a guess"
    return Sectors([outline], core, fits=fits, note=note)


def _lost(seen: Evidence, held: np.ndarray, thick: int) -> float:
    """The share of what is lit, text and other thin parts apart, that an outline leaves out."""
    lit = opened(_dense(seen.lit), thick)
    return float((lit & ~held).sum() / max(1, lit.sum()))


def _dense(region: np.ndarray) -> np.ndarray:
    """Where a region fills at least half of its neighbourhood: without thin parts, and without small gaps."""
    return ndimage.uniform_filter(region.astype(np.float32), 2 * GAP + 1, mode="nearest") >= 0.5


def _main(areas: np.ndarray, spans: list) -> int:
    """The label of the sector: the largest part, or that above it where the largest is a trace (M-mode, Doppler)."""
    largest = int(areas.argmax())
    top = spans[largest][0].start + GAP
    above = [k for k, span in enumerate(spans) if areas[k] > ABOVE * areas[largest] and span[0].stop <= top]
    return max(above, key=lambda k: areas[k], default=largest) + 1


def _twin(parts: np.ndarray, areas: np.ndarray, spans: list, main: int) -> int | None:
    """The label of a second sector of the same shape beside the main one, if there is one."""
    for label in np.argsort(areas)[::-1] + 1:
        if label == main or areas[label - 1] < TWIN_SIZE * areas[main - 1]:
            continue
        rows, columns = spans[main - 1]
        other_rows, other_columns = spans[label - 1]
        if columns.start < other_columns.stop and other_columns.start < columns.stop:
            continue
        height = max(rows.stop - rows.start, other_rows.stop - other_rows.start)
        width = max(columns.stop - columns.start, other_columns.stop - other_columns.start)
        shapes = np.zeros((2, height, width), bool)
        for shape, number in zip(shapes, (main, label), strict=True):
            found = parts[spans[number - 1]] == number
            shape[: found.shape[0], : found.shape[1]] = found
        if (shapes[0] & shapes[1]).sum() > TWIN_SHAPE * (shapes[0] | shapes[1]).sum():
            return int(label)
    return None


def _outline(seen: Evidence, core: np.ndarray, thick: int) -> Outline:
    joined = ndimage.binary_propagation(core, mask=opened(_dense(seen.lit), thick) | core)
    rim = ndimage.maximum_filter(core.view(np.uint8), 2 * thick + 1).view(bool)
    own = core | (seen.moving & (joined | rim))
    votes = np.full(core.shape, DARK)
    votes[seen.lit] = MARK
    votes[seen.lit & joined] = STILL
    votes[seen.moving] = SCATTERED
    votes[own] = 1.0
    outline = _fitted(votes, own)
    if outline.share < TURN:
        other = _fitted(votes[::-1], own[::-1])
        if other.share > outline.share + TURNS and other.filled > TURN_FILLED:
            outline = replace(other, upside_down=len(votes))
    return outline


def _fitted(votes: np.ndarray, own: np.ndarray) -> Outline:
    screen = _screen(own)
    outline = fit_outline(votes, _starts(own, screen), screen)
    return replace(outline, screen=_cuts(own, screen))


def _screen(region: np.ndarray) -> Screen:
    """The first and last row and column that hold more than a few pixels of a region: top, left, bottom, right."""
    rows, columns = (np.flatnonzero(sums > min(2, sums.max() - 1)) for sums in (region.sum(1), region.sum(0)))
    return float(rows[0]), float(columns[0]), float(rows[-1]), float(columns[-1])


def _cuts(own: np.ndarray, screen: Screen) -> Screen:
    """Where the machine's screen cuts the sector off: at the ends of what moves where those are straight. Elsewhere
    a shadow or a fading far field hides how far the sector goes, and the outline decides.
    """
    top, left, bottom, right = (int(end) for end in screen)
    height, width = bottom - top + 1, right - left + 1
    rows, columns = own[:, left : right + 1], own[top : bottom + 1]
    return (
        top if rows[top : top + 2].sum() > 2 * LEVEL * width else 0.0,
        left if columns[:, left : left + 2].sum() > 2 * STRAIGHT * height else 0.0,
        bottom if rows[bottom - 1 : bottom + 1].sum() > 2 * LEVEL * width else own.shape[0] - 1.0,
        right if columns[:, right - 1 : right + 1].sum() > 2 * STRAIGHT * height else own.shape[1] - 1.0,
    )


def _starts(own: np.ndarray, screen: Screen) -> list[np.ndarray]:
    """Outlines from which the fit may start: fans of several angles and parallelograms, each as narrow as may be."""
    top, left, bottom, right = screen
    rows = np.arange(int(top), int(bottom) + 1)
    part = own[int(top) : int(bottom) + 1]
    rows, part = rows[part.any(1)] - top, part[part.any(1)]
    begins, ends = part.argmax(1), part.shape[1] - 1 - part[:, ::-1].argmax(1)
    middle, length, starts = (left + right) / 2, bottom - top, []
    for spread, lean in START_SLOPES:
        axis = middle + lean * (rows - length / 2)
        half = np.quantile(np.maximum(ends - axis, axis - begins) - spread * rows, 0.98)
        leans = lean * length / 2
        starts.append(np.array([middle - leans, middle + leans, half, half + spread * length, top, bottom]))
    return starts
