"""Every two inits against each other: differences in macro-F1 as a matrix, those that are significant in bold."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis.figures.cells import draw_cells
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.statistics import START, pick
from ssl_zoo.analysis.style import mode_order, mode_title, new_figure, number, percent, styled

SIGNIFICANT = 0.05


def pairwise_matrices(
    points: pd.DataFrame, pairs: pd.DataFrame, fractions: dict[str, float], cohort: str, starts: Starts
) -> Figure | None:
    """A matrix per mode at its fraction: the row's macro-F1 less the column's; the highest score is 1.

    `points`, `pairs`: of `statistics.Estimates`; `fractions`: the label fraction by mode. Bold: p < 0.05, corrected by
    Holm over all pairs of the matrix. None without a pair.
    """
    modes = mode_order(mode for mode, fraction in fractions.items() if len(_of(pairs, mode, fraction, cohort)))
    if not modes:
        return None
    gap = float(np.nanmax(np.abs(pairs["difference"].to_numpy(float)))) or 0.1
    sizes, orders = [], []
    for mode in modes:
        own = _of(points, mode, fractions[mode], cohort).sort_values("f1_macro", ascending=False, kind="stable")
        orders.append([(str(init), str(backbone)) for init, backbone in own[START].itertuples(index=False, name=None)])
        sizes.append(len(own))
    longest = max(len(starts[start].label) for order in orders for start in order)
    side, names = 0.43 * max(sizes), 0.075 * longest + 0.25
    with styled():
        across = len(modes) if len(modes) * (side + names) < 11 else 1
        down = -(-len(modes) // across)
        figure = new_figure(across * (side + names + 0.35) + 0.2, down * (0.27 * max(sizes) + 0.65) + 0.1)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis, mode, order in zip(axes, modes, orders, strict=False):
            difference, significant = _matrix(_of(pairs, mode, fractions[mode], cohort), order)
            draw_cells(axis, difference, "PuOr_r", (-gap, gap), partial(number, sign=True), significant)
            axis.set_xticks(range(len(order)), [str(place + 1) for place in range(len(order))])
            axis.set_yticks(range(len(order)), [f"{starts[start].label}   {i + 1}" for i, start in enumerate(order)])
            axis.set_title(f"{mode_title(mode)}, {percent(fractions[mode])} of the labels")
        for axis in axes[len(modes) :]:
            axis.set_visible(False)
    return figure


def _of(table: pd.DataFrame, mode: str, fraction: float, cohort: str) -> pd.DataFrame:
    return pick(table, mode=mode, fraction=fraction, cohort=cohort)


def _matrix(pairs: pd.DataFrame, order: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Differences `[n, n]` (row less column, NaN on the diagonal), and which of them are significant."""
    place = {start: index for index, start in enumerate(order)}
    difference, significant = np.full((len(order),) * 2, np.nan), np.zeros((len(order),) * 2, bool)
    for row in pairs.to_dict("records"):
        i, j = place[row["init"], row["backbone"]], place[row["other"], row["other_backbone"]]
        difference[i, j], difference[j, i] = row["difference"], -row["difference"]
        significant[i, j] = significant[j, i] = row["p_holm"] < SIGNIFICANT
    return difference, significant
