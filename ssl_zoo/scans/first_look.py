"""The first look at a scan: small pictures of the frames that might be kept, and their descriptors."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_zoo import files
from ssl_zoo.scans.descriptors import BATCH, DIMENSIONS, describe
from ssl_zoo.scans.reader import MiscountedScan, ScanReader, UnreadableScan, open_scan
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.samplers.places import places_of_scan
from ssl_zoo.scans.scaling import fit_box

SMALL = 64  # pixels of the longer side of the pictures that are described

# Takes a reader and ascending frame indices; yields (index, picture) of those that are worth keeping, as the store will
# show them: uint8 `[h, w]` or `[h, w, 3]`, of any size that does not change within a scan.
Show = Callable[[ScanReader, np.ndarray], Iterator[tuple[int, np.ndarray]]]


@dataclass(frozen=True, eq=False)
class Look:
    """`frames` int64 `[c]`, ascending: the frames of one scan that were seen; `descriptors` int8 `[c, D]`."""

    frames: np.ndarray
    descriptors: np.ndarray


def show_all(reader: ScanReader, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Every frame as it is, small and grey: the `Show` of scans that are not cleaned."""
    return reader.frames(indices, box=fit_box(reader.width, reader.height, SMALL))


def look_at(
    reader: ScanReader,
    settings: SamplerSettings,
    show: Show = show_all,
    kept: Path | None = None,
    *,
    fps: float,
) -> tuple[ScanReader, Look]:
    """See the faces of a scan's places, one batch of pictures in memory at a time.

    Where the decoder disagrees with the reader's count of frames, the scan is opened anew and counted by decoding; the
    reader that is returned has the right count. With `kept`, the look is kept in that file, and found there by the next
    one at the same scan with the same settings.

    Raises UnreadableScan for a scan that is damaged, or of which no frame is worth keeping.
    """
    if kept is not None and (found := _found(kept)) is not None:
        look, n_frames = found
        return reader if len(reader) == n_frames else open_scan(reader.path, exact=True, fps=fps), look
    try:
        look = _look(reader, settings, show)
    except MiscountedScan:
        reader = open_scan(reader.path, exact=True, fps=fps)
        look = _look(reader, settings, show)
    if kept is not None:
        with files.replacing(kept) as part, open(part, "wb") as handle:
            np.savez(handle, frames=look.frames, descriptors=look.descriptors, n_frames=len(reader))
    if not len(look.frames):
        raise UnreadableScan("shows nothing that is worth keeping")
    return reader, look


def _look(reader: ScanReader, settings: SamplerSettings, show: Show) -> Look:
    frames: list[int] = []
    descriptors = [np.empty((0, DIMENSIONS), np.int8)]
    pictures: list[np.ndarray] = []
    for index, picture in show(reader, places_of_scan(reader.times, settings).faces):
        frames.append(index)
        pictures.append(picture)
        if len(pictures) == BATCH:
            descriptors.append(describe(np.stack(pictures)))
            pictures = []
    if pictures:
        descriptors.append(describe(np.stack(pictures)))
    return Look(np.array(frames, np.int64), np.concatenate(descriptors))


def _found(kept: Path) -> tuple[Look, int] | None:
    """The look that an earlier run has kept; None where there is none, or not a whole one."""
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            look = Look(arrays["frames"], arrays["descriptors"])
            return (look, int(arrays["n_frames"])) if len(look.frames) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
