"""One figure of what the maps are worth: every classifier a row, every measure a panel, beside what knows nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ssl_zoo.analysis.explain.cams import TECHNIQUES
from ssl_zoo.analysis.explain.summary import SURVIVES
from ssl_zoo.analysis.looks import Starts, start_order
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import INK, MUTED, RULE, mode_label, mode_order, new_figure, styled

ROW = 0.27  # inches


@dataclass(frozen=True)
class Panel:
    """A measure, its heading, which way is good, and the column of a map that knows nothing (or a fixed value)."""

    measure: str
    title: str
    good: str
    ignorant: str | float
    words: str
    limits: tuple[float, float] | None = None


ALWAYS = (
    Panel("gain", "Deletion gain", "more is better →", 0.0, "as a random order"),
    Panel("correlation", "Shuffled weights", "← less is better", SURVIVES, "doubtful from here on", (-1.04, 1.04)),
)
KNOWN = (
    Panel("energy", "Energy on target", "more is better →", "energy_middle", "blob in the middle", (-0.04, 1.04)),
    Panel("pointing", "Pointing game", "more is better →", "pointing_middle", "blob in the middle", (-0.04, 1.04)),
)


def maps_figure(summary: pd.DataFrame, technique: str, looks: Starts) -> Figure:
    """Dots with 95 % intervals over patients for one technique; two panels more where the truth is known."""
    own = pick(summary, technique=technique)
    panels = (*KNOWN, *ALWAYS) if "energy" in own and own["energy"].notna().any() else ALWAYS
    order, modes = start_order(looks), mode_order(own["mode"])
    rows = [
        row
        for mode in modes
        for start in order
        for row in pick(own, mode=mode).to_dict("records")
        if (row["init"], row["backbone"]) == start
    ]
    places = _places(rows)
    with styled():
        figure = new_figure(1.9 + 2.0 * len(panels), 1.5 + ROW * (max(places) + 1))
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            _draw_panel(axis, panel, rows, places, looks)
        axes[0].set_yticks(places, [_name(row, looks) for row in rows])
        axes[0].set_ylim(max(places) + 0.7, -0.7)
        first = {row["mode"]: place for row, place in zip(reversed(rows), reversed(places), strict=True)}
        for mode, place in first.items():
            axes[0].text(
                -0.03,
                place - 0.85,
                mode_label(mode),
                transform=axes[0].get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=8,
                fontweight="bold",
                color=INK,
            )
        images = int(own["n_images"].median())
        patients = int(own["n_patients"].median())
        figure.suptitle(
            f"What {TECHNIQUES[technique]} maps are worth ({images} test images of {patients} patients)",
            x=0.01,
            ha="left",
            fontsize=10.5,
            fontweight="bold",
        )
    return figure


def _draw_panel(axis: Axes, panel: Panel, rows: list[dict], places: list[float], looks: Starts) -> None:
    for row, place in zip(rows, places, strict=True):
        look = looks[row["init"], row["backbone"]]
        middle = row[panel.measure]
        if np.isfinite(middle):
            axis.plot(
                [row[f"{panel.measure}_low"], row[f"{panel.measure}_high"]], [place] * 2, color=look.colour, lw=1.4
            )
            size = 12 if look.marker == "." else 6  # matplotlib draws that one half as large
            axis.plot(middle, place, marker=look.marker, color=look.colour, ms=size, mec="white", mew=0.6, zorder=3)
    ignorant = panel.ignorant if not isinstance(panel.ignorant, str) else _mean(rows, panel.ignorant)
    axis.axvline(ignorant, color=MUTED, lw=1, ls=(0, (4, 2)), zorder=1)
    words = panel.words
    if panel.measure == "energy":
        area = _mean(rows, "area")
        axis.axvline(area, color=MUTED, lw=1, ls=(0, (1, 1.5)), zorder=1)
        words = f"dotted: share of the area\ndashed: {words}"
    else:
        words = f"dashed: {words}"
    axis.set_title(panel.title)
    axis.set_xlabel(f"{panel.good}\n{words}", fontsize=7.5, color=MUTED)
    if panel.limits is not None:
        axis.set_xlim(*panel.limits)
    axis.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))  # more numbers would run into each other
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    for place in places:
        axis.axhline(place, color=RULE, lw=0.4, zorder=0)


def _mean(rows: list[dict], name: str) -> float:
    return float(np.nanmean([row[name] for row in rows]))


def _places(rows: list[dict]) -> list[float]:
    """A row's height: a gap with the mode's name opens each mode."""
    places, at, mode = [], -1.0, None
    for row in rows:
        at += 1.0 if row["mode"] == mode else 2.0 if mode is not None else 1.9
        mode = row["mode"]
        places.append(at)
    return places


def _name(row: dict, looks: Starts) -> str:
    return looks[row["init"], row["backbone"]].label
