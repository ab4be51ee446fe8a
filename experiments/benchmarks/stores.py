"""Frame stores of any length, made up in no time: sectors filled with speckle, one scan after another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from ssl_zoo.files import write_json
from ssl_zoo.scans.store import FrameStore

PER_SCAN = 32  # frames
RATE = 25  # frames a second
PICTURES = 64  # different ones; the frames are these, shifted


def write_store(folder: Path, *, frames: int, size: int, seed: int = 0) -> FrameStore:
    """A store of grey frames uint8 `[frames, size, size]`, written picture by picture: it is never in memory whole."""
    folder.mkdir(parents=True)
    pictures = sector_pictures(size, seed)  # [PICTURES, size, size]
    pixels = np.lib.format.open_memmap(folder / "frames.npy", "w+", np.uint8, (frames, size, size))
    for row in range(frames):
        pixels[row] = np.roll(pictures[row % PICTURES], row // PICTURES, axis=1)
    pixels.flush()
    del pixels
    row = np.arange(frames)
    scan = row // PER_SCAN
    table = pd.DataFrame(
        {
            "row": row,
            "scan_id": [f"scan{k}" for k in scan],
            "patient_id": [f"P{k}" for k in scan],
            "frame": row % PER_SCAN,
            "time_s": row % PER_SCAN / RATE,
        }
    )
    table.to_parquet(folder / "index.parquet", index=False)
    card = {
        "version": 1,
        "n_frames": frames,
        "n_scans": int(scan[-1]) + 1,
        "patients": sorted(set(table["patient_id"])),
        "mean": float(pictures.mean() / 255),
        "std": float(pictures.std() / 255),
        "skipped": [],
        "fingerprint": f"made-up-{frames}-{size}-{seed}",
    }
    write_json(folder / "store.json", card)
    return FrameStore.open(folder)


def sector_pictures(size: int, seed: int) -> np.ndarray:
    """Sectors of speckle on black, uint8 `[PICTURES, size, size]`."""
    rng = np.random.default_rng(seed)
    down, right = np.mgrid[:size, :size] / size
    sector = (np.hypot(down, right - 0.5) < 0.95) & (np.abs(right - 0.5) < 0.1 + 0.6 * down)
    speckle = np.hypot(*rng.normal(size=(2, PICTURES, size, size)))  # Rayleigh, as of many small echoes
    grain = gaussian_filter(speckle, (0, 0.8, 1.2))
    tissue = gaussian_filter(rng.normal(size=(PICTURES, size, size)), (0, size / 12, size / 12))
    tissue = 1 + 0.6 * tissue / tissue.std((1, 2), keepdims=True)
    return (70 * grain * tissue * sector).clip(0, 255).astype(np.uint8)
