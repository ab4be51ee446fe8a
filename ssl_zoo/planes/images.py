"""The pixels of the planes: still images in any of PNG's colour modes, and single frames of videos.

All come out as uint8, square, with their aspect ratio kept (letterbox) unless an encoder wants it otherwise. Nothing
is cached: a plane is read once per experiment and size.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from ssl_zoo.encoders.fitting import Fit
from ssl_zoo.errors import UserError
from ssl_zoo.scans.reader import MiscountedScan, UnreadableScan, open_scan
from ssl_zoo.scans.sector_cut import cut_still, fitted_frames

if TYPE_CHECKING:
    from ssl_zoo.planes.table import Planes

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}
# What Pillow raises for a file that is no image, or only the beginning of one.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError)


class Images(Protocol):
    """uint8 images `[N, H, W]` or `[N, H, W, 3]`: an array, a memory map, or rows of one."""

    def __len__(self) -> int: ...
    def __getitem__(self, places: slice | np.ndarray, /) -> np.ndarray: ...


class ImageRows:
    """Rows of an array of images, read when they are asked for: a subset of a memory map without a copy of it.

    All processes of a machine then share the pages of one file, however many subsets of it they train on. Only the
    rows can be reached: place 0 is the first of them.
    """

    def __init__(self, images: Images, rows: np.ndarray) -> None:
        self._images, self._rows = images, np.asarray(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: slice | np.ndarray) -> np.ndarray:
        """A copy of the images at `places` `[B]`: uint8 `[B, H, W]` or `[B, H, W, 3]`."""
        return np.asarray(self._images[self._rows[places]])


def load_images(
    planes: Planes,
    size: int,
    channels: int,
    *,
    rows: Sequence[int] | np.ndarray | None = None,
    threads: int | None = None,
    fit: Fit | None = None,
) -> np.ndarray:
    """uint8 `[N, size, size]` for 1 channel or `[N, size, size, 3]` for 3, in the order of the table or of `rows`.

    `fit` is how images become squares of `size` (default: letterboxed); its resampling is for still images, frames of
    videos are scaled by area. Before that they are cut to the ultrasound sector where `planes.sector` says so: a still
    by itself, the frames of a video by what moves in it.

    Images of 16 bits are scaled from their full range, transparent ones lie on black, colour becomes grey by
    luminance. A row with a `frame` is that image of its video, counted in presentation order; each video is
    opened once.

    Raises UserError, naming the table's row and the file, for a file that is no image or video, or too short a one.
    """
    fit = Fit(size) if fit is None else fit
    rows = np.arange(len(planes)) if rows is None else np.asarray(rows)
    table = planes.table.iloc[rows]
    out = np.zeros((len(rows), size, size) if channels == 1 else (len(rows), size, size, 3), dtype=np.uint8)
    jobs: dict[str, list[int]] = {}
    for position, path in enumerate(table["path"]):
        jobs.setdefault(path, []).append(position)
    frames = [
        None if value is None else int(value)
        for value in table["frame"].astype(object).where(table["frame"].notna(), None)
    ]
    where, names = list(table["where"]), list(table["image"])

    def load(path: str) -> None:
        positions = jobs[path]
        stills = [position for position in positions if frames[position] is None]
        if stills:
            place = f"{where[stills[0]]}: {names[stills[0]]}"
            _paste(out, stills, _read_still(path, fit, channels, planes.sector, place), fit)
        wanted = {position: frame for position in positions if (frame := frames[position]) is not None}
        if wanted:
            place = next(iter(wanted))
            for position, image in _read_frames(path, wanted, fit, channels, planes.sector, where, names[place]):
                _paste(out, [position], image, fit)

    with ThreadPoolExecutor(threads or min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(load, jobs))  # the first error, in the table's order, comes out here
    return out


def _read_still(path: str, fit: Fit, channels: int, sector: str, place: str) -> np.ndarray:
    """An image scaled into size x size: uint8 `[h, w]` or `[h, w, 3]`."""
    try:
        with Image.open(path) as image:
            image.load()
            if image.mode.startswith("I"):  # 16 bits; Pillow calls some of them 32
                image = Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
            elif image.mode == "F":
                raise UserError(f"{place} has floating-point pixels; write it with 8 or 16 bits")
            elif "A" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            image = image.convert("L" if channels == 1 else "RGB")
            if sector != "keep":
                image = Image.fromarray(cut_still(np.asarray(image), sector))
            box = fit.box(image.width, image.height)
            # Of Pillow's filters, Hamming comes closest to the area averaging that scans are scaled with.
            area = Image.Resampling.HAMMING if box[0] <= image.width else Image.Resampling.BICUBIC
            return np.asarray(image.resize(box, FILTERS.get(fit.resampling, area)))
    except BROKEN as error:
        raise UserError(f"{place} is not an image ({error})") from None


def _read_frames(
    path: str, wanted: dict[int, int], fit: Fit, channels: int, sector: str, where: list[str], name: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position, image) for `wanted`, a map from positions to frame numbers of one video."""
    try:
        try:
            images = _decode(path, wanted, fit, channels, sector, where, name)
        except MiscountedScan:
            images = _decode(path, wanted, fit, channels, sector, where, name, exact=True)
    except UnreadableScan as error:
        raise UserError(f"{where[next(iter(wanted))]}: {name} {error}") from None
    for position, frame in wanted.items():
        yield position, images[frame]


def _decode(
    path: str,
    wanted: dict[int, int],
    fit: Fit,
    channels: int,
    sector: str,
    where: list[str],
    name: str,
    *,
    exact: bool = False,
) -> dict[int, np.ndarray]:
    """Frame number to image; `exact` counts frames by decoding all of them, for files whose packets mislead."""
    reader = open_scan(Path(path), exact=exact)
    for position, frame in wanted.items():
        if frame >= len(reader):
            count = f"{name} has {len(reader)} frames"
            raise UserError(f"{where[position]}: {count}, so no frame {frame} (they count from 0)")
    return dict(fitted_frames(reader, sorted(set(wanted.values())), channels, fit, sector))


def _paste(out: np.ndarray, positions: list[int], image: np.ndarray, fit: Fit) -> None:
    """Put an image into its place in its black squares."""
    top, left = fit.corner(image.shape[1], image.shape[0])
    out[positions, top : top + image.shape[0], left : left + image.shape[1]] = image
