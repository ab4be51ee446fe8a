"""A folder of still images that is one scan: its files in the natural order of their names."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ssl_zoo.scans.base import DEFAULT_FPS, ScanReader, UnreadableScan, even_times

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
# What Pillow raises for a file that is no image, or only the beginning of one.
BROKEN = (OSError, SyntaxError, ValueError, EOFError, zlib.error, Image.DecompressionBombError)


@dataclass(frozen=True, eq=False)
class ImageFolderReader(ScanReader):
    """A folder of images of one size; `names` are its frames."""

    decoder: str = "pillow"
    names: tuple[str, ...] = field(default=(), repr=False)

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        for index in wanted:
            name = self.names[index]
            try:
                with Image.open(self.path / name) as image:
                    picture = pixels(image)
            except BROKEN as error:
                raise UnreadableScan(f"holds '{name}', which cannot be decoded ({error})") from error
            if picture.shape[:2] != (self.height, self.width):
                raise UnreadableScan(f"has changed while it was read: '{name}' has another size now")
            yield index, picture


def open_image_folder(path: Path, *, fps: float = DEFAULT_FPS) -> ImageFolderReader:
    """Open a folder whose images are the frames of a scan, `fps` of them a second: the files do not tell.

    Raises UnreadableScan for a folder without images, an image that is none, or images of several sizes.
    """
    names = image_names(path)
    if not names:
        raise UnreadableScan("is a folder without images")
    size = None
    for name in names:
        try:
            with Image.open(path / name) as image:  # reads the header only
                found = image.size
        except BROKEN as error:
            raise UnreadableScan(f"holds '{name}', which is no image ({error})") from error
        if size is not None and found != size:
            sizes = f"{found[0]}x{found[1]} pixels and '{names[0]}' {size[0]}x{size[1]}"
            raise UnreadableScan(f"holds images of several sizes: '{name}' has {sizes}")
        size = found
    assert size is not None
    width, height = size
    return ImageFolderReader(path, even_times(len(names), fps), width, height, names=tuple(names))


def image_names(folder: Path) -> list[str]:
    """The names of the images that lie in a folder itself, hidden ones left out, in natural order: 9 before 10."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if is_image_name(entry.name) and entry.is_file()]
    return sorted(names, key=natural_key)


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name; hidden ones, such as a Mac's `._frame.png`, are not."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def natural_key(name: str) -> tuple[list[Any], str]:
    """A sort key that compares runs of digits as numbers, and letters without their case."""
    parts = re.split(r"([0-9]+)", name)  # text and numbers in turns, beginning with text
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], name


def pixels(image: Image.Image) -> np.ndarray:
    """The pixels of an opened image: uint8 `[H, W]` where it is grey, `[H, W, 3]` otherwise.

    Images of 16 bits are scaled from their full range; what is transparent lies on black. ValueError for
    floating-point pixels, whose range is unknown.
    """
    image.load()
    if image.mode.startswith("I"):  # 16 bits; Pillow calls some of them 32
        return (np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8)
    if image.mode == "F":
        raise ValueError("floating-point pixels; write them with 8 or 16 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
        return np.asarray(image.convert("RGB"))
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
