"""Checkpoints that are whole or absent; the newest valid one wins. Loading one never runs code from it."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.files import replacing

KEEP = 2  # the newest and one before it, should the newest turn out broken


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `folder/step-<step>.pt` and drop all but the newest checkpoints."""
    path = Path(folder) / f"step-{step:09d}.pt"
    with replacing(path) as part:
        torch.save({"step": step, **state}, part)
    for old in sorted(path.parent.glob("step-*.pt"))[:-KEEP]:
        old.unlink()
    return path


def newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, with its `step`; None when there is none.

    One that is torn is passed over with a warning that names it.
    """
    for path in sorted(Path(folder).glob("step-*.pt"), reverse=True):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            warnings.warn(f"{path}: torn checkpoint passed over ({type(error).__name__})", stacklevel=2)
    return None
