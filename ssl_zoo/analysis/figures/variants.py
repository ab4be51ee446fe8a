"""Small multiples for studies with variants: a panel for each method, in which its variants are told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssl_zoo.analysis.figures.fractions import draw_curve, fraction_axis
from ssl_zoo.analysis.looks import Look, Start, Starts, shade, start_order, starts_in
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import (
    MODE_LINES,
    MUTED,
    VARIANT_MARKERS,
    cohort_order,
    mode_label,
    mode_order,
    new_figure,
    styled,
)

COLUMNS = 4
STEP = 0.085  # by which neighbouring variants are moved apart, in units of the logarithm of the fraction, at most
SPREAD = 0.6  # of the way to the next fraction may be taken by all variants of one

Family = tuple[str, str]  # what variants have in common: the method in words, and the backbone


def families(starts: Starts, only: Sequence[Start]) -> dict[Family, list[Start]]:
    """The inits of each method on each backbone, without the baselines, in order."""
    found: dict[Family, list[Start]] = {}
    for start in start_order(starts, only):
        look = starts[start]
        if not look.baseline:
            found.setdefault((look.family, look.backbone), []).append(start)
    return found


def variant_panels(
    table: pd.DataFrame, starts: Starts, column: str, bounds: tuple[str, str], words: str, *, zero: bool = False
) -> Figure:
    """Curves over label fractions, a panel per method, in rows for each mode and cohort.

    `column` with its interval `bounds` is drawn, and named `words`; `zero` adds the line at 0. Every panel holds the
    untrained network of its backbone where the table has it.
    """
    groups = families(starts, starts_in(table))
    several = len({backbone for _, backbone in groups}) > 1
    blocks = [(mode, cohort) for cohort in cohort_order(table["cohort"]) for mode in mode_order(table["mode"])]
    columns = min(COLUMNS, len(groups))
    deep = math.ceil(len(groups) / columns)  # rows of panels in a block
    with styled():
        figure = new_figure(max(2.9 * columns + 0.7, 6.0), (2.55 * deep + 0.25) * len(blocks) + 0.7)
        parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
        axes = []
        for (mode, cohort), part in zip(blocks, parts, strict=True):
            part.suptitle(f"{mode_label(mode)}, {cohort} test cohort", x=0.01, ha="left", fontsize=10, color=MUTED)
            own = part.subplots(deep, columns, squeeze=False, sharex=True, sharey=True)
            rows = pick(table, mode=mode, cohort=cohort)
            for index, (group, axis) in enumerate(zip(groups, own.ravel(), strict=False)):
                _panel(axis, rows, starts, groups[group], column, bounds, mode)
                if zero:
                    axis.axhline(0, color=MUTED, linewidth=1)
                axis.set_title(group[0])
                axis.set_title(group[1] if several else "", loc="right", fontsize=7, fontweight="normal", color=MUTED)
                fraction_axis(axis, rows, patients=False)
                axis.xaxis.set_tick_params(labelbottom=index + columns >= len(groups))
                if index + columns >= len(groups) and (mode, cohort) == blocks[-1]:
                    axis.set_xlabel("labelled fraction")
                if index % columns == 0:
                    axis.set_ylabel(words)
                axes.append(axis)
            for axis in own.ravel()[len(groups) :]:
                axis.set_visible(False)
        low, high = min(a.get_ylim()[0] for a in axes), max(a.get_ylim()[1] for a in axes)
        for axis in axes:
            axis.set_ylim(low, high)  # one scale for all blocks
        baseline = any(starts[start].baseline for start in starts_in(table))
        variant_legend(figure, starts, [start for group in groups.values() for start in group], baseline=baseline)
    return figure


def _panel(
    axis: Axes,
    rows: pd.DataFrame,
    starts: Starts,
    group: list[Start],
    column: str,
    bounds: tuple[str, str],
    mode: str,
) -> None:
    for start, look in starts.items():
        if look.baseline and start[1] == group[0][1]:
            draw_curve(axis, pick(rows, init=start[0], backbone=start[1]), column, bounds, look, mode, band=0.13)
    step = _step(rows["fraction"].unique().tolist(), len(group))
    for index, start in enumerate(group):
        shift = step * (index - (len(group) - 1) / 2)
        curve = pick(rows, init=start[0], backbone=start[1])
        draw_curve(axis, curve, column, bounds, starts[start], mode, shift=shift)


def _step(fractions: list[float], variants: int) -> float:
    """How far neighbouring variants are moved apart: the points of one fraction stay clear of those of the next."""
    logs = sorted(map(math.log, fractions))
    gap = min((high - low for low, high in pairwise(logs)), default=math.inf)
    return min(STEP, SPREAD * gap / max(1, variants - 1))


def variant_legend(figure: Figure, starts: Starts, shown: Sequence[Start], *, baseline: bool = False) -> None:
    """A legend of the variants below the panels, in grey: shade and marker, which are the same for all methods."""
    places = {starts[start].variant: starts[start].place for start in shown if starts[start].variant}
    count = 1 + max(places.values(), default=0)
    handles = [
        Line2D(
            [],
            [],
            color=shade("#808080", place, count) if count > 1 else MUTED,
            marker=VARIANT_MARKERS[place % len(VARIANT_MARKERS)],
            markeredgecolor="white",
        )
        for place in sorted(places.values())
    ]
    labels = sorted(places, key=lambda variant: places[variant])
    if baseline:
        look = Look("#7A7A7A", ".", "", "", "", baseline=True)
        handles.append(Line2D([], [], color=look.colour, linestyle=look.line("linear"), marker=look.marker))
        labels.append("untrained (random)")
    wide = 0.6 + 0.07 * max(map(len, labels), default=0)  # of an entry, in inches
    columns = max(1, min(6, len(labels), int(figure.get_figwidth() / wide)))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=2.8)


def mode_legend(figure: Figure, modes: Sequence[str]) -> None:
    """A legend of the line styles of modes, below the panels."""
    lines = [Line2D([], [], color=MUTED, linestyle=MODE_LINES.get(mode, "-")) for mode in modes]
    labels = [mode_label(mode) for mode in modes]
    figure.legend(lines, labels, loc="outside lower center", ncols=len(modes), handlelength=3.5)
