"""A frame store small enough to train on in a test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.files import write_json
from ssl_zoo.scans.frames import FrameStore


def write_store(folder, *, scans=8, per_scan=8, size=32, seed=0):
    """Scans of a bright disc that wanders: neighbouring frames look alike, scans do not."""
    rng = np.random.default_rng(seed)
    grid = np.mgrid[:size, :size] / size
    frames, index = [], []
    for scan in range(scans):
        place, radius, step = rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.3), rng.normal(0, 0.02, 2)
        for frame in range(per_scan):
            inside = np.hypot(*(grid - (place + frame * step)[:, None, None])) < radius
            frames.append((60 + 120 * inside + rng.normal(0, 15, inside.shape)).clip(0, 255).astype(np.uint8))
            index.append((len(index), f"scan{scan}", f"S{scan}", frame, frame / 25))
    folder.mkdir(parents=True)
    np.save(folder / "frames.npy", np.stack(frames))
    table = pd.DataFrame(index, columns=["row", "scan_id", "patient_id", "frame", "time_s"])
    table.to_parquet(folder / "index.parquet", index=False)
    patients = sorted(table["patient_id"].unique())
    pixels = np.stack(frames) / 255
    write_json(
        folder / "store.json",
        {
            "version": 1,
            "n_frames": len(frames),
            "n_scans": scans,
            "patients": patients,
            "mean": float(pixels.mean()),
            "std": float(pixels.std()),
            "skipped": [],
            "fingerprint": f"fake-{seed}",
        },
    )
    return FrameStore.open(folder)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "frames")
