"""An image cut to its ultrasound sector, as cleaning cuts the frames of a store: whole scans, and single stills.

In a scan the sector is what moves. A still shows only what is lit: the sectors of one frame and of the whole scan
overlap by 0.985 on average (28 scans of COVID-BLUES). A still of which much that is lit would be lost is left as it is
(`cleaning.sector`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ssl_zoo.scans.base import ScanReader, only_unreadable
from ssl_zoo.scans.cleaning import CleaningSettings, ScanCleaning, look
from ssl_zoo.scans.scaling import Scaler

LOOK = 16  # frames of a scan that are looked at before the first is cleaned


class BoxOf(Protocol):
    """Says to which (width, height) an image of some size is scaled."""

    def box(self, width: int, height: int) -> tuple[int, int]: ...


def look_over(reader: ScanReader, settings: CleaningSettings) -> ScanCleaning:
    """What cleaning finds in frames spread over a scan.

    It looks in colour, also for grey images: colour flow and coloured marks show in colour only. Raises UnreadableScan
    where the file turns out to be damaged, or is not to be cleaned.
    """
    spread = np.unique(np.linspace(0, len(reader) - 1, LOOK).round().astype(np.int64))
    with only_unreadable():
        return look(reader.read(spread, channels=3), settings)


def fitted_frames(
    reader: ScanReader, indices: np.ndarray | Sequence[int], channels: int, fit: BoxOf | None, sector: str = "keep"
) -> Iterator[tuple[int, np.ndarray]]:
    """(index, image) of some frames of a scan, cut to its sector and scaled to the box that `fit` gives what is left.

    uint8 `[h, w]` for 1 channel, `[h, w, 3]` for 3; `fit` None: not scaled. `sector`: keep (nothing is cut off), crop
    or mask. Raises UnreadableScan where the file turns out to be damaged.
    """
    if sector == "keep":
        box = fit.box(reader.width, reader.height) if fit else None
        yield from reader.frames(indices, channels=channels, box=box)
        return
    cut = look_over(reader, _only(sector))
    scale = Scaler(*fit.box(cut.box[3], cut.box[2]), channels) if fit else np.asarray
    for index, frame in reader.frames(indices, channels=channels):
        yield index, scale(cut.clean(frame))


def cut_still(image: np.ndarray, sector: str) -> np.ndarray:
    """A still uint8 `[H, W]` or `[H, W, 3]` cut to its sector; `sector`: keep (as it is), crop or mask."""
    return image if sector == "keep" else look(image[None], _only(sector)).clean(image)


def _only(sector: str) -> CleaningSettings:
    return CleaningSettings(sector=sector, overlays="keep", black=False, frozen=False, split_screen=False)
