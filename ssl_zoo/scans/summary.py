"""What a frame store says about itself: its index, what became of each scan, and the sums of store.json."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.scans.cleaning import CleaningSettings, near_duplicate_rows
from ssl_zoo.scans.ingest import in_words
from ssl_zoo.scans.parts import Ingested, pack
from ssl_zoo.scans.plans import Plan
from ssl_zoo.scans.skips import Skip
from ssl_zoo.scans.store import HEADER, moments
from ssl_zoo.scans.table import Scans

Scanned = list[tuple[Plan, Ingested]]  # what was planned for each scan, and what became of it
REPEATED = "near duplicate in the store"


def index(kept: Scanned) -> pd.DataFrame:
    """One row for each frame, in the order of the pixels."""
    lengths = [len(result.indices) for _, result in kept]
    return pd.DataFrame(
        {
            "row": np.arange(sum(lengths)),
            "scan_id": np.repeat(np.array([plan.scan_id for plan, _ in kept], object), lengths),
            "patient_id": np.repeat(np.array([plan.patient_id for plan, _ in kept], object), lengths),
            "frame": np.concatenate([result.indices for _, result in kept]),
            "time_s": np.concatenate([result.times for _, result in kept]),
            "spacing_mm": np.repeat([result.spacing for _, result in kept], lengths),
        }
    )


def report(ended: Scanned, skipped: list[Skip], scans: Scans) -> pd.DataFrame:
    """One row for each scan, in the order of the table: whether it was read or why not, and what was found in it.

    Columns: `scan, scan_id, patient_id, outcome` (read, skipped, not chosen)`, reason, frames` (of the scan)`, kept,
    dropped` (by reason, in words)`, width, height, seconds, decoder, spacing_mm` (of a stored pixel)`, note`.
    """
    reasons = {entry["scan"]: entry["reason"] for entry in skipped}
    results = {plan.scan: result for plan, result in ended}
    rows = []
    for scan, scan_id, patient_id in scans.table[["scan", "scan_id", "patient_id"]].itertuples(index=False):
        result = results.get(scan, Ingested(-1))
        rows.append(
            {
                "scan": scan,
                "scan_id": scan_id,
                "patient_id": patient_id,
                "outcome": "skipped" if scan in reasons else "read" if scan in results else "not chosen",
                "reason": reasons.get(scan, ""),
                "frames": result.n_frames,
                "kept": len(result.indices),
                "dropped": in_words(result.dropped),
                "width": result.width,
                "height": result.height,
                "seconds": round(result.seconds, 3),
                "decoder": result.decoder,
                "spacing_mm": result.spacing,
                "note": result.note,
            }
        )
    return pd.DataFrame(rows)


def summary(kept: Scanned, ended: Scanned, skipped: list[Skip]) -> dict[str, Any]:
    """The part of store.json that tells what was found."""
    results = [result for _, result in kept]
    mean, std = moments(sum((result.histogram for result in results), np.zeros(256, np.int64)))
    dropped = sum((Counter(result.dropped) for _, result in ended), Counter())
    return {
        "n_frames": sum(len(result.indices) for result in results),
        "n_scans": len(results),
        "decoded_by": dict(sorted(Counter(result.decoder for result in results).items())),
        "patients": sorted({plan.patient_id for plan, _ in kept}),
        "mean": mean,
        "std": std,
        "skipped": skipped,
        "dropped": dict(sorted(dropped.items())),
    }


def without_duplicates(ended: Scanned, frames: Path, shape: tuple[int, ...], cleaning: CleaningSettings) -> Scanned:
    """Take near duplicates of earlier frames, of any scan, out of the file of pixels and out of the results.

    A scan that is left without frames gets a reason.
    """
    hashes = np.array([value for _, result in ended for value in result.hashes], np.uint64)
    if not len(hashes):
        return ended
    rows = np.memmap(frames, np.uint8, "r", HEADER, (len(hashes), *shape))
    repeated = near_duplicate_rows(
        hashes, cleaning.max_distance, thumbnails=rows, min_correlation=cleaning.min_correlation
    )
    left, start, pieces = [], 0, []
    for plan, result in ended:
        stop = start + len(result.indices)
        stays = ~repeated[start:stop]
        left.append((plan, _thinned(result, stays, rows[start:stop][~stays])))
        pieces += [(frames, HEADER + int(row) * rows[0].size, rows[0].size) for row in start + np.flatnonzero(stays)]
        start = stop
    del rows
    pack(frames, pieces)
    return left


def _thinned(result: Ingested, stays: np.ndarray, gone: np.ndarray) -> Ingested:
    """A scan's result without some of its frames: bool `[n]` says which stay, `gone` are the pixels of the others."""
    if stays.all():
        return result
    dropped = result.dropped | {REPEATED: len(gone)}
    return dataclasses.replace(
        result,
        indices=result.indices[stays],
        times=result.times[stays],
        histogram=result.histogram - np.bincount(gone.ravel(), minlength=256),
        dropped=dropped,
        reason="" if stays.any() else f"has no frame left after cleaning ({in_words(dropped)})",
    )
