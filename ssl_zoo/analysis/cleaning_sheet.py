"""A contact sheet of what cleaning does to scans: one row each, step by step, and the frames that it drops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy import ndimage

from ssl_zoo.analysis.style import INK, MUTED, new_figure, styled
from ssl_zoo.errors import UserError
from ssl_zoo.files import replacing
from ssl_zoo.scans.cleaning import CleaningSettings, ScanCleaning, look, reason_to_drop
from ssl_zoo.scans.reader import ScanReader, UnreadableScan, open_scan
from ssl_zoo.scans.table import Scans

STEPS = ("frame", "sector", "cropped, masked", "marks", "cleaned")
LOOKED_AT, CHECKED = 16, 64  # frames of a scan: for the look, and to find some that are dropped
DROPPED = 3  # columns of dropped frames
TILE = 240  # pixels of a side, at most
SIDE, GAP, LABEL = 1.5, 0.06, 0.17  # inches: a tile, between tiles, below a tile
NAMES = 1.1  # inches for the scans' names
OUTSIDE, EDGE, MARK = (0.55, 0.1, 0.1), (1.0, 0.85, 0.2), (1.0, 0.25, 0.2)
BRIGHTER = 0.6  # exponent of the sector's column, in which dark far fields are to be seen


@dataclass(frozen=True, eq=False)
class CleanedScan:
    """One row of the sheet. Images are float `[h, w, 3]` in 0..1: `steps` one for each of `STEPS`, and `dropped`
    frames, one for each reason, with words. `counts`: how many frames were dropped, by reason.
    """

    name: str
    steps: list[np.ndarray]
    dropped: list[tuple[str, np.ndarray]]
    note: str = ""
    counts: str = ""


def draw_cleaning_sheet(scans: Scans, settings: CleaningSettings, path: Path, *, most: int = 12) -> list[CleanedScan]:
    """Draw what cleaning finds in at most `most` scans, spread over the table, to a PNG file; returns its rows.

    Of each scan 16 frames are looked at, and 64 are checked for dropping; of each reason one frame is shown. A scan
    that cannot be read has a row without images. Raises UserError for impossible settings, and where no scan can be
    read.
    """
    settings.check()
    if most < 1:
        raise UserError(f"a contact sheet needs at least 1 scan, not {most}")
    chosen = np.unique(np.linspace(0, len(scans) - 1, min(most, len(scans))).round().astype(int))
    rows = []
    for _, entry in scans.table.iloc[chosen].iterrows():
        try:
            rows.append(cleaned_scan(str(entry["scan_id"]), open_scan(entry["path"]), settings))
        except UnreadableScan as error:
            rows.append(CleanedScan(str(entry["scan_id"]), [], [], f"cannot be read: {error}"))
    if not any(row.steps for row in rows):
        raise UserError(f"{scans.root}: no scan can be read ({rows[0].name} {rows[0].note})")
    draw_rows(rows, path)
    return rows


def cleaned_scan(name: str, reader: ScanReader, settings: CleaningSettings) -> CleanedScan:
    """What cleaning does to one scan."""
    spread = _spread(len(reader), LOOKED_AT)
    found = look(reader.read(spread, channels=3), settings)
    shown, dropped, reasons, previous = None, {}, [], None
    checked = _spread(len(reader), CHECKED)
    for index, frame in reader.frames(checked, channels=3):
        cleaned = found.clean(frame)
        reason = reason_to_drop(cleaned, previous, settings, screen=frame)
        if reason is None:
            previous = cleaned
            if shown is None or index <= len(reader) // 2:
                shown = frame
        else:
            reasons.append(reason)
            dropped.setdefault(reason, (f"{reason}, {reader.times[index]:.2f} s", _tile(frame)))
    shown = reader.read([len(reader) // 2], channels=3)[0] if shown is None else shown
    counts = ", ".join(f"{reasons.count(reason)} {reason}" for reason in dropped)
    note = found.note + (f"; left out: {found.reason}" if found.reason else "")
    return CleanedScan(name, steps_of(shown, found), list(dropped.values())[:DROPPED], note, counts)


def steps_of(frame: np.ndarray, found: ScanCleaning) -> list[np.ndarray]:
    """A frame, uint8 `[H, W, 3]`, at each of `STEPS`."""
    top, left, height, width = found.box
    sector = np.zeros(found.shape, bool)
    sector[top : top + height, left : left + width] = found.sector
    outlined = (frame / 255) ** BRIGHTER
    outlined[~sector] = 0.5 * outlined[~sector] + 0.5 * np.array(OUTSIDE)
    thick = max(1, max(found.shape) // 250)
    inner = ndimage.minimum_filter(sector.view(np.uint8), 2 * thick + 1, mode="constant").view(bool)
    outlined[sector & ~inner] = EDGE
    masked = frame[top : top + height, left : left + width] / 255
    if found.masked:
        masked[~found.sector] = 0
    marked = masked.copy()
    marked[found.overlays] = MARK
    return [_tile(image) for image in (frame / 255, outlined, masked, marked, found.clean(frame) / 255)]


def draw_rows(rows: list[CleanedScan], path: Path) -> None:
    """Write the sheet of some scans as a PNG file."""
    columns = len(STEPS) + max(len(row.dropped) for row in rows)
    width = NAMES + columns * (SIDE + GAP)
    height = 0.55 + len(rows) * (SIDE + GAP + LABEL)
    with styled():
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_xlim(0, width)
        axis.set_ylim(height, 0)
        axis.set_axis_off()
        axis.text(0.1, 0.12, "What cleaning does", va="top", fontsize=11, fontweight="bold", color=INK)
        titles = (*STEPS, "dropped") if columns > len(STEPS) else STEPS
        for column, title in enumerate(titles):
            axis.text(_left(column) + SIDE / 2, 0.5, title, ha="center", va="bottom", fontsize=8, color=INK)
        for number, row in enumerate(rows):
            _draw_row(axis, row, 0.55 + number * (SIDE + GAP + LABEL))
        with replacing(path) as part:
            figure.savefig(part, format="png", dpi=150, metadata={"Software": None})


def _draw_row(axis: Axes, row: CleanedScan, top: float) -> None:
    axis.text(NAMES - 0.08, top + SIDE / 2, _wrapped(row.name), ha="right", va="center", fontsize=7, color=INK)
    for column, image in enumerate(row.steps):
        _show(axis, image, _left(column), top)
    words = "; ".join(part for part in (row.note, f"dropped: {row.counts}" if row.counts else "") if part)
    axis.text(_left(0), top + SIDE + 0.02, words, va="top", fontsize=7, color=MUTED)
    for column, (reason, image) in enumerate(row.dropped, len(STEPS)):
        _show(axis, image, _left(column), top)
        axis.text(_left(column) + SIDE / 2, top + SIDE + 0.02, reason, ha="center", va="top", fontsize=7, color=MUTED)


def _show(axis: Axes, image: np.ndarray, left: float, top: float) -> None:
    """An image in the middle of its square, with its aspect ratio."""
    height, width = image.shape[:2]
    longest = max(height, width)
    down, across = SIDE * height / longest, SIDE * width / longest
    left, top = left + (SIDE - across) / 2, top + (SIDE - down) / 2
    axis.imshow(image, extent=(left, left + across, top + down, top), interpolation="antialiased", aspect="auto")


def _left(column: int) -> float:
    return NAMES + column * (SIDE + GAP)


def _tile(image: np.ndarray) -> np.ndarray:
    """A smaller image, float `[h, w, 3]` in 0..1: every n-th pixel, so that a sheet of many scans stays small."""
    image = image / 255 if image.dtype == np.uint8 else image
    step = max(1, max(image.shape[:2]) // TILE)
    return image[step // 2 :: step, step // 2 :: step].astype(np.float32)


def _spread(length: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(np.int64))


def _wrapped(name: str, letters: int = 16) -> str:
    name = name if len(name) <= 3 * letters else "…" + name[1 - 3 * letters :]
    return "\n".join(name[start : start + letters] for start in range(0, len(name), letters))
