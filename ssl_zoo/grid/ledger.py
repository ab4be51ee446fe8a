"""What the files of the cells say, kept in one table, so that 100,000 of them are not read at every look.

The files alone decide. The table is a copy that each reader checks against the folder's listing (a file's time, size
and inode) and brings up to date; it may be deleted at any time, and a folder that takes no file does without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json, write_text

TABLE = ".cells.json"  # in the run folder
ENDING = ".json"
VERSION = 1
SETTLED_S = 2.0  # a younger file could be replaced by one with the same time, so it is read again at the next look
WORTH_KEEPING = 50  # files that had to be read, from which on the table is written anew


class Entry(NamedTuple):  # a tuple, because there may be 100,000
    """A cell's outcome: how long it took, or why it failed."""

    seconds: float | None
    error: str | None


def look(run: Path) -> dict[str, Entry]:
    """Every cell that has a file in the run folder, by its key; a broken file is a failed cell, and tried again."""
    folder, now = run / "cells", time.time()
    known = _kept(run)
    found: dict[str, Entry] = {}
    stamps: dict[str, str] = {}
    read = 0
    for name, stamp, changed in _listing(folder):
        key = name[: -len(ENDING)]
        old = known.get(key)
        if old is not None and old[0] == stamp:
            entry = Entry(old[1], old[2])
        else:
            entry, read = _entry(folder / name), read + 1
        if entry is not None:
            found[key] = entry
            if now - changed > SETTLED_S:
                stamps[key] = stamp
    if read >= WORTH_KEEPING:
        kept = {key: [stamp, found[key].seconds, found[key].error] for key, stamp in stamps.items()}
        with contextlib.suppress(OSError):  # somebody else's folder, a full disk: the next look reads the files again
            write_text(run / TABLE, json.dumps({"version": VERSION, "cells": kept}, separators=(",", ":")))
    return found


def _listing(folder: Path) -> Iterator[tuple[str, str, float]]:
    """Name, stamp (time, size, inode) and time in seconds of every cell's file."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(ENDING) and name[0] != ".":
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # replaced or taken away in this moment
                    continue
                yield name, f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}", stat.st_mtime


def _kept(run: Path) -> dict[str, list[Any]]:
    try:
        table = json.loads((run / TABLE).read_bytes())
    except (OSError, ValueError):
        return {}  # none yet, or a broken one: it is only a copy
    return table["cells"] if isinstance(table, dict) and table.get("version") == VERSION else {}


def _entry(path: Path) -> Entry | None:
    """What a cell's file says; None when it has gone meanwhile."""
    try:
        record = read_json(path)
    except UserError as error:
        return Entry(None, str(error)) if path.exists() else None
    return Entry(record.get("seconds"), record.get("error"))
