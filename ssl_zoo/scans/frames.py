"""The frame store: chosen frames of all scans, decoded once, of one size, in one memory-mapped file.

A store is a folder with `frames.npy` (uint8 `[N, S, S]` grey or `[N, S, S, 3]`), `index.parquet` (`row, scan_id,
patient_id, frame, time_s`) and `store.json`. It is written beside its place and appears there whole.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo import files
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.scans.ingest import Ingested, Plan, ingest, make_plans, processes
from ssl_zoo.scans.reader import DECODERS
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.table import Scans

VERSION = 1
FRAMES, INDEX, CARD = "frames.npy", "index.parquet", "store.json"
HEADER = 128  # bytes before the pixels in frames.npy; fixed, so that it can be written when N is known
PROBE = 1 << 16  # bytes at either end of a file that stand for its contents


@dataclass(frozen=True, eq=False)
class FrameStore:
    """An opened store. `frames` is a read-only memory map, `index` has one row per frame, `meta` is `store.json`."""

    path: Path
    frames: np.ndarray
    index: pd.DataFrame
    meta: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> FrameStore:
        """Open the store in folder `path`; UserError where there is none or its parts do not fit together."""
        path = Path(path)
        if not (path / CARD).is_file():
            raise UserError(f"{path}: no frame store here (it has no {CARD})")
        meta = files.read_json(path / CARD)
        if meta.get("version") != VERSION:
            raise UserError(f"{path / CARD}: store version {meta.get('version')}, this program reads version {VERSION}")
        try:
            frames = np.load(path / FRAMES, mmap_mode="r")
            index = pd.read_parquet(path / INDEX)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: broken frame store ({error}); delete the folder and build it again") from None
        if not len(frames) == len(index) == meta["n_frames"]:
            raise UserError(
                f"{path}: broken frame store (its parts differ in length); delete the folder and build it again"
            )
        return cls(path, frames, index, meta)

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """A copy of the frames in `rows` (int `[B]`): uint8 `[B, S, S]` or `[B, S, S, 3]`."""
        return np.asarray(self.frames[rows])

    @property
    def fingerprint(self) -> str:
        """Changes when scans, sampler, size, channels or decoder do."""
        return self.meta["fingerprint"]

    @property
    def mean(self) -> float:
        """Mean of all pixels, scaled to 0..1."""
        return self.meta["mean"]

    @property
    def std(self) -> float:
        """Standard deviation of all pixels, scaled to 0..1."""
        return self.meta["std"]

    @property
    def patients(self) -> list[str]:
        """The patients who have frames in the store, sorted."""
        return self.meta["patients"]

    @property
    def skipped(self) -> list[dict[str, str]]:
        """Scans that could not be decoded: `{"scan": path, "reason": why}`."""
        return self.meta["skipped"]


def build_store(
    scans: Scans,
    out: Path,
    *,
    sampler: SamplerSettings,
    size: int,
    channels: int = 1,
    workers: int | None = None,
    decoder: str = "pyav",
    progress: bool = True,
) -> FrameStore:
    """Decode the frames that `sampler` chooses, fit each into `size` x `size` pixels, and open the resulting store.

    Aspect ratio is kept; what is left over is black. Scans are read in parallel by `workers` processes (None: one per
    available core), each holding one frame at a time. A scan that cannot be decoded is skipped and listed with its
    reason (`store.skipped`). `decoder` "decord" leaves to decord the files that it reads rightly, and the others to
    PyAV; `decoded_by` in store.json counts the scans of each.

    A store that was already built from the same scans and settings is opened as it is; any other one at this place is
    replaced, and until then stays whole.

    Raises UserError for impossible settings, a disk too small for the frames, a folder that is there and is no
    store, or where no scan can be decoded.
    """
    out = Path(out)
    sampler.check()
    if channels not in (1, 3):
        raise UserError(f"frames.channels is {channels}; it must be 1 (grey) or 3 (colour)")
    if size < 8:
        raise UserError(f"frames.size is {size}; it must be at least 8 pixels")
    if decoder not in DECODERS:
        raise unknown("frames.decoder", decoder, DECODERS)
    source = source_fingerprint(scans)
    wanted = {
        "version": VERSION,
        "sampler": dataclasses.asdict(sampler),
        "size": size,
        "channels": channels,
        "decoder": decoder,
        "source": source,
    }
    fingerprint = files.fingerprint(wanted)
    if out.exists():
        if not (out / CARD).is_file() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out}: exists and is no frame store; choose another place or remove it")
        if (out / CARD).is_file() and files.read_json(out / CARD).get("fingerprint") == fingerprint:
            return FrameStore.open(out)

    shape = (size, size) if channels == 1 else (size, size, 3)
    with processes(workers, len(scans)) as mapper:
        plans, skipped = make_plans(scans, sampler, mapper, decoder=decoder, progress=progress)
        _check_any(plans, skipped, scans)
        out.parent.mkdir(parents=True, exist_ok=True)
        check_disk(out.parent, HEADER + sum(len(plan.indices) for plan in plans) * math.prod(shape))
        with files.replacing(out) as part:
            part.mkdir()
            results = ingest(plans, part, mapper, sampler=sampler, size=size, channels=channels, progress=progress)
            kept, histogram, decoders = _collect(results, part / FRAMES, shape, skipped)
            _check_any(kept, skipped, scans)
            _index(kept).to_parquet(part / INDEX, index=False)
            mean, std = _moments(histogram)
            order = {scan: place for place, scan in enumerate(scans.table["scan"])}
            card = {
                **wanted,
                "n_frames": sum(len(plan.indices) for plan in kept),
                "n_scans": len(kept),
                "decoded_by": dict(sorted(decoders.items())),
                "patients": sorted({plan.patient_id for plan in kept}),
                "mean": mean,
                "std": std,
                "skipped": sorted(skipped, key=lambda entry: order[entry["scan"]]),
                "fingerprint": fingerprint,
            }
            files.write_json(part / CARD, card)
    return FrameStore.open(out)


def _collect(
    results: Iterable[tuple[Plan, Ingested]], target: Path, shape: tuple[int, ...], skipped: list[dict[str, str]]
) -> tuple[list[Plan], np.ndarray, Counter[str]]:
    """Append the scans' pixels to one .npy file.

    Returns what was kept, how many pixels have each level (int64 `[256]`), and how many scans each decoder read.
    Scans that turned out to be unreadable are added to `skipped`.
    """
    kept: list[Plan] = []
    histogram = np.zeros(256, np.int64)
    decoders: Counter[str] = Counter()
    with open(target, "wb") as handle:
        handle.write(bytes(HEADER))
        for plan, result in results:
            if result.reason:
                skipped.append({"scan": plan.scan, "reason": result.reason})
                continue
            result.move_into(handle)
            histogram += result.histogram
            decoders[result.decoder] += 1
            kept.append(dataclasses.replace(plan, indices=result.indices, times=result.times))
        handle.seek(0)
        handle.write(_npy_header((sum(len(plan.indices) for plan in kept), *shape)))
    return kept, histogram, decoders


def source_fingerprint(scans: Scans) -> str:
    """16 hex digits of what the scans are: the table, and each file's size, first and last 64 KiB.

    Copies of the files elsewhere, or with other dates, give the same digits.
    """
    rows = []
    table = scans.table
    columns = (table["scan"], table["path"], table["scan_id"], table["patient_id"])
    for scan, path, scan_id, patient_id in zip(*columns, strict=True):
        with open(path, "rb") as handle:
            n_bytes = handle.seek(0, 2)
            handle.seek(0)
            ends = handle.read(PROBE)
            handle.seek(max(0, n_bytes - PROBE))
            ends += handle.read(PROBE)
        rows.append([scan, scan_id, patient_id, n_bytes, files.fingerprint(ends.hex())])
    return files.fingerprint(rows)


def check_disk(folder: Path, n_bytes: int) -> None:
    """UserError where `folder`'s disk has less than `n_bytes` free, naming both."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise UserError(
            f"{folder}: the frames need {n_bytes / 1e6:,.1f} MB and the disk has {free / 1e6:,.1f} MB free; "
            "keep fewer frames, a smaller size, or choose another disk"
        )


def _check_any(plans: list[Plan], skipped: list[dict[str, str]], scans: Scans) -> None:
    if not plans:
        first = skipped[0]
        raise UserError(
            f"{scans.root}: none of the {len(skipped)} scans can be decoded; '{first['scan']}' {first['reason']}"
        )


def _index(plans: list[Plan]) -> pd.DataFrame:
    lengths = [len(plan.indices) for plan in plans]
    return pd.DataFrame(
        {
            "row": np.arange(sum(lengths)),
            "scan_id": np.repeat(np.array([plan.scan_id for plan in plans], object), lengths),
            "patient_id": np.repeat(np.array([plan.patient_id for plan in plans], object), lengths),
            "frame": np.concatenate([plan.indices for plan in plans]),
            "time_s": np.concatenate([plan.times for plan in plans]),
        }
    )


def _moments(histogram: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, scaled to 0..1, of pixels counted by level (int64 `[256]`)."""
    levels = np.arange(256) / 255
    share = histogram / histogram.sum()
    mean = float((share * levels).sum())
    return mean, float(np.sqrt((share * (levels - mean) ** 2).sum()))


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """The .npy header (format 1.0) of a uint8 array in C order, padded to `HEADER` bytes."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode("latin1")
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11) + b"\n"
