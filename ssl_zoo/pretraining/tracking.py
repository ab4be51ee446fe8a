"""Curves for TensorBoard while a run trains, where the package is installed (`pip install "ssl_zoo[tensorboard]"`).

`history.jsonl` beside the encoder holds the same numbers, whether it is installed or not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any


class TensorBoard:
    """Event files of one run in a folder of its own; rows are those of the history, their steps those of training."""

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        """Steps from `first_step` on that an earlier, killed process wrote are hidden: they are trained again."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=first_step)

    def add(self, row: Mapping[str, Any]) -> None:
        """Draw every number of a row, at its `step`."""
        for name, value in row.items():
            if isinstance(value, Real) and name != "step":
                self.writer.add_scalar(name, float(value), int(row["step"]))
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


def open_tensorboard(folder: Path | None, first_step: int = 0) -> TensorBoard | None:
    """Event files in `folder`; None without a folder, or where TensorBoard is not installed."""
    if folder is None or importlib.util.find_spec("tensorboard") is None:
        return None
    return TensorBoard(folder, first_step)
