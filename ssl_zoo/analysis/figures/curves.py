"""Label-efficiency curves: how macro-F1 grows with labels, and what pre-training adds at each fraction."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import MUTED, Look, cohort_order, looks, mode_label, mode_order, new_figure, percent, styled

Starts = dict[tuple[str, str], Look]


def looks_of(table: pd.DataFrame) -> Starts:
    """The look of every init and backbone in a table."""
    method = table["method"] if "method" in table else pd.Series("", index=table.index)
    return looks(zip(table["init"], table["backbone"], method, strict=True))


def start_order(starts: Starts) -> list[tuple[str, str]]:
    """Backbone by backbone, its untrained baseline last."""
    return sorted(starts, key=lambda start: (start[1], starts[start].baseline, starts[start].label.lower()))


def label_efficiency(table: pd.DataFrame) -> Figure:
    """Macro-F1 against the labelled fraction: a panel per mode (column) and cohort (row), bands 95 % over patients.

    `table`: the table of `statistics.Estimates`.
    """
    starts, modes, cohorts = looks_of(table), mode_order(table["mode"]), cohort_order(table["cohort"])
    with styled():
        figure = new_figure(min(4.3 * len(modes), 12.0) + 2.1, 3.3 * len(cohorts) + 0.5)
        axes = figure.subplots(len(cohorts), len(modes), squeeze=False, sharey=True)
        for cohort, row in zip(cohorts, axes, strict=True):
            for mode, axis in zip(modes, row, strict=True):
                panel = pick(table, mode=mode, cohort=cohort)
                for start in start_order(starts):
                    curve = pick(panel, init=start[0], backbone=start[1])
                    _draw(axis, curve.sort_values("fraction"), "f1_macro", ("low", "high"), starts[start], mode)
                axis.set_title(f"{mode_label(mode)}, {cohort} test cohort")
                fraction_axis(axis, panel)
        for axis in axes[:, 0]:
            axis.set_ylabel("macro-F1")
        for axis in axes[-1]:
            axis.set_xlabel("labelled fraction, and patients below it")
        backbone_legend(figure, starts, modes[0])
    return figure


def gains(table: pd.DataFrame, cohort: str) -> Figure:
    """What each init adds to the untrained network of its own backbone: a panel per init, a line per mode.

    Bands are 95 % intervals of the paired difference over patients; a band that leaves the zero line aside is better
    (or worse) than no pre-training there, before correction for many comparisons.
    """
    table = pick(table, cohort=cohort).dropna(subset="difference")
    starts, modes = looks_of(table), mode_order(table["mode"])
    order = start_order(starts)
    columns = min(4, max(1, len(order)))
    rows = max(1, math.ceil(len(order) / columns))
    with styled():
        figure = new_figure(2.6 * columns + 0.6, 2.35 * rows + 0.6)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for start, axis in zip(order, axes, strict=False):
            own = pick(table, init=start[0], backbone=start[1])
            for mode in modes:
                curve = pick(own, mode=mode).sort_values("fraction")
                _draw(axis, curve, "difference", ("difference_low", "difference_high"), starts[start], mode, band=0.16)
            axis.axhline(0, color=MUTED, linewidth=1)
            axis.set_title(starts[start].label.removesuffix(f" · {start[1]}"))
            axis.set_title(start[1], loc="right", fontsize=7, fontweight="normal", color=MUTED)
            fraction_axis(axis, own, patients=False)
        for index, axis in enumerate(axes):
            if index >= len(order):
                axis.set_visible(False)
            elif index + columns >= len(order):  # the lowest panel of its column carries the ticks
                axis.xaxis.set_tick_params(labelbottom=True)
                axis.set_xlabel("labelled fraction")
            if index % columns == 0:
                axis.set_ylabel("gain in macro-F1")
        lines = [Line2D([], [], color=MUTED, linestyle=Look(MUTED, "", "").line(mode)) for mode in modes]
        figure.legend(
            lines, [mode_label(mode) for mode in modes], loc="outside lower center", ncols=len(modes), handlelength=3.5
        )
    return figure


def _draw(
    axis: Axes, curve: pd.DataFrame, column: str, bounds: tuple[str, str], look: Look, mode: str, band: float = 0.09
) -> None:
    if curve.empty:
        return
    x = curve["fraction"].to_numpy(float)
    low, high = (curve[bound].to_numpy(float) for bound in bounds)
    above = 2 if look.baseline else 3
    style = {"color": look.colour, "linestyle": look.line(mode), "marker": look.marker, "zorder": above}
    axis.plot(x, curve[column].to_numpy(float), markeredgecolor="white", markeredgewidth=0.5, **style)
    if len(x) == 1:  # no width to fill
        axis.vlines(x, low, high, color=look.colour, alpha=0.4)
    elif np.isfinite(low).any():
        axis.fill_between(x, low, high, color=look.colour, alpha=band, linewidth=0, zorder=above - 1)


def fraction_axis(axis: Axes, panel: pd.DataFrame, *, patients: bool = True) -> None:
    """A logarithmic axis of label fractions, ticked at the fractions used, with the number of patients below each."""
    axis.set_xscale("log")
    fractions = sorted(panel["fraction"].unique())
    labels = []
    for fraction in fractions:
        label = percent(fraction)
        if patients:
            mean = panel.loc[panel["fraction"] == fraction, "n_train_patients"].mean()
            label += f"\n{mean:.0f}" if np.isfinite(mean) else ""
        labels.append(label)
    axis.set_xticks(fractions, labels, minor=False)
    axis.set_xticks([], minor=True)
    if not patients and len(fractions) > 4:  # narrow panels: every label would touch its neighbour
        kept = {fractions[0], fractions[-1], min(fractions, key=lambda f: abs(math.log(f / 0.1)))}
        axis.set_xticks(fractions, [label if f in kept else "" for f, label in zip(fractions, labels, strict=True)])
    if len(fractions) == 1:
        axis.set_xlim(fractions[0] / 2, fractions[0] * 2)


def backbone_legend(figure: Figure, starts: Starts, mode: str) -> None:
    """A legend beside the panels, one block per backbone, baseline last in its block."""
    handles, labels = [], []
    for backbone in sorted({start[1] for start in starts}):
        if handles:
            handles.append(Line2D([], [], linestyle=""))
            labels.append("")
        handles.append(Line2D([], [], linestyle=""))
        labels.append(backbone)
        for start in start_order(starts):
            if start[1] == backbone:
                look = starts[start]
                style = {"linestyle": look.line(mode), "marker": look.marker, "markeredgecolor": "white"}
                handles.append(Line2D([], [], color=look.colour, **style))
                labels.append(look.label.removesuffix(f" · {backbone}"))
    legend = figure.legend(handles, labels, loc="outside right upper", handlelength=2.8, borderaxespad=0.8)
    for text in legend.get_texts():
        if text.get_text() in {start[1] for start in starts}:
            text.set_fontweight("bold")
            text.set_position((-28, 0))
