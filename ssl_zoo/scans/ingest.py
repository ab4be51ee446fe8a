"""Decoding one scan after another in parallel processes: the frames that each plan asks for, cleaned and fitted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssl_zoo.scans.base import only_unreadable
from ssl_zoo.scans.cleaning import CleaningSettings, ScanCleaning, frame_hash, reason_to_drop
from ssl_zoo.scans.first_look import SMALL
from ssl_zoo.scans.parts import Ingested, frames_path, keep_card, overflow_path, slots
from ssl_zoo.scans.plans import Plan, recounted
from ssl_zoo.scans.reader import MiscountedScan, ScanReader, UnreadableScan, open_scan
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.scaling import Scaler, fit_box
from ssl_zoo.scans.sector_cut import look_over
from ssl_zoo.scans.store import count_levels
from ssl_zoo.scans.workers import Died, Mapper, in_process

BLOCK = 16  # frames that are written, and whose levels are counted, at a time


@dataclass(frozen=True)
class IngestSettings:
    """How frames come into the store; `cleaning` None: as they are, and scaled while they are decoded."""

    sampler: SamplerSettings
    size: int
    channels: int
    decoder: str = "pyav"
    cleaning: CleaningSettings | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a stored frame."""
        return (self.size, self.size) if self.channels == 1 else (self.size, self.size, 3)

    @property
    def frame_bytes(self) -> int:
        """The size of a stored frame."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Task:
    """The n-th plan, and where in the file of all pixels its slot begins."""

    number: int
    plan: Plan
    begin: int


def ingest(
    plans: list[Plan],
    folder: Path,
    mapper: Mapper = in_process,
    *,
    settings: IngestSettings,
    done: dict[int, Ingested] | None = None,
    progress: bool = True,
) -> Iterator[tuple[Plan, Ingested]]:
    """Decode what the plans ask for; yields each plan, in order, with its result.

    The pixels lie in the plan's slot of the file that `parts.finished` has made in `folder`, from the slot's beginning
    on; those of a scan with more frames than planned lie in a file of their own. Plans whose number is in `done` are
    not decoded again. Where the decoder disagrees with the plan's count of frames, the scan is counted by decoding and
    sampled anew, so a result's `indices` and `times` stand above the plan's.
    """
    done = done or {}
    begins = slots(plans, settings.frame_bytes)
    tasks = [Task(number, plan, begins[number]) for number, plan in enumerate(plans) if number not in done]
    fresh = iter(mapper(partial(_ingest, folder=folder, settings=settings), tasks, _lost))
    total = sum(len(plan.indices) for plan in plans)
    before = sum(len(plans[number].indices) for number in done)
    with tqdm(total=total, initial=before, desc="frames", unit="frame", disable=None if progress else True) as bar:
        for number, plan in enumerate(plans):
            if number in done:
                yield plan, done[number]
                continue
            result = next(fresh)
            bar.update(len(plan.indices))
            yield plan, result


def show_cleaned(reader: ScanReader, indices: np.ndarray, settings: IngestSettings) -> Iterator[tuple[int, np.ndarray]]:
    """The frames that cleaning keeps, cleaned and small: what a sampler that compares frames is to see of them."""
    cleaning = _look(reader, settings)
    box = fit_box(cleaning.box[3], cleaning.box[2], SMALL)
    return _images(reader, indices, cleaning, box, settings, Counter())


def _lost(task: Task, how: Died) -> Ingested:
    return Ingested(task.number, reason=str(how), again=how.killed)


def _ingest(task: Task, folder: Path, settings: IngestSettings) -> Ingested:
    """Decode one scan into its slot, and keep its card, unless a later run is to try it again."""
    plan = task.plan
    try:
        reader = plan.reader or open_scan(plan.path, decoder=settings.decoder, fps=plan.fps)
        try:
            result = _decode(task, reader, plan.indices, folder, settings)
        except MiscountedScan:
            reader = open_scan(plan.path, exact=True, fps=plan.fps)
            indices, _ = recounted(plan, reader, settings.sampler)
            result = _decode(task, reader, indices, folder, settings)
    except UnreadableScan as error:
        result = Ingested(task.number, reason=str(error), again=error.passing)
    if not result.again:
        keep_card(folder, result)
    return result


def _decode(task: Task, reader: ScanReader, indices: np.ndarray, folder: Path, settings: IngestSettings) -> Ingested:
    """Write the letterboxed frames of one scan, one after the other."""
    cleaning = _look(reader, settings) if settings.cleaning else None
    *_, height, width = cleaning.box if cleaning else (0, 0, reader.height, reader.width)
    fitted = fit_box(width, height, settings.size)
    kept, hashes, dropped = [], [], Counter()
    overflow = len(indices) > len(task.plan.indices)
    path, mode = (overflow_path(folder, task.number), "wb") if overflow else (frames_path(folder), "r+b")
    with open(path, mode, buffering=0) as target:
        target.seek(0 if overflow else task.begin)
        squares = _Squares(target, settings, *fitted)
        for index, image in _images(reader, indices, cleaning, fitted, settings, dropped):
            pixels = squares.add(image)
            kept.append(index)
            if settings.cleaning and settings.cleaning.duplicates == "store":
                hashes.append(int(frame_hash(pixels)))
        squares.flush()
    indices = np.array(kept, np.int64)
    spacing = task.plan.spacing if math.isfinite(task.plan.spacing) else reader.spacing
    return Ingested(
        task.number,
        indices,
        reader.times[indices],
        squares.histogram,
        hashes=tuple(hashes),
        dropped=dict(dropped),
        decoder=reader.decoder,
        spacing=math.nan if spacing is None else spacing * max(width, height) / settings.size,
        width=reader.width,
        height=reader.height,
        n_frames=len(reader),
        seconds=float(reader.times[-1]),
        note=cleaning.note if cleaning else "",
        overflow=overflow,
        reason="" if kept else f"has no frame left after cleaning ({in_words(dropped)})",
    )


def _look(reader: ScanReader, settings: IngestSettings) -> ScanCleaning:
    """What cleaning finds in the scan; UnreadableScan where it leaves the whole scan out."""
    assert settings.cleaning is not None
    found = look_over(reader, settings.cleaning)
    if found.reason:
        raise UnreadableScan(f"was left out: {found.reason}")
    return found


def _images(
    reader: ScanReader,
    indices: np.ndarray,
    cleaning: ScanCleaning | None,
    box: tuple[int, int],
    settings: IngestSettings,
    dropped: Counter[str],
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames scaled to `box`: while they are decoded or, with cleaning, after it; counts those it drops."""
    if cleaning is None or settings.cleaning is None:
        yield from reader.frames(indices, channels=settings.channels, box=box)
        return
    previous = None
    with only_unreadable():
        scale = Scaler(*box, settings.channels)
        for index, frame in reader.frames(indices, channels=settings.channels):
            cleaned = cleaning.clean(frame)
            if reason := reason_to_drop(cleaned, previous, settings.cleaning, screen=frame):
                dropped[reason] += 1
                continue
            previous = cleaned
            yield index, scale(cleaned)


def in_words(dropped: Mapping[str, int]) -> str:
    """`12 black, 3 frozen`: how many frames were dropped, by reason."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))


class _Squares:
    """Writes images of one size, each in the middle of a black square, and counts their levels.

    `histogram` int64 `[256]`: how many pixels of all squares so far have each level; complete after `flush`.
    """

    def __init__(self, target: FileIO, settings: IngestSettings, width: int, height: int) -> None:
        self.target = target
        self.block = np.zeros((BLOCK, *settings.shape), np.uint8)
        top, left = (settings.size - height) // 2, (settings.size - width) // 2
        self.inner = self.block[:, top : top + height, left : left + width]
        self.filled = 0
        self.histogram = np.zeros(256, np.int64)

    def add(self, image: np.ndarray) -> np.ndarray:
        """The image in its square, which holds until the next is added."""
        if self.filled == BLOCK:
            self.flush()
        self.inner[self.filled] = image
        self.filled += 1
        return self.block[self.filled - 1]

    def flush(self) -> None:
        """Write what has been added."""
        squares = self.block[: self.filled]
        self.histogram += count_levels(squares)
        pixels = squares.reshape(-1).data
        while len(pixels):  # a write may stop short of the end
            pixels = pixels[self.target.write(pixels) :]
        self.filled = 0
