"""The pictures of a page: figures saved in the run folder, with the captions under which the report shows them."""

from __future__ import annotations

import base64
import dataclasses
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from ssl_zoo.analysis.csv_files import write_csv
from ssl_zoo.analysis.style import save

LARGEST_SVG = 700_000  # bytes; a larger one stays in `figures/`, and the page shows the PNG
SHEET_SIDE = 1600  # pixels; sheets that others drew are scaled down to it
MOST_BYTES = 8_500_000  # of all pictures of a page, which is to stay below 10 MB with its tables
SVG, PNG, JPEG = "image/svg+xml", "image/png", "image/jpeg"


@dataclass(frozen=True)
class Picture:
    """A figure as it sits in the page: a data URI, its size in CSS pixels, title, caption and alternative text.

    `csv`: the stem of the CSV file in `figures/` that holds its numbers, or nothing.
    """

    name: str
    data: str
    width: int
    height: int
    title: str
    caption: str
    alt: str
    csv: str = ""


class Album:
    """Collects the pictures of a page, in its order. `unit`: what the planes were split and resampled by."""

    def __init__(self, folder: Path, unit: str = "patient") -> None:
        self.folder = folder
        self.unit = unit
        self.pictures: dict[str, Picture] = {}

    def add(
        self, name: str, figure: Figure | None, title: str, caption: str, *, raster: bool = False, csv: str = ""
    ) -> None:
        """Save a figure as `name.png` and `name.svg`, and keep it for the page; None is left out.

        The page holds it once: as SVG, as PNG where the SVG would be large, or as JPEG where it is made of images
        (`raster`).
        """
        if figure is None:
            return
        png, svg = save(figure, self.folder, name)
        if raster:
            with Image.open(png) as opened:
                uri = _jpeg(opened.convert("RGB"), quality=90)
        elif svg.stat().st_size > LARGEST_SVG:
            uri = _uri(png.read_bytes(), PNG)
        else:
            uri = _uri(svg.read_bytes(), SVG)
        width, height = (round(96 * float(inches)) for inches in figure.get_size_inches())
        self.pictures[name] = Picture(name, uri, width, height, title, caption, f"{title}. {caption}", csv)

    def numbers(self, name: str, table: pd.DataFrame) -> None:
        """Save the numbers of a figure as `name.csv`, with the column `unit`."""
        write_csv(self.folder / f"{name}.csv", table.assign(unit=self.unit))

    @property
    def size(self) -> int:
        """Bytes that the pictures take in the page."""
        return sum(len(picture.data) for picture in self.pictures.values())

    def fit(self, most_bytes: int = MOST_BYTES) -> None:
        """Show the largest SVGs as PNG, where that is smaller, until all pictures take no more than so many bytes."""
        for picture in sorted(self.pictures.values(), key=lambda picture: len(picture.data), reverse=True):
            if self.size <= most_bytes:
                return
            if picture.data.startswith(f"data:{SVG}"):
                uri = _uri((self.folder / f"{picture.name}.png").read_bytes(), PNG)
                if len(uri) < len(picture.data):
                    self.pictures[picture.name] = dataclasses.replace(picture, data=uri)

    def sheet(self, path: Path, title: str, caption: str, *, most_bytes: int) -> bool:
        """Keep an image file that is there already, scaled down and as JPEG, where it takes no more than so many
        bytes; says whether it does.
        """
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((SHEET_SIDE, SHEET_SIDE))
        uri = _jpeg(image, quality=82)
        if len(uri) > most_bytes:
            return False
        name = "_".join(path.relative_to(self.folder).with_suffix("").parts)
        width, height = image.size
        self.pictures[name] = Picture(name, uri, width, height, title, caption, f"{title}. {caption}")
        return True


def _jpeg(image: Image.Image, quality: int) -> str:
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=quality, optimize=True)
    return _uri(packed.getvalue(), JPEG)


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
