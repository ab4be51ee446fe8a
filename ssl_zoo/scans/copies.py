"""Copies of every frame of a store: a control that adds frames and nothing new.

If a study finds that larger stores do better, one with copies shows whether it was the number of frames or what is in
them. A copy's scan has a name of its own (`scan3#2`), so that positives are drawn as from the store without copies.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssl_zoo.scans.parts import copy_bytes
from ssl_zoo.scans.store import HEADER


def repeat_pixels(frames: Path, n_bytes: int, copies: int) -> None:
    """Make of a `frames.npy` with `n_bytes` of pixels one that holds them `copies` times; its header stays as it is."""
    with open(frames, "r+b") as handle:
        handle.truncate(HEADER + n_bytes)  # what was behind them is of an earlier try
        for copy in range(1, copies):
            copy_bytes(handle, HEADER, handle, HEADER + copy * n_bytes, n_bytes)


def repeat_rows(index: pd.DataFrame, copies: int) -> pd.DataFrame:
    """The index of a store with copies, in the order of its pixels."""
    parts = [index, *(index.assign(scan_id=index["scan_id"] + f"#{copy}") for copy in range(2, copies + 1))]
    repeated = pd.concat(parts, ignore_index=True)
    return repeated.assign(row=range(len(repeated)))
