"""Contact sheets of views: frames on the left, and beside them what a method is given of each."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ssl_zoo.analysis.style import INK, MUTED, new_figure, styled

WIDTH = 10.67  # inches; 1600 pixels at the 150 dpi of `style.save`
PAPER = "#DCE0E5"  # light grey, on which black and white views both show where they end
LABELS = 0.82  # inches for the scans' names
GAP, GROUP_GAP = 0.05, 0.16  # in sides of an image: between images, and between groups
LINE = 180  # letters of 8 points that fit the width
CAPTION, HEADER = 0.15, 0.34  # below an image that has words, and above the first row


@dataclass(frozen=True)
class ViewRow:
    """One frame and its views. Images are `[h, w]` or `[h, w, 3]` in 0..1.

    `given` are the frames that views are made of, each with a few words; `draws` the views of each draw.
    """

    name: str
    given: list[tuple[np.ndarray, str]]
    draws: list[list[np.ndarray]]


@dataclass(frozen=True)
class ViewPage:
    """One contact sheet: what it shows, what the columns of frames are called, and its rows."""

    title: str
    lines: list[str]  # below the title
    given: list[str]  # one name for each given frame
    rows: list[ViewRow] = field(default_factory=list)


def view_page(page: ViewPage) -> Figure:
    """A row per frame: the frame, its partner if it has one, then draw after draw the views.

    Views smaller than the first (local crops) share tiles at their true size beside it. All rows have as many draws
    and views as the first.
    """
    first = page.rows[0]
    columns = _columns(page, first)
    right = columns[-1].right + GAP
    captions = any(words for row in page.rows for _, words in row.given)
    step = 1 + GAP + (CAPTION if captions else 0)
    unit = (WIDTH - LABELS) / right  # inches for a side of an image
    lines = [part for line in page.lines for part in textwrap.wrap(line, LINE, subsequent_indent="    ")]
    text = 0.34 + 0.17 * len(lines)  # inches of title and lines
    height = text + unit * (HEADER + step * len(page.rows)) + 0.06
    with styled():
        figure = new_figure(WIDTH, height)
        figure.set_layout_engine("none")
        figure.add_artist(Rectangle((0, 0), 1, 1, transform=figure.transFigure, facecolor=PAPER, zorder=-10))
        figure.text(0.012, 1 - 0.1 / height, page.title, va="top", fontsize=11, fontweight="bold", color=INK)
        for number, line in enumerate(lines):
            figure.text(0.012, 1 - (0.33 + 0.17 * number) / height, line, va="top", fontsize=8, color=INK)
        axis = figure.add_axes((0, 0.06 / height, 1, 1 - (text + 0.06) / height))
        _draw_header(axis, columns)
        for place, row in enumerate(page.rows):
            _draw_row(axis, row, place * step, columns)
        axis.set_xlim(-LABELS / unit, right)
        axis.set_ylim(len(page.rows) * step, -HEADER)
        axis.set_axis_off()
    return figure


@dataclass(frozen=True)
class Column:
    """A column of images: its name, the group over it (of columns next to each other), and its left edge."""

    name: str
    group: str
    left: float  # in sides of an image

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + 1


def _columns(page: ViewPage, row: ViewRow) -> list[Column]:
    """A column for each given frame and for each tile of each draw."""
    found, left = [], 0.0
    for name in page.given:
        found.append(Column(name, "", left))
        left += 1 + GAP
    for number, views in enumerate(row.draws, 1):
        left += GROUP_GAP - GAP
        large, small = _by_size(views)
        names = [f"view {place}" for place in range(1, len(large) + 1)] if len(views) > 1 else [""]
        for name in [*names, *["local crops"] * math.ceil(len(small) / _side(views) ** 2)]:
            found.append(Column(name, f"draw {number}", left))
            left += 1 + GAP
    return found


def _draw_header(axis: Axes, columns: list[Column]) -> None:
    named = any(column.group and column.name for column in columns)
    for column in columns:
        axis.text(column.left + 0.5, -0.05, column.name, ha="center", va="bottom", fontsize=8, color=INK)
    for group in dict.fromkeys(column.group for column in columns if column.group):
        own = [column for column in columns if column.group == group]
        left, right = own[0].left, own[-1].right
        axis.text((left + right) / 2, -0.21 if named else -0.05, group, ha="center", va="bottom", fontsize=8, color=INK)
        if named:
            axis.plot([left, right], [-0.19, -0.19], color=MUTED, linewidth=0.6)


def _draw_row(axis: Axes, row: ViewRow, top: float, columns: list[Column]) -> None:
    axis.annotate(
        row.name, (0, top + 0.5), xytext=(-5, 0), textcoords="offset points", ha="right", va="center", fontsize=6.5
    )
    places = iter(columns)
    for image, words in row.given:
        left = next(places).left
        _show(axis, image, left, top, 1.0)
        axis.text(left + 0.5, top + 1.02, words, ha="center", va="top", fontsize=7, color=MUTED)
    for views in row.draws:
        large, small = _by_size(views)
        for image in large:
            _show(axis, image, next(places).left, top, 1.0)
        side = _side(views)
        for first in range(0, len(small), side**2):
            _show_small(axis, small[first : first + side**2], len(large[0]), side, next(places).left, top)


def _show_small(axis: Axes, images: list[np.ndarray], size: int, side: int, left: float, top: float) -> None:
    """Small images in rows of `side` in the place of one large image of `size` pixels, and a little less than their
    share of it, so that a gap stays between them.
    """
    scale = min(len(images[0]) / size, (1 - GAP * (side - 1) / 2) / side)
    pitch = (1 - scale) / max(1, side - 1)
    rows = math.ceil(len(images) / side)
    top += (1 - (scale + pitch * (rows - 1))) / 2
    for number, image in enumerate(images):
        down, along = divmod(number, side)
        _show(axis, image, left + along * pitch, top + down * pitch, scale)


def _show(axis: Axes, image: np.ndarray, left: float, top: float, side: float) -> None:
    box = (left, left + side, top + side, top)
    axis.imshow(image, cmap="gray", vmin=0, vmax=1, extent=box, interpolation="antialiased", aspect="auto")


def _by_size(views: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The views that are as large as the first, and the others."""
    return [v for v in views if len(v) == len(views[0])], [v for v in views if len(v) != len(views[0])]


def _side(views: list[np.ndarray]) -> int:
    """How many small views fit side by side into the place of a large one."""
    small = _by_size(views)[1]
    return max(1, len(views[0]) // len(small[0])) if small else 1
