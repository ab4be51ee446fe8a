"""What each pre-training was given and what it took: the fairness of the comparison in one look."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from ssl_zoo.analysis.looks import PretrainingKey, Starts, looks_of, start_order
from ssl_zoo.analysis.style import MUTED, new_figure, styled

COLUMNS = {
    "frames_seen": "frames seen",
    "views_seen": "views seen",
    "forward_passes": "forward passes",
    "steps": "optimiser steps",
    "seconds": "time,\u00a0s",
    "peak_memory_mb": "peak memory,\u00a0MB",
}
MORE = ("batch_size", "share_without_neighbour", "collapsed_at_step")  # in the table, not drawn


def budget_table(budgets: Mapping[PretrainingKey, Mapping[str, float]], starts: Starts | None = None) -> pd.DataFrame:
    """budget.json of every pre-training as a table with init, backbone, method, seed; what a budget lacks is NaN.

    In the order in which inits are listed everywhere.
    """
    names = ("init", "backbone", "method", "seed")
    rows = [
        dict(zip(names, key, strict=True)) | {name: budget.get(name) for name in (*COLUMNS, *MORE)}
        for key, budget in budgets.items()
    ]
    table = pd.DataFrame(rows, columns=[*names, *COLUMNS, *MORE]).astype(dict.fromkeys((*COLUMNS, *MORE), float))
    starts = looks_of(table) if starts is None else starts
    places = {start: place for place, start in enumerate(start_order(starts))}
    order = [places[start] for start in zip(table["init"], table["backbone"], strict=True)]
    return table.assign(_place=order).sort_values(["_place", "seed"]).drop(columns="_place").reset_index(drop=True)


def budget_bars(table: pd.DataFrame, starts: Starts | None = None) -> Figure:
    """A panel per quantity with a bar per encoder, from zero, and its number."""
    shown = [column for column in COLUMNS if table[column].notna().any()]
    starts = looks_of(table) if starts is None else starts
    keys, names = list(zip(table["init"], table["backbone"], strict=True)), budget_names(table, starts)
    write = EngFormatter(sep="", places=None)
    with styled():
        left = 0.35 + 0.075 * max(map(len, names), default=0)
        figure = new_figure(min(1.45 * len(shown) + left, 10.1), 0.25 * len(table) + 0.75)
        axes = figure.subplots(1, max(1, len(shown)), squeeze=False, sharey=True)[0]
        for column, axis in zip(shown, axes, strict=True):
            place, values = np.arange(len(table)), table[column].fillna(0).to_numpy()
            axis.barh(place, values, color=[starts[key].colour for key in keys], height=0.7)
            for at, value in enumerate(table[column]):
                text = write(float(f"{value:.3g}")) if np.isfinite(value) else "–"
                axis.annotate(
                    text, (values[at], at), (3, 0), textcoords="offset points", va="center", fontsize=7, color=MUTED
                )
            axis.set_title(COLUMNS[column], fontsize=9, fontweight="normal")
            axis.set_yticks(place, names)
            axis.tick_params(axis="both", length=0, labelbottom=False)
            axis.grid(visible=False)
            axis.set_xlim(0, 1.42 * max(values.max(initial=0), 1e-9))  # room for the number
            axis.spines["bottom"].set_visible(False)
        axes[0].set_ylim(len(table) - 0.4, -0.6)
    return figure


def budget_names(table: pd.DataFrame, starts: Starts | None = None) -> list[str]:
    """The inits in words, with the seed where one was pre-trained with several."""
    starts = looks_of(table) if starts is None else starts
    several = table.duplicated(["init", "backbone"], keep=False)
    return [
        starts[row["init"], row["backbone"]].label + (f", seed {row['seed']}" if many else "")
        for row, many in zip(table.to_dict("records"), several, strict=True)
    ]
