"""A contact sheet of what cleaning does to scans: one row each, step by step, and the frames that it drops."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from scipy import ndimage

from ssl_zoo.analysis.style import INK, MUTED, new_figure, styled
from ssl_zoo.errors import UserError
from ssl_zoo.files import replacing
from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.cleaning import CleaningSettings, ScanCleaning, reason_to_drop
from ssl_zoo.scans.ingest import IngestSettings, in_words
from ssl_zoo.scans.reader import MiscountedScan, ScanReader, UnreadableScan, open_scan
from ssl_zoo.scans.samplers import SAMPLERS, SamplerSettings, sample
from ssl_zoo.scans.samplers.places import places_of_scan
from ssl_zoo.scans.scaling import Scaler, fit_box
from ssl_zoo.scans.sector_cut import look_over
from ssl_zoo.scans.table import Scans

STEPS = ("frame", "sector", "cropped, masked", "marks", "cleaned", "as stored")
MOST_JUDGED, RUN = 256, 16  # frames of a scan, and how many neighbours of a longer one are judged in a row
NOT_SHOWN = (
    f"Judged are the frames that ingest would read, at most {MOST_JUDGED} of a scan. "
    "Not shown: near duplicates of frames of other scans (cleaning.duplicates=store)."
)
DROPPED = 3  # columns of dropped frames
TILE = 240  # pixels of a side, at most
SIDE, GAP, LABEL = 1.5, 0.06, 0.17  # inches: a tile, between tiles, below a tile
NAMES = 1.1  # inches for the scans' names
TOP = 0.7  # inches above the first row
OUTSIDE, EDGE, MARK = (0.55, 0.1, 0.1), (1.0, 0.85, 0.2), (1.0, 0.25, 0.2)
BRIGHTER = 0.6  # exponent of the sector's column, in which dark far fields are to be seen


@dataclass(frozen=True, eq=False)
class CleanedScan:
    """One row of the sheet. Images are float `[h, w, 3]` in 0..1: `steps` one for each of `STEPS`, and `dropped`
    frames, one for each reason, with words. `counts`: how many of the `judged` frames were dropped, by reason.
    """

    name: str
    steps: list[np.ndarray]
    dropped: list[tuple[str, np.ndarray]]
    note: str = ""
    counts: str = ""
    judged: int = 0

    @property
    def words(self) -> str:
        """What is to be said about the scan; empty where nothing is."""
        dropped = f"dropped {self.counts} of {self.judged} frames" if self.counts else ""
        return "; ".join(filter(None, (self.note, dropped)))


def draw_cleaning_sheet(scans: Scans, settings: IngestSettings, path: Path, *, most: int = 12) -> list[CleanedScan]:
    """Draw what ingest with cleaning does to at most `most` scans, spread over the table, to a PNG; returns its rows.

    Of each scan 16 frames are looked at, and those that ingest would read are judged (see `frames_to_judge`); of each
    reason to drop some, one frame is shown. A scan that cannot be read has a row without images. Raises UserError for
    impossible settings, and where no scan can be read.
    """
    cleaning = settings.cleaning or CleaningSettings()
    cleaning.check()
    settings.sampler.check()
    if most < 1:
        raise UserError(f"a contact sheet needs at least 1 scan, not {most}")
    settings = dataclasses.replace(settings, cleaning=cleaning, sampler=_of_each_scan(settings.sampler, len(scans)))
    chosen = np.unique(np.linspace(0, len(scans) - 1, min(most, len(scans))).round().astype(int))
    columns = (scans.table[name].iloc[chosen] for name in ("scan_id", "path", "fps"))
    rows = [_row(name, path, fps, settings) for name, path, fps in zip(*columns, strict=True)]
    if not any(row.steps for row in rows):
        raise UserError(f"{scans.root}: no scan can be read ({rows[0].name} {rows[0].note})")
    draw_rows(rows, path)
    return rows


def _row(name: str, path: Path, fps: float, settings: IngestSettings) -> CleanedScan:
    try:
        try:
            return cleaned_scan(name, open_scan(path, decoder=settings.decoder, fps=fps), settings)
        except MiscountedScan:
            return cleaned_scan(name, open_scan(path, exact=True, fps=fps), settings)
    except UnreadableScan as error:
        return CleanedScan(name, [], [], f"cannot be read: {error}")


def cleaned_scan(name: str, reader: ScanReader, settings: IngestSettings) -> CleanedScan:
    """What ingest with cleaning does to one scan; `settings.sampler` has a budget for each scan."""
    cleaning = settings.cleaning
    assert cleaning is not None
    found = look_over(reader, cleaning)
    judged = frames_to_judge(name, reader.times, settings.sampler)
    middle, previous, counts = None, None, Counter()
    dropped: dict[str, int] = {}  # the first frame of each reason
    for index, frame in reader.frames(judged, channels=settings.channels):
        cleaned = found.clean(frame)
        reason = reason_to_drop(cleaned, previous, cleaning, screen=frame)
        if reason is None:
            previous = cleaned
            middle = index if middle is None or index <= len(reader) // 2 else middle
        else:
            counts[reason] += 1
            dropped.setdefault(reason, index)
    shown = dict(list(dropped.items())[:DROPPED])
    frame, *others = reader.read([len(reader) // 2 if middle is None else middle, *shown.values()], channels=3)
    words = [f"{reason}, {reader.times[index]:.2f} s" for reason, index in shown.items()]
    return CleanedScan(
        name,
        steps_of(frame, found, settings),
        list(zip(words, map(_tile, others), strict=True)),
        found.note + (f"; left out: {found.reason}" if found.reason else ""),
        in_words(counts),
        len(judged),
    )


def frames_to_judge(name: str, times: np.ndarray, sampler: SamplerSettings) -> np.ndarray:
    """The frames of a scan that ingest would decode and judge: ascending indices, int64 `[n]`.

    Those that the sampler takes, or those that it looks at before it does. Of more than `MOST_JUDGED` there are as
    many, in runs of `RUN` that follow each other and are spread over the scan: what is frozen or a near duplicate
    shows beside its neighbour only.
    """
    if SAMPLERS[sampler.sampler].looks:
        judged = places_of_scan(times, sampler).faces
    else:
        judged = sample(Candidates.of([name], [times]), sampler)
    if len(judged) <= MOST_JUDGED:
        return judged
    starts = np.linspace(0, len(judged) - RUN, MOST_JUDGED // RUN).round().astype(np.int64)
    return judged[np.unique(starts[:, None] + np.arange(RUN))]


def _of_each_scan(sampler: SamplerSettings, n_scans: int) -> SamplerSettings:
    """A budget for the whole store, divided evenly: the other scans, of which some may be short, are not opened."""
    if sampler.frames is None:
        return sampler
    share = max(sampler.clip_length, sampler.frames // min(n_scans, sampler.scans or n_scans))
    return dataclasses.replace(sampler, frames=None, per_scan=share)


def steps_of(frame: np.ndarray, found: ScanCleaning, settings: IngestSettings) -> list[np.ndarray]:
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
    cleaned = found.clean(frame)
    shown = (frame, outlined, masked, marked, cleaned, _as_stored(cleaned, settings))
    return [_tile(image) for image in shown]


def _as_stored(cleaned: np.ndarray, settings: IngestSettings) -> np.ndarray:
    """A cleaned frame in its square, uint8 `[S, S, 3]`."""
    across, down = fit_box(cleaned.shape[1], cleaned.shape[0], settings.size)
    image = Scaler(across, down, settings.channels)(cleaned)
    square = np.zeros((settings.size, settings.size, 3), np.uint8)
    top, left = (settings.size - down) // 2, (settings.size - across) // 2
    square[top : top + down, left : left + across] = image if image.ndim == 3 else image[..., None]
    return square


def draw_rows(rows: list[CleanedScan], path: Path) -> None:
    """Write the sheet of some scans as a PNG file."""
    columns = len(STEPS) + max(len(row.dropped) for row in rows)
    width = NAMES + columns * (SIDE + GAP)
    height = TOP + len(rows) * (SIDE + GAP + LABEL)
    with styled():
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_xlim(0, width)
        axis.set_ylim(height, 0)
        axis.set_axis_off()
        axis.text(0.1, 0.12, "What cleaning does", va="top", fontsize=11, fontweight="bold", color=INK)
        axis.text(0.1, 0.36, NOT_SHOWN, va="top", fontsize=7, color=MUTED)
        titles = (*STEPS, "dropped") if columns > len(STEPS) else STEPS
        for column, title in enumerate(titles):
            axis.text(_left(column) + SIDE / 2, TOP - 0.05, title, ha="center", va="bottom", fontsize=8, color=INK)
        for number, row in enumerate(rows):
            _draw_row(axis, row, TOP + number * (SIDE + GAP + LABEL))
        with replacing(path) as part:
            figure.savefig(part, format="png", dpi=150, metadata={"Software": None})


def _draw_row(axis: Axes, row: CleanedScan, top: float) -> None:
    axis.text(NAMES - 0.08, top + SIDE / 2, _wrapped(row.name), ha="right", va="center", fontsize=7, color=INK)
    for column, image in enumerate(row.steps):
        _show(axis, image, _left(column), top)
    axis.text(_left(0), top + SIDE + 0.02, row.words, va="top", fontsize=7, color=MUTED)
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


def _wrapped(name: str, letters: int = 16) -> str:
    name = name if len(name) <= 3 * letters else "…" + name[1 - 3 * letters :]
    return "\n".join(name[start : start + letters] for start in range(0, len(name), letters))
