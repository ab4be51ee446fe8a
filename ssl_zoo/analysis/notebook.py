"""What notebooks share: which run they read, and how a figure, a table or a sentence stands in one.

Everything shown is the same bytes for the same run: no times, no paths, no addresses, and figures small enough to be
kept beside the text.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ssl_zoo.analysis.style import styled
from ssl_zoo.errors import UserError

VARIABLE, DEFAULT = "SSL_ZOO_RUN", "runs/demo"
DPI = 80


def chosen_run() -> Path:
    """The run folder that the environment variable SSL_ZOO_RUN names, else `runs/demo`.

    A relative name is looked for in the current folder and in those above it, so that it is one from the repository's
    root wherever the notebook was started. Raises UserError where it is in none.
    """
    name = Path(os.environ.get(VARIABLE) or DEFAULT)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / name / "results.csv").is_file():
            return folder / name
    raise UserError(f"{name}: no run folder with a results.csv, here or above; make one, or name one in {VARIABLE}")


@dataclass(frozen=True, eq=False)
class Shown:
    """A figure or table as a notebook keeps it; `png` or `html` is empty, and `text` says in words what it is."""

    text: str
    png: bytes = field(default=b"", repr=False)
    html: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return self.text

    def _repr_png_(self) -> bytes | None:
        return self.png or None

    def _repr_html_(self) -> str | None:
        return self.html or None


def show(what: Figure | pd.DataFrame | None, *, digits: int = 2, dpi: int = DPI, pictures: bool = False) -> Shown:
    """A figure (None: a sentence that there is none) or a table, its numbers with so many digits behind the point.

    `pictures`: the figure is a sheet of grey pictures, whose file may be smaller.
    """
    if what is None:
        return Shown("This run has no data for this figure.")
    if isinstance(what, pd.DataFrame):
        plain = what.map(lambda value: _number(value, digits))
        return Shown(plain.to_string(), html=plain.to_html(border=0))
    with styled():
        what.set_dpi(dpi)
        canvas, buffer = FigureCanvasAgg(what), io.BytesIO()
        canvas.draw()
        picture = Image.frombytes("RGBA", canvas.get_width_height(), bytes(canvas.buffer_rgba())).convert("RGB")
    # A palette makes the file half as large. The colours of few pixels (markers, thin lines) must stay what they are;
    # in a sheet of grey pictures, there are none, and what matters is that neighbouring greys become one.
    method = Image.Quantize.FASTOCTREE if pictures else Image.Quantize.MAXCOVERAGE
    picture.quantize(256, method, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return Shown(f"figure, {picture.width} x {picture.height} pixels", png=buffer.getvalue())


def _number(value: object, digits: int) -> str:
    """A value of a table as text; what is not there is a dash."""
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−") if isinstance(value, float) else str(value)
