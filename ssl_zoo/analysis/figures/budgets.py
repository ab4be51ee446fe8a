"""What each pre-training was given and what it took: the fairness of the comparison in one look."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ssl_zoo.analysis.style import PretrainingKey, looks, new_figure, styled

COLUMNS = {
    "frames_seen": "frames seen",
    "views_seen": "views seen",
    "forward_passes": "forward passes",
    "steps": "optimiser steps",
    "seconds": "time, s",
    "peak_memory_mb": "peak memory, MB",
}


def budget_table(budgets: Mapping[PretrainingKey, Mapping[str, float]]) -> pd.DataFrame:
    """budget.json of every pre-training as a table with init, backbone, method, seed; what a budget lacks is NaN."""
    rows = [
        dict(zip(("init", "backbone", "method", "seed"), key, strict=True))
        | {name: budget.get(name) for name in COLUMNS}
        for key, budget in budgets.items()
    ]
    table = pd.DataFrame(rows, columns=["init", "backbone", "method", "seed", *COLUMNS])
    return table.astype(dict.fromkeys(COLUMNS, float))


def budget_bars(table: pd.DataFrame) -> Figure:
    """A panel per quantity with a bar per encoder, from zero."""
    shown = [column for column in COLUMNS if table[column].notna().any()]
    styles = looks(zip(table["init"], table["backbone"], table["method"], strict=True))
    names = budget_names(table)
    keys = list(zip(table["init"], table["backbone"], strict=True))
    with styled():
        figure = new_figure(1.75 * len(shown) + 1.4, 0.27 * len(table) + 0.85)
        axes = figure.subplots(1, max(1, len(shown)), squeeze=False, sharey=True)[0]
        for column, axis in zip(shown, axes, strict=True):
            place = np.arange(len(table))
            axis.barh(place, table[column].fillna(0), color=[styles[key].colour for key in keys], height=0.68)
            axis.set_title(COLUMNS[column], fontsize=9, fontweight="normal")
            axis.set_yticks(place, names)
            axis.tick_params(axis="y", length=0)
            axis.grid(axis="y", visible=False)
            axis.locator_params(axis="x", nbins=3)
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.spines["left"].set_visible(False)
        axes[0].invert_yaxis()
    return figure


def budget_names(table: pd.DataFrame) -> list[str]:
    """The inits in words, with the seed where one was pre-trained with several."""
    styles = looks(zip(table["init"], table["backbone"], table["method"], strict=True))
    several = table.duplicated(["init", "backbone"], keep=False)
    return [
        styles[row["init"], row["backbone"]].label + (f", seed {row['seed']}" if many else "")
        for row, many in zip(table.to_dict("records"), several, strict=True)
    ]
