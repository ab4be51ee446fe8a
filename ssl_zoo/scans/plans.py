"""Which frames each scan gives: one plan per scan, made before any of them is decoded into the store."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ssl_zoo import files
from ssl_zoo.scans.base import DEFAULT_FPS
from ssl_zoo.scans.candidates import Candidates, seeded_order
from ssl_zoo.scans.descriptors import DIMENSIONS
from ssl_zoo.scans.first_look import Look, Show, look_at, show_all
from ssl_zoo.scans.reader import ScanReader, UnreadableScan, open_scan
from ssl_zoo.scans.samplers import SAMPLERS, SamplerSettings, sample
from ssl_zoo.scans.skips import Skip, skip
from ssl_zoo.scans.table import Scans
from ssl_zoo.scans.workers import Died, Mapper, in_process


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
    again: bool = False  # whether it may be readable another time
    fps: float = DEFAULT_FPS  # of a scan that does not tell
    spacing: float = float("nan")  # millimetres per pixel, where the table says so


def make_plans(
    scans: Scans,
    sampler: SamplerSettings,
    mapper: Mapper = in_process,
    *,
    decoder: str = "pyav",
    show: Show = show_all,
    folder: Path | None = None,
    progress: bool = True,
) -> tuple[list[Plan], list[Skip]]:
    """The frames to take from each scan that gives any, in the order of the table; and the unreadable scans with their
    reasons.

    With `sampler.scans`, those are the first so many readable scans in the seed's order, and no others are opened. A
    sampler that compares descriptors has every scan looked at first, as `show` shows it; their descriptors, a few
    hundred bytes each, lie in a temporary file. What has been looked at is kept in `folder`, where there is one, so
    that the work goes on there after it was stopped.
    """
    rows = unplanned(scans)
    wanted = len(rows) if sampler.scans is None else min(sampler.scans, len(rows))
    order = np.arange(len(rows))
    if sampler.scans is not None:
        order = seeded_order([plan.scan_id for plan in rows], sampler.seed)
    looks = SAMPLERS[sampler.sampler].looks
    read = partial(_open, sampler=sampler, decoder=decoder, show=show if looks else None, folder=folder)
    opened: dict[int, Plan] = {}
    seen: list[np.ndarray] = []
    skipped: list[Skip] = []
    tried, start = 0, 0
    with tempfile.TemporaryFile(dir=folder) as descriptors:
        with tqdm(total=wanted, desc="scans", unit="scan", disable=None if progress else True) as bar:
            while len(opened) < wanted and tried < len(rows):
                batch = order[tried : tried + wanted - len(opened)].tolist()
                tried += len(batch)
                for number, (plan, look) in zip(batch, mapper(read, [rows[n] for n in batch], _lost), strict=True):
                    bar.update(sampler.scans is None or not plan.reason)  # another scan stands in for a lost one
                    if plan.reason:
                        skipped.append(skip(plan.scan, plan.reason, plan.again))
                        continue
                    opened[number] = plan
                    if look is not None:
                        seen.append(start + look.frames)
                        descriptors.write(look.descriptors.tobytes())
                        start += len(plan.times)
        candidates = Candidates.of([plan.scan_id for plan in opened.values()], [p.times for p in opened.values()])
        if looks and opened:
            descriptors.flush()
            shape = (sum(map(len, seen)), DIMENSIONS)
            mapped = np.memmap(descriptors, np.int8, "r", shape=shape)
            candidates = dataclasses.replace(candidates, seen=np.concatenate(seen), descriptors=mapped)
        kept = list(zip(opened, _chosen(list(opened.values()), candidates, sampler), strict=True)) if opened else []
    return [plan for _, plan in sorted(kept, key=lambda entry: entry[0]) if len(plan.indices)], skipped


def unplanned(scans: Scans) -> list[Plan]:
    """A plan without frames for each scan, in the order of the table."""
    nothing = np.empty(0, np.int64)
    columns = (scans.table[name] for name in ("scan", "path", "scan_id", "patient_id", "fps", "spacing_mm"))
    return [
        Plan(scan, path, scan_id, patient_id, indices=nothing, times=nothing, fps=fps, spacing=spacing)
        for scan, path, scan_id, patient_id, fps, spacing in zip(*columns, strict=True)
    ]


def recounted(plan: Plan, reader: ScanReader, sampler: SamplerSettings) -> tuple[np.ndarray, np.ndarray]:
    """The frames to take, as (indices, times), from a scan that turns out to have others than the plan was made for.

    A sampler that goes by the scan's own times samples anew. The share of a budget for the whole store, and the choice
    among descriptors, cannot be made again for one scan: then as many frames as planned are taken by `uniform`, unless
    the planned ones are all there.
    """
    looks = SAMPLERS[sampler.sampler].looks
    if looks and np.isin(plan.times, reader.times).all():  # counted rightly when it was looked at
        return np.searchsorted(reader.times, plan.times), plan.times
    alone = dataclasses.replace(sampler, scans=None)
    if looks or sampler.frames is not None:
        count = max(1, len(plan.indices))
        length = min(sampler.clip_length, count)
        alone = dataclasses.replace(alone, sampler="uniform", per_scan=count, clip_length=length, frames=None)
    indices = sample(Candidates.of([plan.scan_id], [reader.times]), alone)
    return indices, reader.times[indices]


def _open(
    plan: Plan, sampler: SamplerSettings, decoder: str, show: Show | None, folder: Path | None
) -> tuple[Plan, Look | None]:
    """The plan with its reader and the times of all frames of the scan; and, with `show`, the first look at it."""
    look = None
    try:
        reader = open_scan(plan.path, decoder=decoder, fps=plan.fps)
        if show is not None:
            kept = folder / f"look-{files.fingerprint(plan.scan)}.npz" if folder else None
            reader, look = look_at(reader, sampler, show, kept, fps=plan.fps)
    except UnreadableScan as error:
        return dataclasses.replace(plan, reason=str(error), again=error.passing), None
    return dataclasses.replace(plan, times=reader.times, reader=reader), look


def _lost(plan: Plan, how: Died) -> tuple[Plan, None]:
    return dataclasses.replace(plan, reason=str(how), again=how.killed), None


def _chosen(plans: list[Plan], candidates: Candidates, sampler: SamplerSettings) -> Iterator[Plan]:
    """The plans with the frames that the sampler keeps of each."""
    rows = sample(candidates, sampler)
    bounds = np.searchsorted(rows, candidates.starts)
    for number, plan in enumerate(plans):
        indices = rows[bounds[number] : bounds[number + 1]] - candidates.starts[number]
        yield dataclasses.replace(plan, indices=indices, times=plan.times[indices])
