"""What the files of the cells say, kept in one table, so that 100,000 of them are not read at every look.

A cell is done when its record is whole and its predictions lie beside it. A broken record, or one without predictions,
is a failed cell, and tried again. (Damage within a file is found when the tables are gathered, which reads all of it.)

The files alone decide. The table is a copy that each reader checks against the folder's listing (a record's time, size
and inode) and brings up to date; it may be deleted at any time, and a folder that takes no file does without it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json, write_text

TABLE = ".cells.json"  # in the run folder
RECORD, PREDICTIONS = ".json", ".npz"  # of a cell, behind its key
SECONDS = re.compile(rb'\n "seconds": ([0-9.]+),\n')
VERSION = 1
SETTLED_S = 2.0  # a younger file could be replaced by one with the same time, so it is read again at the next look
WORTH_KEEPING = 50  # files that had to be read, from which on the table is written anew


class Entry(NamedTuple):  # a tuple, because there may be 100,000
    """A cell's outcome: how long it took, or why it failed."""

    seconds: float | None
    error: str | None


def look(run: Path) -> dict[str, Entry]:
    """The outcome of every cell that has a record in the run folder, by its key."""
    folder, now = os.path.join(run, "cells"), time.time()
    known = _kept(run)
    found: dict[str, Entry] = {}
    kept: dict[str, list[Any]] = {}
    read = 0
    records, predictions = _listing(folder)
    for key, stamp, changed in records:
        old = known.get(key)
        if old is not None and old[0] == stamp:
            entry = Entry(old[1], old[2])
        else:
            entry, read = _entry(folder, key), read + 1
        if entry is not None:
            found[key] = entry if entry.error is not None or key in predictions else _beside(entry, folder, key)
            if now - changed > SETTLED_S:
                kept[key] = [stamp, *entry]
    if read >= WORTH_KEEPING:
        with contextlib.suppress(OSError):  # somebody else's folder, a full disk: the next look reads the files again
            write_text(run / TABLE, json.dumps({"version": VERSION, "cells": kept}, separators=(",", ":")))
    return found


def outcome(run: Path, key: str) -> Entry | None:
    """One cell's outcome, for which no other's file is looked at; None when it has no record."""
    folder = os.path.join(run, "cells")
    entry = _entry(folder, key)
    return entry if entry is None or entry.error is not None else _beside(entry, folder, key)


def _listing(folder: str) -> tuple[list[tuple[str, str, float]], set[str]]:
    """Key, stamp (time, size, inode) and time in seconds of every record, and the keys that have predictions."""
    records, predictions = [], set()
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":  # still being written
                continue
            if name.endswith(PREDICTIONS):
                predictions.add(name[: -len(PREDICTIONS)])
            elif name.endswith(RECORD):
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # replaced or taken away in this moment
                    continue
                stamp = f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}"
                records.append((name[: -len(RECORD)], stamp, stat.st_mtime))
    return records, predictions


def _kept(run: Path) -> dict[str, list[Any]]:
    try:
        table = json.loads((run / TABLE).read_bytes())
    except (OSError, ValueError):
        return {}  # none yet, or a broken one: it is only a copy
    return table["cells"] if isinstance(table, dict) and table.get("version") == VERSION else {}


def read_record(path: str) -> dict[str, Any]:
    """A cell's record. FileNotFoundError where it is missing, UserError where it is broken."""
    return _record(_bytes(path), path)


def _record(text: bytes, path: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        record = read_json(Path(path))  # which says what is wrong
    if not isinstance(record, dict) or not record.keys() & {"cohorts", "error"}:
        raise UserError(f"{path}: not the record of a cell")
    return record


def _entry(folder: str, key: str) -> Entry | None:
    """What a cell's record says; None when there is none, or it has gone meanwhile."""
    path = f"{folder}/{key}{RECORD}"
    try:
        text = _bytes(path)
        if (entry := _at_a_glance(text)) is not None:
            return entry
        record = _record(text, path)
    except FileNotFoundError:
        return None
    except UserError as error:
        return Entry(None, str(error))
    return Entry(record.get("seconds"), record.get("error"))


def _at_a_glance(text: bytes) -> Entry | None:
    """What the record of a finished cell says, without taking in all its scores; None where it has to be read.

    `write_json` gives each name of the record a line of its own, indented by one space, and ends with a brace.
    """
    if not text.endswith(b"\n}\n") or b'\n "error": ' in text or b'\n "cohorts": {' not in text:
        return None
    seconds = SECONDS.search(text)
    return Entry(float(seconds[1]), None) if seconds else None


def _bytes(path: str) -> bytes:
    """A file's contents, at half the cost of `open`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def _beside(entry: Entry, folder: str, key: str) -> Entry:
    """The outcome of a finished cell whose predictions were not listed: they may have been written meanwhile."""
    path = f"{folder}/{key}{PREDICTIONS}"
    return entry if os.path.isfile(path) else Entry(None, f"{path}: no such file")
