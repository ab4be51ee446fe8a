"""Labels saved: the fraction at which each init reaches the full-label score of its untrained backbone."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_zoo.analysis.labels_saved import AT_SMALLEST, NOT_REACHED
from ssl_zoo.analysis.looks import Look, Starts, looks_of, start_order, starts_in
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import MUTED, RULE, cohort_order, mode_order, new_figure, panel_title, percent, styled

TICKS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
FEW = (0.01, 0.05, 0.25)  # in narrow panels


def labels_saved_chart(saved: pd.DataFrame, starts: Starts | None = None) -> Figure | None:
    """A panel per mode (column) and cohort (row), an init per line: its fraction and 95 % interval, on a log axis.

    An arrow to the left: reached at the smallest fraction already. In the grey strip on the right: not reached.
    `saved`: of `labels_saved.labels_saved`; None where it is empty.
    """
    if saved.empty:
        return None
    starts = looks_of(saved) if starts is None else starts
    order = start_order(starts, starts_in(saved))
    modes, cohorts = mode_order(saved["mode"]), cohort_order(saved["cohort"])
    names = [starts[start].label for start in order]
    with styled():
        height = (0.24 * len(order) + 0.75) * len(cohorts) + 0.35
        figure = new_figure(min(3.3 * len(modes), 10.0) + 0.4 + 0.085 * max(map(len, names)), height)
        axes = figure.subplots(len(cohorts), len(modes), squeeze=False, sharey=True)
        for cohort, line in zip(cohorts, axes, strict=True):
            for mode, axis in zip(modes, line, strict=True):
                _panel(axis, pick(saved, mode=mode, cohort=cohort), order, starts, FEW if len(modes) > 2 else TICKS)
                axis.set_title(panel_title(mode, cohort, len(modes)))
            line[0].set_yticks(range(len(order)), names)
            line[0].set_ylim(len(order) - 0.5, -0.5)
        for axis in axes[-1]:
            axis.set_xlabel("labelled fraction needed")
    return figure


def _panel(
    axis: Axes, rows: pd.DataFrame, order: list[tuple[str, str]], starts: Starts, fractions: tuple[float, ...]
) -> None:
    axis.grid(False)
    axis.tick_params(axis="y", length=0)
    if rows.empty:
        axis.text(0.5, 0.5, "not run", transform=axis.transAxes, ha="center", color=MUTED)
        axis.set_xticks([])
        return
    smallest, largest = float(rows["smallest"].min()), float(rows["target_fraction"].max())
    step = (largest / smallest) ** 0.09  # the widths below are parts of the axis
    edge, beyond = largest * step, largest * step**2.2
    axis.set_xscale("log")
    axis.axvspan(edge, beyond * step, color=RULE, alpha=0.45, linewidth=0)
    axis.axvline(largest, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    for place, start in enumerate(order):
        axis.axhline(place, color=RULE, linewidth=0.6, zorder=0)
        for row in pick(rows, init=start[0], backbone=start[1]).to_dict("records"):
            _line(axis, place, row, starts[start], beyond, step)
    axis.set_xlim(smallest / step**1.3, beyond * step)
    ticks = [tick for tick in fractions if smallest <= tick < largest / step**0.9]
    ticks = ticks if ticks and ticks[0] == smallest else [smallest, *(t for t in ticks if t > smallest * step)]
    axis.set_xticks([*ticks, largest, beyond], [*map(percent, ticks), percent(largest), "not\nreached"], minor=False)
    axis.set_xticks([], minor=True)


def _line(axis: Axes, place: int, row: dict, look: Look, beyond: float, step: float) -> None:
    at = beyond if row["state"] == NOT_REACHED else float(row["fraction"])
    if not np.isnan(row["low"]):
        low, high = (beyond if math.isinf(end) else end for end in (row["low"], row["high"]))
        axis.hlines(place, low, high, color=look.colour, linewidth=2.4, alpha=0.4)
    hollow = {"markerfacecolor": "white", "markeredgecolor": look.colour, "markeredgewidth": 1.4}
    filled = {"markerfacecolor": look.colour, "markeredgecolor": "white", "markeredgewidth": 0.6}
    style = hollow if row["state"] == NOT_REACHED else filled
    axis.plot(at, place, marker=look.marker, markersize=7, linestyle="", clip_on=False, zorder=3, **style)
    if row["state"] == AT_SMALLEST:
        arrow = {"arrowstyle": "-|>,head_width=0.22,head_length=0.35", "color": look.colour, "linewidth": 1.2}
        axis.annotate("", (at / step**1.15, place), (at, place), arrowprops=arrow | {"shrinkA": 4, "shrinkB": 0})
