"""Macro-F1 of encoders against the number of their pre-training frames, and against how diverse these are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from ssl_zoo.analysis.size_and_diversity import DIVERSITY, SIZE, line
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import COLOURS, INK, LABELS, MARKERS, MUTED, new_figure, styled

PANELS = {
    SIZE: ("frames", "frames in the store"),
    DIVERSITY: ("effective", "effective number of frames (Vendi score)"),
}
FEW_DOUBLINGS = 8  # from the lowest to the highest on an axis


def size_and_diversity(points: pd.DataFrame, fits: pd.DataFrame, baseline: float | None = None) -> Figure:
    """Two panels: macro-F1 against size and against diversity, both on logarithmic axes.

    `points` and `fits` come from `analysis.size_and_diversity`. A point is a store under one method, the mean of its
    pre-training seeds, with a whisker from the lowest to the highest; the line is the regression on that predictor
    alone with its 95 % band over stores, as they drew their scans. `baseline`: macro-F1 of the untrained network.
    """
    methods = [str(method) for method in dict.fromkeys(points["method"])]
    with styled():
        figure = new_figure(9.0, 3.9)
        axes = figure.subplots(1, 2, sharey=True)
        for axis, (predictor, (column, words)) in zip(axes, PANELS.items(), strict=True):
            for method in methods:
                _draw_stores(axis, pick(points, method=method), column, method)
            _draw_lines(axis, points, predictor)
            if baseline is not None:
                axis.axhline(baseline, color=MUTED, linestyle=(0, (2, 2)), linewidth=1.2)
            axis.set_xscale("log", base=2)
            if points[column].max() < FEW_DOUBLINGS * points[column].min():  # powers of 2 would mark it once or twice
                axis.xaxis.set_major_locator(MaxNLocator(6))
                axis.xaxis.set_minor_locator(NullLocator())
            axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:.2g}")
            axis.set_xlabel(words)
            axis.set_title(_words(fits, predictor), fontweight="normal", fontsize=8.5)
        axes[0].set_ylabel("macro-F1, mean over label fractions")
        handles = [
            Line2D([], [], color=COLOURS.get(m, INK), marker=MARKERS.get(m, "o"), linestyle="", markeredgecolor="white")
            for m in methods
        ]
        labels = [LABELS.get(method, method) for method in methods]
        handles.append(Line2D([], [], color=INK))
        labels.append("regression, 95 % band over stores, not draws of scans")
        if baseline is not None:
            handles.append(Line2D([], [], color=MUTED, linestyle=(0, (2, 2))))
            labels.append("untrained (random)")
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_stores(axis: Axes, points: pd.DataFrame, column: str, method: str) -> None:
    """The stores of one method."""
    stores = points.groupby("store", sort=False).agg(
        x=(column, "first"), mean=("f1", "mean"), low=("f1", "min"), high=("f1", "max")
    )
    colour = COLOURS.get(method, INK)
    axis.vlines(stores["x"], stores["low"], stores["high"], color=colour, alpha=0.45, linewidth=1.2, zorder=2)
    marker = MARKERS.get(method, "o")
    axis.plot(stores["x"], stores["mean"], marker, color=colour, markersize=6, markeredgecolor="white", zorder=3)


def _draw_lines(axis: Axes, points: pd.DataFrame, predictor: str) -> None:
    """One slope for all methods, at the height of each."""
    if points[predictor].nunique() < 2:
        return
    grid = np.linspace(points[predictor].min(), points[predictor].max(), 50)
    curves = line(points, predictor, grid) - points["f1"].mean()
    for method, own in points.groupby("method", sort=False):
        mean, low, high = curves + own["f1"].mean()
        colour = COLOURS.get(str(method), INK)
        axis.plot(2**grid, mean, color=colour, linewidth=1.3, zorder=2)
        axis.fill_between(2**grid, low, high, color=colour, alpha=0.1, linewidth=0, zorder=1)


def _words(fits: pd.DataFrame, predictor: str) -> str:
    """The slopes alone and beside the other predictor, in two lines."""
    rows = fits[fits["predictor"] == predictor].set_index("model")
    lines = []
    for model, row in rows.iterrows():
        if not np.isfinite(row["slope"]):
            continue
        slope = f"{row['slope']:+.3f} a doubling [{row['low']:+.3f}, {row['high']:+.3f}]".replace("-", "−")
        lines.append(f"{'beside the other' if model == 'both' else 'alone'}: {slope}, R² {row['r2']:.2f}")
    return "\n".join(lines)
