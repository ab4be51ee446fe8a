"""Method by label fraction: macro-F1 on the left, the gain over the init's own untrained backbone on the right."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_zoo.analysis.looks import Starts, looks_of, start_order, starts_in
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import mode_label, mode_order, new_figure, number, percent, styled, text_on

SIGNIFICANT = 0.05


def heat_map(table: pd.DataFrame, cohort: str, starts: Starts | None = None) -> Figure:
    """A pair of heat maps per mode. Bold gains are significant (paired patient bootstrap, Holm-corrected, p < 0.05)."""
    table = pick(table, cohort=cohort)
    starts = looks_of(table) if starts is None else starts
    order, modes = start_order(starts, starts_in(table)), mode_order(table["mode"])
    several = len({start[1] for start in order}) > 1
    names = [f"{starts[start].name} · {start[1]}" if several else starts[start].name for start in order]
    fractions = sorted(table["fraction"].unique())
    gap = float(np.nanmax(np.abs(table["difference"]))) if table["difference"].notna().any() else 0.1
    with styled():
        width = max(0.62 * len(fractions), 2.1)
        figure = new_figure(
            2 * width + 1.2 + 0.085 * max(map(len, names)), (0.3 * len(order) + 0.85) * len(modes) + 0.3
        )
        axes = figure.subplots(len(modes), 2, squeeze=False, gridspec_kw={"hspace": 0.06})
        for mode, (left, right) in zip(modes, axes, strict=True):
            own = pick(table, mode=mode)
            value, difference, p_holm = (_grid(own, order, fractions, c) for c in ("f1_macro", "difference", "p_holm"))
            _heat(left, value, "viridis", 0.0, 1.0, False, np.zeros_like(value, bool))
            _heat(right, difference, "PuOr_r", -gap, gap, True, p_holm < SIGNIFICANT)
            left.set_title(f"{mode_label(mode)}: macro-F1")
            right.set_title("gain over untrained")
            for axis in (left, right):
                axis.set_xticks(range(len(fractions)), [percent(f) for f in fractions])
            left.set_yticks(range(len(order)), names)
            right.set_yticks([])
            for axis in axes[-1]:
                axis.set_xlabel("labelled fraction")
    return figure


def _grid(table: pd.DataFrame, order: list[tuple[str, str]], fractions: list[float], column: str) -> np.ndarray:
    wide = table.pivot_table(index=["init", "backbone"], columns="fraction", values=column, dropna=False)
    return wide.reindex(index=pd.MultiIndex.from_tuples(order), columns=fractions).to_numpy(float)


def _heat(axis: Axes, values: np.ndarray, name: str, low: float, high: float, sign: bool, bold: np.ndarray) -> None:
    colours = matplotlib.colormaps[name].with_extremes(bad="#F4F5F7")
    axis.imshow(np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="auto", interpolation="none")
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
            text = number(float(value), sign=sign)
            ink = text_on(colours((value - low) / (high - low or 1)))
            weight = "bold" if bold[row, column] else "normal"
            axis.text(column, row, text, ha="center", va="center", fontsize=8, color=ink, fontweight=weight)
