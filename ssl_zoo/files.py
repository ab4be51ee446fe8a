"""Files that are whole or absent, fingerprints of their contents, and paths that stay in their root."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ssl_zoo.errors import UserError

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what opens a formula in a spreadsheet


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that becomes `target` (file or folder) when the block ends well.

    A reader sees the old `target` or the whole new one. After an error nothing is left behind; after a
    `kill -9` only a hidden `.tmp-*` neighbour is, which nothing reads.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.parent / f".tmp-{uuid.uuid4().hex}-{target.name}"
    try:
        yield part
        if part.is_file():
            with open(part, "rb+") as handle:
                os.fsync(handle.fileno())
        elif target.is_dir():
            shutil.rmtree(target)
        os.replace(part, target)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def holding(lock: Path, taken: str) -> Iterator[None]:
    """Hold the lock file `lock` within the block; it goes with the process, however that ends.

    UserError with the sentence `taken` where another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise UserError(taken) from None
    try:
        yield
    finally:
        held.release()


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all. NaN and infinity are refused."""
    write_text(target, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(source: Path) -> Any:
    """Read a JSON file; a missing or broken one is a UserError that names it."""
    try:
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{source}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not valid JSON ({error})") from None


def as_text(value: Any) -> Any:
    """A value of a CSV cell that no spreadsheet takes for a formula: words that open like one get a ' before them."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def from_text(value: Any) -> Any:
    """What `as_text` was given."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and value[1:].startswith(FORMULA) else value


def fingerprint(value: Any) -> str:
    """16 hex digits that change when anything in a JSON-like `value` changes (key order does not count)."""
    return hashlib.sha256(canonical(value)).hexdigest()[:16]


def canonical(value: Any) -> bytes:
    """The one text of a JSON-like `value`: names in order, no spaces. NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=str).encode()


def fingerprint_file(path: Path) -> str:
    """16 hex digits of a file's contents."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def inside(root: Path, relative: str, where: str) -> Path:
    """`root / relative`, refusing an absolute path or one that climbs out of `root`.

    `where` opens the error's sentence, for example "planes.csv, row 3, column 'image'".
    """
    path = Path(relative)
    if path.is_absolute() or ".." in path.parts:
        raise UserError(f"{where}: '{relative}' leaves the table's folder; paths are relative to it")
    return Path(root) / path
