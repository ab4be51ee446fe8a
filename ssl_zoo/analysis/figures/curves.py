"""Label-efficiency curves: how macro-F1 grows with labels, and what pre-training adds at each fraction."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssl_zoo.analysis.figures.fractions import draw_curve, fraction_axis
from ssl_zoo.analysis.figures.variants import mode_legend, variant_panels
from ssl_zoo.analysis.looks import Starts, has_variants, looks_of, start_order, starts_in
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import MUTED, cohort_order, mode_order, new_figure, panel_title, styled


def label_efficiency(table: pd.DataFrame, starts: Starts | None = None) -> Figure:
    """Macro-F1 against the labelled fraction: a panel per mode (column) and cohort (row), bands 95 % over patients.

    A study with variants has a panel per method instead, with whiskers. `table`: the table of `statistics.Estimates`;
    `starts`: the looks of the whole run (None: those of the table).
    """
    starts = looks_of(table) if starts is None else starts
    order = start_order(starts, starts_in(table))
    if has_variants({start: starts[start] for start in order}):
        return variant_panels(table, starts, "f1_macro", ("low", "high"), "macro-F1")
    modes, cohorts = mode_order(table["mode"]), cohort_order(table["cohort"])
    with styled():
        figure = new_figure(min(4.3 * len(modes), 12.0) + 2.1, 3.3 * len(cohorts) + 0.5)
        axes = figure.subplots(len(cohorts), len(modes), squeeze=False, sharey=True)
        for cohort, row in zip(cohorts, axes, strict=True):
            for mode, axis in zip(modes, row, strict=True):
                panel = pick(table, mode=mode, cohort=cohort)
                for start in order:
                    curve = pick(panel, init=start[0], backbone=start[1])
                    draw_curve(axis, curve, "f1_macro", ("low", "high"), starts[start], mode)
                axis.set_title(panel_title(mode, cohort, len(modes)))
                fraction_axis(axis, panel)
        for axis in axes[:, 0]:
            axis.set_ylabel("macro-F1")
        for axis in axes[-1]:
            axis.set_xlabel("labelled fraction, and patients below it")
        backbone_legend(figure, {start: starts[start] for start in order}, modes[0])
    return figure


def gains(table: pd.DataFrame, cohort: str, starts: Starts | None = None) -> Figure:
    """What each init adds to the untrained network of its own backbone: a panel per init, a line per mode.

    Bands are 95 % intervals of the paired difference over patients; a band that leaves the zero line aside is better
    (or worse) than no pre-training there, before correction for many comparisons. A study with variants has a panel per
    method, with whiskers.
    """
    table = pick(table, cohort=cohort).dropna(subset="difference")
    starts = looks_of(table) if starts is None else starts
    order, modes = start_order(starts, starts_in(table)), mode_order(table["mode"])
    bounds = ("difference_low", "difference_high")
    if has_variants({start: starts[start] for start in order}):
        return variant_panels(table, starts, "difference", bounds, "gain in macro-F1", zero=True)
    columns = min(4, max(1, len(order)))
    rows = max(1, math.ceil(len(order) / columns))
    with styled():
        figure = new_figure(2.6 * columns + 0.6, 2.35 * rows + 0.6)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for start, axis in zip(order, axes, strict=False):
            own = pick(table, init=start[0], backbone=start[1])
            for mode in modes:
                draw_curve(axis, pick(own, mode=mode), "difference", bounds, starts[start], mode, band=0.16)
            axis.axhline(0, color=MUTED, linewidth=1)
            axis.set_title(starts[start].name)
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
        mode_legend(figure, modes)
    return figure


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
                labels.append(look.name)
    legend = figure.legend(handles, labels, loc="outside right upper", handlelength=2.8, borderaxespad=0.8)
    for text in legend.get_texts():
        if text.get_text() in {start[1] for start in starts}:
            text.set_fontweight("bold")
            text.set_position((-28, 0))
