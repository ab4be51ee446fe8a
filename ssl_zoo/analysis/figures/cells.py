"""Coloured cells that carry their numbers: what the heat map and the rank chart share."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from ssl_zoo.analysis.style import text_on

EMPTY = "#F4F5F7"


def draw_cells(
    axis: Axes,
    values: np.ndarray,
    colours: str,
    limits: tuple[float, float],
    write: Callable[[float], str],
    bold: np.ndarray | None = None,
) -> None:
    """Fill an axis with cells `[rows, columns]`; NaN stays an empty cell, `write` gives the text of the others.

    `colours`: a matplotlib colour map over `limits`. `bold` `[rows, columns]`: which texts are set in bold.
    """
    low, high = limits
    scale = matplotlib.colormaps[colours].with_extremes(bad=EMPTY)
    axis.imshow(np.ma.masked_invalid(values), cmap=scale, vmin=low, vmax=high, aspect="auto", interpolation="none")
    axis.grid(False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    # white lines between the cells
    axis.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    axis.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    axis.grid(True, which="minor", color="white", linewidth=1.5)
    axis.tick_params(which="minor", length=0)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            ink = text_on(scale((value - low) / (high - low or 1)))
            weight = "bold" if bold is not None and bold[row, column] else "normal"
            text = write(float(value))
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color=ink, fontweight=weight)
