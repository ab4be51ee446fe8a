"""Method by label fraction: macro-F1 on the left, the gain over the init's own untrained backbone on the right."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis.figures.cells import draw_cells
from ssl_zoo.analysis.looks import Starts, looks_of, start_order, starts_in
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import mode_order, mode_title, new_figure, number, percent, styled

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
            draw_cells(left, value, "viridis", (0.0, 1.0), number)
            draw_cells(right, difference, "PuOr_r", (-gap, gap), partial(number, sign=True), p_holm < SIGNIFICANT)
            left.set_title(f"{mode_title(mode)}: macro-F1")
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
