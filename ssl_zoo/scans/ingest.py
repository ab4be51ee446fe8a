"""Decoding many scans in parallel processes: first which frames (a plan per scan), then the frames themselves."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from ssl_zoo.errors import UserError
from ssl_zoo.scans.reader import MiscountedScan, ScanReader, UnreadableScan, open_scan
from ssl_zoo.scans.samplers import SamplerSettings, sample
from ssl_zoo.scans.table import Scans

Mapper = Callable[[Callable[[Any], Any], list[Any]], Iterator[Any]]  # as the built-in `map`


@dataclass(frozen=True, eq=False)
class Plan:
    """Which frames to take from one scan: ascending `indices` int64 `[n]`, at `times` float64 `[n]` in seconds.

    The `reader` of a readable scan goes along, so that its packets are listed only once (16 bytes for each frame).
    """

    scan: str
    path: Path
    scan_id: str
    patient_id: str
    indices: np.ndarray
    times: np.ndarray
    reader: ScanReader | None = None
    reason: str = ""  # why the scan cannot be read


@dataclass(frozen=True, eq=False)
class Ingested:
    """The frames of one scan, in the raw file `path`; or, with a `reason`, none."""

    path: Path
    indices: np.ndarray
    times: np.ndarray
    histogram: np.ndarray  # int64 [256], pixels by level
    decoder: str = ""  # the one that gave the frames
    reason: str = ""

    def move_into(self, target: IO[bytes]) -> None:
        """Append the pixels to an open file and delete their own."""
        with open(self.path, "rb") as raw:
            shutil.copyfileobj(raw, target, 1 << 22)
        self.path.unlink()


def make_plans(
    scans: Scans, sampler: SamplerSettings, mapper: Mapper = map, *, decoder: str = "pyav", progress: bool = True
) -> tuple[list[Plan], list[dict[str, str]]]:
    """The frames to take from each readable scan, and the unreadable scans with their reasons."""
    table, nothing = scans.table, np.empty(0, np.int64)
    columns = (table["scan"], table["path"], table["scan_id"], table["patient_id"])
    rows = [Plan(*row, indices=nothing, times=nothing) for row in zip(*columns, strict=True)]
    plans, skipped = [], []
    with tqdm(total=len(rows), desc="scans", unit="scan", disable=None if progress else True) as bar:
        for plan in mapper(partial(_plan, sampler=sampler, decoder=decoder), rows):
            bar.update()
            if plan.reason:
                skipped.append({"scan": plan.scan, "reason": plan.reason})
            else:
                plans.append(plan)
    return plans, skipped


def ingest(
    plans: list[Plan],
    folder: Path,
    mapper: Mapper = map,
    *,
    sampler: SamplerSettings,
    size: int,
    channels: int,
    progress: bool = True,
) -> Iterator[tuple[Plan, Ingested]]:
    """Decode what the plans ask for; yields each plan, in order, with its result in a raw file in `folder`.

    Where the decoder disagrees with the plan's count of frames, the scan is counted by decoding and sampled anew, so
    a result's `indices` and `times` stand above the plan's.
    """
    tasks = [(plan, folder / f"scan-{number}.raw") for number, plan in enumerate(plans)]
    total = sum(len(plan.indices) for plan in plans)
    with tqdm(total=total, desc="frames", unit="frame", disable=None if progress else True) as bar:
        decode = partial(_ingest, size=size, channels=channels, sampler=sampler)
        for plan, result in zip(plans, mapper(decode, tasks), strict=True):
            bar.update(len(plan.indices))
            yield plan, result


@contextlib.contextmanager
def processes(workers: int | None, n_tasks: int) -> Iterator[Mapper]:
    """A `map` that keeps order and spreads the work over fresh processes (None: one per available core)."""
    workers = min(workers or available_cores(), n_tasks)
    if workers <= 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield partial(pool.map, chunksize=max(1, min(8, n_tasks // (4 * workers))))
    except BrokenProcessPool:
        raise UserError(
            "a process that read scans died (out of memory, or a file that crashes the decoder); "
            "read with one worker to see at which scan"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fit_box(width: int, height: int, size: int) -> tuple[int, int]:
    """The largest (width, height) of the same aspect ratio, at least 1 pixel each, that fits a `size` square."""
    longest = max(width, height)
    return max(1, round(size * width / longest)), max(1, round(size * height / longest))


def _plan(plan: Plan, sampler: SamplerSettings, decoder: str) -> Plan:
    try:
        reader = open_scan(plan.path, decoder=decoder)
        indices, times = _choose(reader, plan.scan_id, sampler)
    except UnreadableScan as error:
        return dataclasses.replace(plan, reason=str(error))
    return dataclasses.replace(plan, indices=indices, times=times, reader=reader)


def _choose(reader: ScanReader, scan_id: str, sampler: SamplerSettings) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([sampler.seed, zlib.crc32(scan_id.encode())])  # the scan's own draw, in any order
    indices = sample(reader.times, sampler, rng)
    return indices, reader.times[indices]


def _ingest(task: tuple[Plan, Path], size: int, channels: int, sampler: SamplerSettings) -> Ingested:
    plan, path = task
    indices, times, reader = plan.indices, plan.times, plan.reader
    assert reader is not None, f"{plan.scan} has no reader"  # unreadable scans never come here
    try:
        try:
            histogram = _decode_into(path, reader, indices, size, channels)
        except MiscountedScan:
            reader = open_scan(plan.path, exact=True)
            indices, times = _choose(reader, plan.scan_id, sampler)
            histogram = _decode_into(path, reader, indices, size, channels)
    except UnreadableScan as error:
        path.unlink(missing_ok=True)
        return Ingested(path, indices, times, np.zeros(256, np.int64), reason=str(error))
    return Ingested(path, indices, times, histogram, reader.decoder)


def _decode_into(path: Path, reader: ScanReader, indices: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Write the letterboxed frames to `path`, one after the other; returns how many pixels have each level."""
    width, height = fit_box(reader.width, reader.height, size)
    top, left = (size - height) // 2, (size - width) // 2
    square = np.zeros((size, size) if channels == 1 else (size, size, 3), np.uint8)  # the border stays black
    histogram = np.zeros(256, np.int64)
    with open(path, "wb") as raw:
        for _, image in reader.frames(indices, channels=channels, box=(width, height)):
            square[top : top + height, left : left + width] = image
            histogram += np.bincount(square.ravel(), minlength=256)
            raw.write(square.data)
    return histogram
