"""Confusion matrices as small multiples: which planes are taken for which, per init at one label fraction."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis.counts import read_cohort
from ssl_zoo.analysis.looks import Starts, looks_of, start_order, starts_in
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import MUTED, mode_title, new_figure, percent, short, styled, text_on

PRINTED = 8  # up to this many classes the cells carry their numbers
LONGEST = 24  # letters of a class's name; of longer ones the middle is left out
ROOM = 8  # letters that the margins have room for; where names are longer, columns are numbered
LETTER = 0.075  # inches


def confusion_matrices(
    results: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    mode: str,
    fraction: float,
    cohort: str,
    starts: Starts | None = None,
) -> Figure:
    """One matrix per init, in per cent of each true class, all seeds and folds together."""
    results = pick(results, mode=mode, fraction=fraction, cohort=cohort)
    starts = looks_of(results) if starts is None else starts
    order, tested = start_order(starts, starts_in(results)), read_cohort(predictions, cohort)
    classes = tested.classes
    widest = min(3 if len(classes) > 5 else 5, max(1, len(order)))
    # fewest empty places, then widest
    columns = min(range(min(3, widest), widest + 1), key=lambda n: (-len(order) % n, -n))
    rows = max(1, math.ceil(len(order) / columns))
    side = max(1.9, 0.38 * len(classes) + 0.5)
    names, columns_named = [short(name, LONGEST) for name in classes], list(classes)
    more = LETTER * max(0, max(map(len, names), default=0) - ROOM)
    if more:
        columns_named = [str(place) for place, _ in enumerate(names, start=1)]
        names = [f"{name}  {number}" for name, number in zip(names, columns_named, strict=True)]
    colours = matplotlib.colormaps["Blues"]
    with styled():
        figure = new_figure(side * columns + 0.9 + more, (side + 0.35) * rows + 0.7)
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axis in axes[len(order) :]:
            axis.set_visible(False)
        for index, start in enumerate(order):
            axis = axes[index]
            own = pick(results, init=start[0], backbone=start[1])
            counts = tested.confusion([cell for cell in own["cell"] if cell in tested.rows_of])
            totals = counts.sum(1, keepdims=True)
            share = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
            axis.imshow(np.ma.masked_invalid(share), cmap=colours, vmin=0, vmax=1, interpolation="none")
            axis.grid(False)
            axis.tick_params(length=0)
            axis.set_title(starts[start].name, fontsize=9)
            axis.set_title(
                start[1] if starts[start].shared else "", loc="right", fontsize=7, fontweight="normal", color=MUTED
            )
            axis.set_xticks(range(len(classes)), columns_named, rotation=0 if more else 90)
            axis.set_yticks(range(len(classes)), names)
            if index + columns >= len(order):
                axis.xaxis.set_tick_params(labelbottom=True)
            for spine in axis.spines.values():
                spine.set_visible(True)
            if len(classes) <= PRINTED:
                for (row, column), value in np.ndenumerate(share):
                    if np.isfinite(value) and round(100 * value) > 0:
                        ink = text_on(colours(value))
                        axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
        figure.supxlabel("predicted class", fontsize=9, color=MUTED)
        figure.supylabel("true class", fontsize=9, color=MUTED)
        title = f"{mode_title(mode)}, {percent(fraction)} of the labels, {cohort} test cohort; % of each true class"
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    return figure


def confusion_table(
    results: pd.DataFrame, predictions: pd.DataFrame, *, mode: str, fraction: float, cohort: str
) -> pd.DataFrame:
    """The counts of the matrices: init, backbone, mode, fraction, cohort, true, predicted, images (over all cells)."""
    results = pick(results, mode=mode, fraction=fraction, cohort=cohort)
    tested = read_cohort(predictions, cohort)
    rows = []
    for init, backbone in starts_in(results):
        own = pick(results, init=init, backbone=backbone)
        counts = tested.confusion([cell for cell in own["cell"] if cell in tested.rows_of])
        for (true, predicted), images in np.ndenumerate(counts):
            classes = (tested.classes[true], tested.classes[predicted])
            rows.append((init, backbone, mode, fraction, cohort, *classes, int(images)))
    columns = ["init", "backbone", "mode", "fraction", "cohort", "true", "predicted", "images"]
    return pd.DataFrame(rows, columns=columns)
