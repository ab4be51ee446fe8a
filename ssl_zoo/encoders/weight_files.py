"""Weights from files of other people: tensors only. No code from a file is run, whatever the file asks for."""

from __future__ import annotations

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from ssl_zoo.errors import UserError

# Records that training frameworks put beside the weights. They are read as empty shells: their code is not needed.
RECORDS = (
    "argparse.Namespace",
    "mmengine.",
    "yacs.",
    "omegaconf.",
    "addict.",
    "easydict.",
    "numpy.",
    "datetime.",
    "pathlib.",
    "collections.",
    "typing.",
)
# Those that are dictionaries: torch's reader puts their items in one by one, and only into plain ones.
DICTIONARIES = ("collections.defaultdict", "yacs.", "addict.", "easydict.", "mmengine.config.config.ConfigDict")
# What records name beside their own classes: methods by `getattr`, the type of a default. Shells too, never the real
# ones, which is why `getattr` leads nowhere here.
BUILTINS = tuple(f"builtins.{name}" for name in ("getattr", "bool", "dict", "float", "int", "list", "str", "tuple"))
NOT_WHOLE = (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError)


class Shell:
    """Stands in for an object that is not a tensor: takes whatever it is given, and keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Shell:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        del state


class Dictionary:
    """Stands in for a dictionary of a framework's: making one gives a plain dictionary, empty whatever it is given."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return OrderedDict()


def read_weights(path: Path | str, unwrap: Iterable[str] = ()) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of a torch file, by name; without `module.` in front.

    A torch file may hold them under one of the keys `unwrap`, also one inside another. It is opened with
    `weights_only`; records of known frameworks beside the weights become empty shells.

    Raises UserError for a file that is missing, not whole, holds other objects, or no tensors.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    found = _read_safetensors(path) if _is_safetensors(path) else _read_torch(path)
    keys = list(unwrap)
    while isinstance(found, Mapping) and (inner := next((key for key in keys if _holds(found, key)), None)):
        found = found[inner]
    tensors = (
        {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise UserError(f"{path}: holds no weights by name ({_describe(found)})")
    return {re.sub(r"^(module\.)+", "", name): value.detach() for name, value in tensors.items()}


def mark(path: Path) -> tuple[str, int, int]:
    """Path, size and time of change of a file: enough to know that it is the one that was read before."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    about = os.stat(path)
    return str(path), about.st_size, about.st_mtime_ns


def _holds(found: Mapping[Any, Any], key: str) -> bool:
    inner = found.get(key)
    return isinstance(inner, Mapping) and any(isinstance(value, (Tensor, Mapping)) for value in inner.values())


def _describe(found: Any) -> str:
    if isinstance(found, Mapping):
        names = ", ".join(sorted(map(str, found))[:5])
        return f"its keys are: {names}" if names else "it is empty"
    return f"it is a {type(found).__name__}"


def _is_safetensors(path: Path) -> bool:
    """By what is in it: an 8-byte length and then a JSON object."""
    with open(path, "rb") as handle:
        head = handle.read(9)
    return path.suffix == ".safetensors" or (len(head) == 9 and head[8:] == b"{" and head[:2] != b"PK")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as handle:
            handle.keys()
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from None


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        return _read_with_shells(path, error)
    except NOT_WHOLE as error:
        raise _not_whole(path, error) from None


def _read_with_shells(path: Path, error: pickle.UnpicklingError) -> Any:
    """Once more, with shells in place of the frameworks' records; anything else in the file is refused by name."""
    serialization: Any = torch.serialization
    if not hasattr(serialization, "get_unsafe_globals_in_checkpoint"):  # before torch 2.6
        raise _not_whole(path, error) from None
    try:
        names = serialization.get_unsafe_globals_in_checkpoint(path)
    except (*NOT_WHOLE, pickle.UnpicklingError):
        raise _not_whole(path, error) from None
    strange = [name for name in names if name not in BUILTINS and not name.startswith(RECORDS)]
    if strange or not names:
        if not names:
            raise _not_whole(path, error) from None
        raise UserError(
            f"{path}: holds more than weights ('{strange[0]}'), and what is no tensor is not opened, as it could run "
            "code; save the weights alone (safetensors, or torch.save of a state_dict)"
        )
    try:
        with serialization.safe_globals([(_stand_in(name), name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (*NOT_WHOLE, pickle.UnpicklingError) as again:
        raise _not_whole(path, again) from None


def _stand_in(name: str) -> type:
    return Dictionary if name.startswith(DICTIONARIES) else Shell


def _not_whole(path: Path, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return UserError(f"{path}: not a whole file of weights ({path.stat().st_size:,} bytes; {reason})")
