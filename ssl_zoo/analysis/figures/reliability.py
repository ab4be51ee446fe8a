"""Reliability diagrams: how often predictions are right (upwards) by how sure the classifier was (to the right)."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssl_zoo.analysis.calibration import BINS
from ssl_zoo.analysis.looks import Starts, looks_of, start_order, starts_in
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import INK, MUTED, mode_title, new_figure, percent, styled

PALE = 0.4  # opacity of the curve with few labels
FEWEST = 5  # patients; a bin with fewer is not drawn


def reliability_diagrams(
    table: pd.DataFrame, errors: dict[tuple[str, str, float], float], starts: Starts | None = None
) -> Figure:
    """A panel per init, a curve per fraction: pale with few labels, dark with the most; dots grow with their images.

    `table`: of `calibration.reliability_table`, of one mode and cohort and one or two fractions. `errors`: the expected
    calibration error by (init, backbone, fraction), which the panels print. Bars: 95 % over patients.
    """
    starts = looks_of(table) if starts is None else starts
    order, fractions = start_order(starts, starts_in(table)), sorted(set(table["fraction"]))
    columns = min(5, len(order))
    columns = min(range(min(3, columns), columns + 1), key=lambda n: (-len(order) % n, -n))
    rows = math.ceil(len(order) / columns)
    with styled():
        figure = new_figure(1.95 * columns + 0.7, 2.1 * rows + 0.85)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axis in axes[len(order) :]:
            axis.set_visible(False)
        for index, (start, axis) in enumerate(zip(order, axes, strict=False)):
            look, own = starts[start], pick(table, init=start[0], backbone=start[1])
            axis.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
            told = []
            for fraction in fractions:
                most = fraction == fractions[-1]
                curve = pick(own, fraction=fraction).sort_values("bin")
                curve = curve.loc[curve["n_patients"] >= FEWEST]
                if (error := errors.get((*start, fraction))) is not None:
                    told.append(f"{percent(fraction)}: {error:.2f}")
                if curve.empty:
                    continue
                alpha = 1.0 if most else PALE
                x, y = curve["confidence"], curve["accuracy"]
                axis.plot(x, y, color=look.colour, alpha=alpha, linewidth=1.3, zorder=3)
                size = 4 + 60 * curve["n_images"] / curve["n_images"].sum()
                axis.scatter(x, y, s=size, color=look.colour, alpha=alpha, linewidth=0, zorder=4, clip_on=False)
                axis.vlines(x, curve["low"], curve["high"], color=look.colour, alpha=0.45 * alpha, linewidth=1.1)
            words = axis.text(0.97, 0.04, "\n".join(["ECE", *told]), transform=axis.transAxes, fontsize=7, color=INK)
            words.set(ha="right", va="bottom", zorder=5)
            words.set_bbox({"facecolor": "white", "alpha": 0.75, "pad": 1.5, "linewidth": 0})
            axis.set_title(look.name, fontsize=9)
            backbone = start[1] if look.shared else ""
            axis.set_title(backbone, loc="right", fontsize=6.5, fontweight="normal", color=MUTED)
            if index + columns >= len(order):
                axis.xaxis.set_tick_params(labelbottom=True)
        axes[0].set_xlim(0, 1)
        axes[0].set_ylim(0, 1)
        axes[0].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes[0].set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        figure.supxlabel(f"confidence ({BINS} bins)", fontsize=9, color=MUTED)
        figure.supylabel("share that is right", fontsize=9, color=MUTED)
        mode, cohort = table["mode"].iloc[0], table["cohort"].iloc[0]
        figure.suptitle(f"{mode_title(mode)}, {cohort} test cohort", fontsize=10, x=0.01, ha="left")
        if len(fractions) > 1:
            lines = [Line2D([], [], color=INK, alpha=a, marker="o", markersize=4) for a in (PALE, 1.0)]
            names = [f"{percent(fraction)} of the labels" for fraction in (fractions[0], fractions[-1])]
            figure.legend(lines, names, loc="outside upper right", ncols=2, handlelength=2)
    return figure
