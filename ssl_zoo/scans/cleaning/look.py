"""A look at some frames of a scan: where its sector lies, what stands still in it, and how a frame is cleaned."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from ssl_zoo.scans.cleaning.colour import colour_share
from ssl_zoo.scans.cleaning.drops import is_black, is_split, thumbnail
from ssl_zoo.scans.cleaning.evidence import evidence
from ssl_zoo.scans.cleaning.inpaint import Filling
from ssl_zoo.scans.cleaning.overlays import find_overlays
from ssl_zoo.scans.cleaning.sector import Sectors, find_sectors
from ssl_zoo.scans.cleaning.settings import CleaningSettings

MOST_FRAMES = 16
MARGIN = 1.0  # pixels of the raster around the outline, whose edge is known no better
RIM = 12  # pixels around the sector's box in which marks are looked for
BEYOND = 0.05  # of the frame's longer side: how far moving parts may reach over a fitted outline, and still be kept


@dataclass(frozen=True, eq=False)
class ScanCleaning:
    """What was found in one scan, and how each of its frames is cleaned. It can be pickled.

    `box`: (top, left, height, width) of what is left of a frame of `shape` (height, width). `sector` bool
    `[height, width]` of the box: all of it where no sector was found. `overlays`, the same shape: marks in the sector
    that stand still. `note`: what a user should know, empty where all went well. `colour_share`: the share of the
    sector in saturated colours. `reason`: why the whole scan is left out, or None.
    """

    shape: tuple[int, int]
    box: tuple[int, int, int, int]
    sector: np.ndarray
    overlays: np.ndarray
    masked: bool = False
    filling: Filling | None = field(default=None, repr=False)
    note: str = ""
    colour_share: float = 0.0
    reason: str | None = None

    @property
    def overlay_share(self) -> float:
        """The share of the sector that marks cover."""
        return float(self.overlays.sum() / max(1, self.sector.sum()))

    def clean(self, frame: np.ndarray) -> np.ndarray:
        """A cleaned copy of a frame as decoded: uint8 `[H, W]` to `[h, w]`, `[H, W, 3]` to `[h, w, 3]`.

        ValueError for a frame of another size than those of the look.
        """
        if frame.shape[:2] != self.shape:
            raise ValueError(f"a frame of {frame.shape[:2]} pixels in a scan of {self.shape}")
        top, left, height, width = self.box
        part = frame[top : top + height, left : left + width]
        if self.masked:
            cleaned = (part.reshape(height, -1) * self._inside[frame.ndim - 2]).reshape(part.shape)
        else:
            cleaned = part.copy()
        if self.filling is not None:
            self.filling(cleaned)
        return cleaned

    @cached_property
    def _inside(self) -> tuple[np.ndarray, np.ndarray]:
        """1 in the sector, 0 outside, for each value of a row: uint8 `[h, w]` for grey, `[h, 3 w]` for colours."""
        inside = self.sector.view(np.uint8)
        return inside, np.repeat(inside, 3, axis=1)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_inside"}


def look(sample: np.ndarray, settings: CleaningSettings) -> ScanCleaning:
    """What cleaning has to know about a scan, from some of its frames, spread over it and at native resolution.

    `sample` uint8 `[S, H, W]` (grey) or `[S, H, W, 3]`; of more than 16 frames, 16 are looked at. Colour flow and
    coloured marks are found in colours only, so that a look in colour serves a grey store better.
    """
    settings.check()
    if len(sample) > MOST_FRAMES:
        sample = sample[np.linspace(0, len(sample) - 1, MOST_FRAMES).round().astype(int)]
    shape = (sample.shape[1], sample.shape[2])
    sample = _telling(sample)
    seen = evidence(sample)
    found = find_sectors(seen)
    sector = _native(found, seen.step, shape)
    box = _box(sector) if settings.sector != "keep" else (0, 0, *shape)
    top, left, height, width = box
    within = (slice(top, top + height), slice(left, left + width))
    overlays = np.zeros(shape, bool)
    if settings.overlays != "keep" and not seen.still:
        near = _widened(within)
        part = sample[(slice(None), *near)]
        overlays[near] = find_overlays(part.min(0), part.max(0), sector[near])
    sector, overlays, sample = sector[within], overlays[within], sample[(slice(None), *within)]
    share = colour_share(sample, sector & ~overlays)
    notes = [found.note, "nothing moves, so that panels and marks cannot be told from tissue" if seen.still else ""]
    return _cleaning(shape, box, sector, overlays, [note for note in notes if note], share, settings)


def _cleaning(
    shape: tuple[int, int],
    box: tuple[int, int, int, int],
    sector: np.ndarray,
    overlays: np.ndarray,
    notes: list[str],
    share: float,
    settings: CleaningSettings,
) -> ScanCleaning:
    reason = None
    if share > settings.colour_share:
        notes.append(f"colour flow in {100 * share:.1f} % of the sector")
        reason = "colour flow" if settings.colour == "drop" else None
    marked = overlays.sum() / max(1, sector.sum())
    if marked:
        notes.append(f"marks on {100 * marked:.1f} % of the sector")
    if settings.overlays == "drop" and marked > settings.overlay_share:
        reason = f"marks on {100 * marked:.1f} % of the sector"
    fill = settings.overlays == "inpaint" and overlays.any()
    return ScanCleaning(
        shape,
        box,
        sector,
        overlays,
        masked=settings.sector == "mask" and not sector.all(),
        filling=Filling(overlays, sector) if fill else None,
        note="; ".join(notes),
        colour_share=share,
        reason=reason,
    )


def _telling(sample: np.ndarray) -> np.ndarray:
    """Without frames that are black or show two images, as long as others are the larger part."""
    small = [thumbnail(frame) for frame in sample]
    telling = [number for number, image in enumerate(small) if not is_black(image)] or list(range(len(sample)))
    single = [number for number in telling if not is_split(small[number])]
    telling = single if 2 * len(single) >= len(telling) else telling
    return sample if len(telling) == len(sample) else sample[telling]


def _native(found: Sectors, step: int, shape: tuple[int, int]) -> np.ndarray:
    """The sectors at native resolution, bool `[H, W]`; all of it where none was found, or where it fills the frame."""
    if not found.outlines:
        return np.ones(shape, bool)
    sector = np.zeros(shape, bool)
    for outline in found.outlines:
        sector |= outline.region(*shape, step=step, margin=MARGIN)
    reach = round(BEYOND * max(found.core.shape))
    fitted = np.logical_or.reduce([outline.region(*found.core.shape) for outline in found.outlines])
    over = found.core & ~fitted
    if found.fits:
        over &= ndimage.maximum_filter(fitted.view(np.uint8), 2 * reach + 1).view(bool)
    if over.any():
        over = np.repeat(np.repeat(over, step, 0), step, 1)[: shape[0], : shape[1]]
        sector[: over.shape[0], : over.shape[1]] |= over
    return sector


def _widened(within: tuple[slice, slice]) -> tuple[slice, slice]:
    """A box and a rim around it, as far as the frame goes."""
    return tuple(slice(max(0, side.start - RIM), side.stop + RIM) for side in within)  # pyright: ignore[reportReturnType]


def _box(sector: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(sector.any(1)), np.flatnonzero(sector.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
