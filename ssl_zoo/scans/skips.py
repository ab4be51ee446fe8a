"""Scans that were left out of a store: how they are listed, and which of them a later run tries again.

Some are left out by what may be mended or pass: a package is missing, a process was killed, a disk or a network failed.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.scans.first_look import Show
from ssl_zoo.scans.reader import MiscountedScan, UnreadableScan, open_scan
from ssl_zoo.scans.table import Scans
from ssl_zoo.scans.workers import Died, Mapper

Skip = dict[str, Any]  # `scan` and `reason`; and `again` where a later run tries it again


def skip(scan: str, reason: str, again: bool) -> Skip:
    """A scan that is left out, as store.json lists it."""
    return {"scan": scan, "reason": reason} | ({"again": True} if again else {})


def to_try_again(skipped: list[Skip]) -> list[str]:
    """The scans that a later run tries again."""
    return [entry["scan"] for entry in skipped if entry.get("again")]


def readable_now(scans: Scans, skipped: list[Skip], mapper: Mapper, show: Show) -> bool:
    """Whether one of those scans can be read by now: all of its frames are decoded, and cleaned, to know."""
    tried = scans.table[scans.table["scan"].isin(to_try_again(skipped))]
    tasks = list(zip(tried["path"], tried["fps"], strict=True))
    return any(list(mapper(partial(_shows_anything, show=show), tasks, _lost)))


def _shows_anything(task: tuple[Path, float], show: Show) -> bool:
    path, fps = task
    try:
        try:
            reader = open_scan(path, fps=fps)
            shown = [index for index, _ in show(reader, np.arange(len(reader)))]
        except MiscountedScan:
            reader = open_scan(path, exact=True, fps=fps)
            shown = [index for index, _ in show(reader, np.arange(len(reader)))]
    except UnreadableScan:
        return False
    return bool(shown)


def _lost(task: tuple[Path, float], how: Died) -> bool:
    return False
