"""The frame store as it lies on disk: chosen frames of all scans, of one size, in one memory-mapped file.

A store is a folder with `frames.npy` (uint8 `[N, S, S]` grey or `[N, S, S, 3]`), `index.parquet` (`row, scan_id,
patient_id, frame, time_s, spacing_mm`), `report.csv` (what became of each scan) and `store.json`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ssl_zoo import files
from ssl_zoo.errors import UserError

VERSION = 1
FRAMES, INDEX, CARD, REPORT = "frames.npy", "index.parquet", "store.json", "report.csv"
HEADER = 128  # bytes before the pixels in frames.npy; fixed, so that it can be written when N is known


@dataclass(frozen=True, eq=False)
class FrameStore:
    """An opened store. `frames` is a read-only memory map, `meta` is `store.json`, `index` has one row per frame:

    `row`, `scan_id`, `patient_id`, `frame` (of the scan, in presentation order), `time_s` (since its first frame) and
    `spacing_mm` (millimetres per stored pixel, NaN where unknown, as in all stores of earlier versions).
    """

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
        if "spacing_mm" not in index:
            index["spacing_mm"] = np.nan
        return cls(path, frames, index, meta)

    def __len__(self) -> int:
        return len(self.frames)

    def batch(self, rows: np.ndarray) -> np.ndarray:
        """A copy of the frames in `rows` (int `[B]`): uint8 `[B, S, S]` or `[B, S, S, 3]`."""
        return np.asarray(self.frames[rows])

    @property
    def fingerprint(self) -> str:
        """Changes when scans, sampler, size, channels, decoder or cleaning do, or which scans could not be read."""
        return self.meta.get("content", self.meta["fingerprint"])

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
    def skipped(self) -> list[dict[str, Any]]:
        """Scans that could not be read or were left out: `scan`, `reason`, and `again` where a later run tries it."""
        return self.meta["skipped"]

    @property
    def dropped(self) -> dict[str, int]:
        """How many of the chosen frames cleaning has dropped, by reason."""
        return self.meta.get("dropped", {})


def npy_header(shape: tuple[int, ...]) -> bytes:
    """The .npy header (format 1.0) of a uint8 array in C order, padded to `HEADER` bytes."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode("latin1")
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11) + b"\n"


def count_levels(pixels: np.ndarray) -> np.ndarray:
    """How many of some uint8 pixels, contiguous and of any shape, have each level: int64 `[256]`.

    Pillow counts bytes twice as fast as numpy's bincount, which turns each into 64 bits first; and the four bands of an
    image faster than one, as a count need not wait for the one before it.
    """
    flat = pixels.reshape(-1)
    quarters = len(flat) // 4
    levels = np.bincount(flat[4 * quarters :], minlength=256)
    if quarters:
        image = Image.frombuffer("RGBA", (quarters, 1), flat[: 4 * quarters], "raw", "RGBA", 0, 1)
        levels += np.array(image.histogram(), np.int64).reshape(4, 256).sum(axis=0)
    return levels


def moments(histogram: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation, scaled to 0..1, of pixels counted by level (int64 `[256]`)."""
    levels = np.arange(256) / 255
    share = histogram / histogram.sum()
    mean = float((share * levels).sum())
    return mean, float(np.sqrt((share * (levels - mean) ** 2).sum()))
