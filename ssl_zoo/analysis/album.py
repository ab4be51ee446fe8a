"""The pictures of a page: figures saved in the run folder, with the captions under which the report shows them."""

from __future__ import annotations

import base64
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

        The page holds it once: as SVG, or as PNG where it is made of images (`raster`) or the SVG would be large.
        """
        if figure is None:
            return
        png, svg = save(figure, self.folder, name)
        raster = raster or svg.stat().st_size > LARGEST_SVG
        source, kind = (png, "image/png") if raster else (svg, "image/svg+xml")
        width, height = (round(96 * float(inches)) for inches in figure.get_size_inches())
        uri = _uri(source.read_bytes(), kind)
        self.pictures[name] = Picture(name, uri, width, height, title, caption, f"{title}. {caption}", csv)

    def numbers(self, name: str, table: pd.DataFrame) -> None:
        """Save the numbers of a figure as `name.csv`, with the column `unit`."""
        write_csv(self.folder / f"{name}.csv", table.assign(unit=self.unit))

    def sheet(self, path: Path, title: str, caption: str) -> int:
        """Keep an image file that is there already, scaled down and as JPEG; returns its size in bytes in the page."""
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        image.thumbnail((SHEET_SIDE, SHEET_SIDE))
        packed = io.BytesIO()
        image.save(packed, "JPEG", quality=82, optimize=True)
        uri = _uri(packed.getvalue(), "image/jpeg")
        name = "_".join(path.relative_to(self.folder).with_suffix("").parts)
        width, height = image.size
        self.pictures[name] = Picture(name, uri, width, height, title, caption, f"{title}. {caption}")
        return len(uri)


def _uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
