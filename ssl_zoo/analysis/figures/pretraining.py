"""Pre-training curves: the loss of each method in a panel of its own, and monitors of collapse side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from ssl_zoo.analysis.style import MUTED, PretrainingKey, looks, new_figure, styled

# What a history may hold beside the loss, with the words for it; drawn where present.
MONITORS = {
    "feature_std": "feature standard deviation",
    "embedding_std": "embedding standard deviation",
    "effective_rank": "effective rank of features",
    "rankme": "effective rank (RankMe)",
    "lidar": "LiDAR",
    "probe_f1": "probe macro-F1 while training",
    "knn_f1": "nearest-neighbour macro-F1 while training",
}
Histories = Mapping[PretrainingKey, pd.DataFrame]  # rows of history.jsonl per pre-training


def _progress(history: pd.DataFrame) -> tuple[pd.Series, str]:
    column = "frames_seen" if "frames_seen" in history else "step"
    return history[column], column.replace("_", " ")


def loss_curves(histories: Histories) -> Figure:
    """Loss against frames seen, a panel per init with a line per seed, each panel on its own scale.

    The losses measure different things, so their heights cannot be compared.
    """
    styles = looks(key[:3] for key in histories)
    panels = list(dict.fromkeys(key[:2] for key in histories))
    columns = min(4, max(1, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    with styled():
        figure = new_figure(2.55 * columns + 0.3, 2.0 * rows + 0.3)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for index, (axis, start) in enumerate(zip(axes, panels, strict=False)):
            look = styles[start]
            for history in (history for key, history in histories.items() if key[:2] == start):
                x, words = _progress(history)
                smooth = history["loss"].rolling(max(1, len(history) // 25), center=True, min_periods=1).mean()
                axis.plot(x, history["loss"], color=look.colour, alpha=0.3, linewidth=0.8)
                axis.plot(x, smooth, color=look.colour)
                if index + columns >= len(panels):
                    axis.set_xlabel(words)
            axis.set_title(look.label.removesuffix(f" · {start[1]}"))
            axis.set_title(start[1], loc="right", fontsize=7, fontweight="normal", color=MUTED)
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.locator_params(nbins=4)
            if index % columns == 0:
                axis.set_ylabel("loss")
        for axis in axes[len(panels) :]:
            axis.set_visible(False)
    return figure


def monitor_curves(histories: Histories) -> Figure | None:
    """Monitors such as the feature standard deviation, all encoders in one panel each; None where none was recorded."""
    present = [name for name in MONITORS if any(name in history for history in histories.values())]
    if not present:
        return None
    styles = looks(key[:3] for key in histories)
    with styled():
        figure = new_figure(min(4.2 * len(present), 9.6) + 1.7, 3.2)
        axes = figure.subplots(1, len(present), squeeze=False)[0]
        lines = {}
        for name, axis in zip(present, axes, strict=True):
            for key, history in histories.items():
                if name not in history:
                    continue
                recorded = history.dropna(subset=name)
                x, words = _progress(recorded)
                look = styles[key[:2]]
                (line,) = axis.plot(
                    x, recorded[name], color=look.colour, marker=look.marker, markevery=0.2, markeredgecolor="white"
                )
                lines[look.label] = line
                axis.set_xlabel(words)
            if name.endswith("_std"):
                axis.set_yscale("log")
                axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
                axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_title(MONITORS[name])
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.locator_params(axis="x", nbins=5)
        figure.legend(list(lines.values()), list(lines), loc="outside right upper", labelcolor="black")
        if any(name.endswith("_std") for name in present):
            figure.supxlabel(
                "a fall towards zero is a collapse: all images get the same features; "
                "ranks are those of one batch, and at most its size",
                fontsize=8,
                color=MUTED,
            )
    return figure
