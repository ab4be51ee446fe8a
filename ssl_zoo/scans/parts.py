"""What an ingest has done so far, so that one that was killed goes on where it stood.

Beside a store `S` that is being built lies the hidden folder `.S.parts`, the only other place that is written to. In
its `store/frames.npy` every planned scan has a slot, as large as its plan, which is written by the process that decodes
it; once its pixels are complete, `n.json` is there, the card of the n-th scan. Pixels that are found by a later run are
counted by level, and have to agree with their card: a torn part counts as none. When all scans are done the file is
packed: slots that were not filled are closed up. The folder goes when the store is there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import IO

import numpy as np

from ssl_zoo import files
from ssl_zoo.scans.plans import Plan
from ssl_zoo.scans.skips import Skip
from ssl_zoo.scans.store import FRAMES, HEADER, count_levels

BLOCK = 1 << 22  # bytes read at a time
PLANS = "plans.npz"


@dataclass(frozen=True, eq=False)
class Ingested:
    """What became of the n-th planned scan: its frames or, with a `reason`, none."""

    number: int
    indices: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    times: np.ndarray = field(default_factory=lambda: np.empty(0))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # pixels by level
    hashes: tuple[int, ...] = ()  # of the frames, where duplicates are looked for in the whole store
    dropped: dict[str, int] = field(default_factory=dict)  # frames by reason
    decoder: str = ""  # the one that gave the frames
    spacing: float = math.nan  # millimetres per stored pixel
    width: int = 0  # of the scan, as shown
    height: int = 0
    n_frames: int = 0  # of the scan
    seconds: float = 0.0  # from its first frame to its last
    note: str = ""  # what cleaning wants a user to know
    overflow: bool = False  # whether the pixels, more than planned, lie in a file of their own
    reason: str = ""  # why there are no frames
    again: bool = False  # whether there may be some another time


def frames_path(folder: Path) -> Path:
    """The pixels of a store that is being built."""
    return folder / "store" / FRAMES


def overflow_path(folder: Path, number: int) -> Path:
    """Where the pixels of a scan go that turns out to have more frames than planned."""
    return folder / f"{number}.raw"


def slots(plans: list[Plan], frame_bytes: int) -> list[int]:
    """Where the pixels of each planned scan begin in the file of all, and behind those where the last ones end."""
    lengths = [len(plan.indices) * frame_bytes for plan in plans]
    return [HEADER + before for before in accumulate(lengths, initial=0)]


def keep_card(folder: Path, result: Ingested) -> None:
    """Write down that a scan is done, once its pixels are."""
    card = dataclasses.asdict(result)
    for key in ("indices", "times", "histogram"):
        card[key] = card[key].tolist()
    card["spacing"] = None if math.isnan(result.spacing) else result.spacing
    part = folder / f"{result.number}.part"
    part.write_text(json.dumps(card, allow_nan=False))
    os.replace(part, folder / f"{result.number}.json")


@contextlib.contextmanager
def unfinished(out: Path, fingerprint: str) -> Iterator[Path]:
    """The folder of parts of the store `out`, with what an earlier run for the same `fingerprint` has left there.

    It is deleted when the block ends well, and when it ends otherwise before any scan was done; else it stays.
    UserError where another process is at work on the same store.
    """
    folder = parts_folder(out)
    with files.holding(folder / "lock", f"{out}: another process is building this store"):
        whose = folder / "fingerprint"
        if not whose.is_file() or whose.read_text() != fingerprint:
            clear(folder)
            whose.write_text(fingerprint)
        try:
            yield folder
        except BaseException:
            if not _holds_work(folder):
                shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)


def parts_folder(out: Path) -> Path:
    """The hidden folder beside a store that is being built in `out`, an absolute path without links."""
    return out.parent / f".{out.name}.parts"


def keep_plans(folder: Path, plans: list[Plan], skipped: list[Skip]) -> None:
    """Write down what was planned, without the readers."""
    with files.replacing(folder / PLANS) as part, open(part, "wb") as handle:
        np.savez(
            handle,
            indices=np.concatenate([plan.indices for plan in plans]),
            times=np.concatenate([plan.times for plan in plans]),
            lengths=np.array([len(plan.indices) for plan in plans]),
            scans=np.array([plan.scan for plan in plans]),
            skipped=np.array(json.dumps(skipped)),
        )


def kept_plans(folder: Path, unplanned: list[Plan]) -> tuple[list[Plan], list[Skip]] | None:
    """The plans of an earlier run, put into `unplanned` (one for each scan); None where there are none."""
    try:
        with np.load(folder / PLANS, allow_pickle=False) as kept:
            indices, times, lengths, scans = (kept[name] for name in ("indices", "times", "lengths", "scans"))
            skipped = json.loads(str(kept["skipped"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # none, or torn
        return None
    by_scan = {plan.scan: plan for plan in unplanned}
    cuts = np.cumsum(lengths)[:-1]
    pieces = zip(scans, np.split(indices, cuts), np.split(times, cuts), strict=True)
    return [dataclasses.replace(by_scan[str(scan)], indices=i, times=t) for scan, i, t in pieces], skipped


def finished(folder: Path, plans: list[Plan], frame_bytes: int) -> dict[int, Ingested]:
    """The scans that an earlier run has done, their pixels being whole, by number; makes room for the others."""
    done: dict[int, Ingested] = {}
    begins = slots(plans, frame_bytes)
    target = frames_path(folder)
    target.parent.mkdir(exist_ok=True)
    with open(target, "r+b" if target.exists() else "w+b") as handle:
        handle.truncate(begins[-1])
        for number in range(len(plans)):
            card = _card(folder, number)
            if card is None:
                continue
            length = len(card.indices) * frame_bytes
            if card.overflow and overflow_path(folder, number).is_file():
                with open(overflow_path(folder, number), "rb") as own:
                    whole = _agrees(own, 0, length, card)
            else:
                whole = bool(card.reason) or (not card.overflow and _agrees(handle, begins[number], length, card))
            if whole:
                done[number] = card
    return done


def pack(target: Path, pieces: list[tuple[Path, int, int]]) -> None:
    """Leave nothing in a file of pixels but its header and `pieces`, one after the other: (file, offset, length) each.

    Pieces of the file itself, in ascending order, move within it; with others among them it is written anew.
    """
    if any(source != target for source, _, _ in pieces):
        with files.replacing(target) as part:
            part.write_bytes(bytes(HEADER))
            with open(part, "r+b") as new:
                at = HEADER
                for source, offset, length in pieces:
                    with open(source, "rb") as old:
                        at = copy_bytes(old, offset, new, at, length)
        return
    with open(target, "r+b") as handle:
        at = HEADER
        for _, offset, length in pieces:
            at = copy_bytes(handle, offset, handle, at, length) if offset != at else at + length
        handle.truncate(at)


def copy_bytes(source: IO[bytes], offset: int, target: IO[bytes], at: int, length: int) -> int:
    """Copy bytes, also within a file, but not to a later place that they reach; returns where they end."""
    end = at + length
    while at < end:
        source.seek(offset)
        block = source.read(min(BLOCK, end - at))
        offset += len(block)
        target.seek(at)
        at += target.write(block)
    return end


def publish(folder: Path, out: Path) -> None:
    """Put the finished store in its place; what was there is whole until then."""
    old = folder / "old"
    if out.exists():
        os.replace(out, old)
    os.replace(folder / "store", out)


def _holds_work(folder: Path) -> bool:
    """Whether a scan was looked at, or decoded into something."""
    cards = (_card(folder, int(path.stem)) for path in folder.glob("*.json"))
    return any(folder.glob("look-*")) or any(card and not card.reason for card in cards)


def clear(folder: Path) -> None:
    """Throw away all that an earlier run has done, but not whose folder it is."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("lock", "fingerprint"):
            path.unlink()


def _card(folder: Path, number: int) -> Ingested | None:
    path = folder / f"{number}.json"
    try:
        card = json.loads(path.read_bytes())
        card |= {"indices": np.array(card["indices"], np.int64), "times": np.array(card["times"], np.float64)}
        card["histogram"] = np.array(card["histogram"], np.int64)
        card["hashes"] = tuple(card["hashes"])
        card["spacing"] = math.nan if card["spacing"] is None else card["spacing"]
        return Ingested(**card)
    except (OSError, ValueError, KeyError, TypeError):  # not done yet, or torn
        return None


def _agrees(handle: IO[bytes], start: int, length: int, card: Ingested) -> bool:
    """Whether `length` bytes of a file from `start` on are there, and are pixels of the levels that the card counts."""
    handle.seek(start)
    counted = np.zeros(256, np.int64)
    while length and (block := handle.read(min(BLOCK, length))):
        counted += count_levels(np.frombuffer(block, np.uint8))
        length -= len(block)
    return not length and np.array_equal(counted, card.histogram)
