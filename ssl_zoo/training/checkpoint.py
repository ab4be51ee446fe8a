"""Checkpoints that are whole or absent; the newest valid one wins. Loading one never runs code from it."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.errors import UserError
from ssl_zoo.files import replacing

KEEP = 2  # the newest and one before it, should the newest turn out broken
TORN = (zipfile.BadZipFile, pickle.UnpicklingError, OSError, EOFError, RuntimeError, ValueError, KeyError)


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `folder/step-<step>.pt`, whole or not at all, and then drop all but the newest checkpoints.

    Raises UserError where the disk is full or cannot be written; the checkpoints that were there stay.
    """
    path = Path(folder) / f"step-{step:09d}.pt"
    try:
        with replacing(path) as part:
            for dead in part.parent.glob(".tmp-*"):  # of a process that was killed while it wrote
                dead.unlink()
            with open(part, "wb") as handle:
                torch.save({"step": step, **state}, handle)
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch covers the system's error
        if not isinstance(cause, OSError):
            raise
        raise UserError(
            f"{path}: the checkpoint cannot be written ({cause.strerror or cause}); what was saved before is whole, "
            "and the run goes on from there when it is started again"
        ) from error
    for old in sorted(path.parent.glob("step-*.pt"))[:-KEEP]:
        old.unlink()
    return path


def newest_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest checkpoint that can be read, with its `step`; None when there is none.

    One that is torn (cut short, or with a byte that is not what was written) is passed over with a warning that names
    it.
    """
    for path in sorted(Path(folder).glob("step-*.pt"), reverse=True):
        try:
            # torch checks the structure of the file but not the numbers in it; the archive has checksums of those.
            with zipfile.ZipFile(path) as archive:
                if (broken := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(f"wrong checksum of {broken}")
            return torch.load(path, map_location="cpu", weights_only=True)
        except TORN as error:
            reason = (str(error).splitlines() or [""])[0]
            warnings.warn(f"{path}: torn checkpoint passed over ({type(error).__name__}: {reason})", stacklevel=2)
    return None
