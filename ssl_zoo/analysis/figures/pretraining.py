"""Pre-training curves: the loss of each method in a panel of its own, and the monitors of health side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from ssl_zoo.analysis.figures.variants import COLUMNS, families, variant_legend
from ssl_zoo.analysis.looks import Look, PretrainingKey, Starts, has_variants, looks, start_order
from ssl_zoo.analysis.style import INK, MUTED, new_figure, styled
from ssl_zoo.pretraining.collapse import MIN_EFFECTIVE_RANK, MIN_STD

Histories = Mapping[PretrainingKey, pd.DataFrame]  # rows of history.jsonl per pre-training


@dataclass(frozen=True)
class Monitor:
    """One monitor of a history: what it is called, how to read its axis, and below which value a run has collapsed."""

    title: str
    reading: str
    collapse: float | None = None
    of_batch: bool = True  # read off each training batch, so that it jumps from point to point


MONITORS = {
    "feature_std": Monitor("spread of features", "1 spread out, 0 all alike", MIN_STD),
    "embedding_std": Monitor("spread of embeddings", "1 spread out, 0 all alike", MIN_STD),
    "rankme": Monitor("RankMe", "directions in use"),
    "effective_rank": Monitor("effective rank, centred", "directions in use", MIN_EFFECTIVE_RANK),
    "alignment": Monitor("alignment", "0 both views alike", of_batch=False),
    "uniformity": Monitor("uniformity", "−4 even, 0 all alike", of_batch=False),
    "knn_accuracy": Monitor("kNN, training patients", "share of images right", of_batch=False),
}
SMOOTHED = 5  # points in the running mean of a monitor that is read off each batch


def loss_curves(histories: Histories, starts: Starts | None = None) -> Figure:
    """Loss against frames seen, a panel per method with a line per seed and variant, each panel on its own scale.

    The losses measure different things, so their heights cannot be compared. A cross marks a collapse.
    """
    starts = looks(key[:3] for key in histories) if starts is None else starts
    keys = [key[:2] for key in histories]
    groups = families(starts, keys)
    columns = min(COLUMNS, max(1, len(groups)))
    rows = max(1, math.ceil(len(groups) / columns))
    with styled():
        figure = new_figure(2.5 * columns + 0.1, 2.0 * rows + 0.3)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for index, (axis, group) in enumerate(zip(axes, groups.items(), strict=False)):
            (family, backbone), members = group
            for key, history in histories.items():
                if key[:2] in members:
                    x, words = _progress(history, share=False)
                    look = starts[key[:2]]
                    smooth = _running_mean(history["loss"], max(1, len(history) // 25))
                    if len(members) == 1:
                        axis.plot(x, history["loss"], color=look.colour, alpha=0.3, linewidth=0.8)
                    _line(axis, x, smooth, look, marked=len(members) > 1)
                    _cross(axis, x, smooth, history)
                    if index + columns >= len(groups):
                        axis.set_xlabel(words)
            axis.set_title(family)
            axis.set_title(backbone, loc="right", fontsize=7, fontweight="normal", color=MUTED)
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.locator_params(nbins=4)
            if index % columns == 0:
                axis.set_ylabel("loss")
        for axis in axes[len(groups) :]:
            axis.set_visible(False)
        if has_variants({key: starts[key] for key in keys}):
            variant_legend(figure, starts, keys)
    return figure


def monitor_curves(histories: Histories, starts: Starts | None = None) -> Figure | None:
    """The monitors of all pre-trainings, a panel each, or a row each with a panel per method in a study with variants.

    None where none was recorded. A cross marks a collapse; a dotted line where one begins, if it comes near. The axis
    is the share of the budget where some budgets are more than twice others.
    """
    present = [name for name in MONITORS if any(name in history for history in histories.values())]
    if not present:
        return None
    starts = looks(key[:3] for key in histories) if starts is None else starts
    keys = list(dict.fromkeys(key[:2] for key in histories))
    spans = [float(_progress(history, share=False)[0].max()) for history in histories.values() if len(history)]
    share = max(spans) > 2 * min(spans)
    if has_variants({key: starts[key] for key in keys}):
        return _monitors_by_method(histories, starts, keys, present, share)
    columns = min(COLUMNS, len(present))
    rows = math.ceil(len(present) / columns)
    free = rows * columns > len(present)  # the last place is free for the legend
    with styled():
        figure = new_figure(2.5 * columns + (0.1 if free else 1.5), 2.1 * rows + 0.2)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for index, (name, axis) in enumerate(zip(present, axes, strict=False)):
            words = _monitor(axis, name, histories, starts, share, _lowest(name, histories))
            axis.set_title(MONITORS[name].title)
            if index + columns >= len(present):
                axis.set_xlabel(words)
        for axis in axes[len(present) :]:
            axis.set_axis_off()
        place = axes[min(len(present), len(axes) - 1)]
        handles: list[Artist] = [_handle(starts[start]) for start in start_order(starts, keys)]
        labels = [starts[start].label for start in start_order(starts, keys)]
        if any(_events(history).any() for history in histories.values()):
            handles.append(Line2D([], [], color=INK, marker="x", linestyle="", markersize=7, markeredgewidth=2))
            labels.append("collapse")
        if free:
            place.legend(handles, labels, loc="center left", borderaxespad=0, handlelength=2.6)
        else:
            figure.legend(handles, labels, loc="outside right upper", handlelength=2.6)
    return figure


def _monitors_by_method(
    histories: Histories, starts: Starts, keys: Sequence[tuple[str, str]], present: list[str], share: bool
) -> Figure:
    groups = families(starts, keys)
    with styled():
        figure = new_figure(2.75 * len(groups) + 0.6, 1.4 * len(present) + 0.8)
        axes = figure.subplots(len(present), len(groups), squeeze=False, sharex=True, sharey="row")
        for name, row in zip(present, axes, strict=True):
            lowest = _lowest(name, histories)
            for (group, members), axis in zip(groups.items(), row, strict=True):
                own = {key: history for key, history in histories.items() if key[:2] in members}
                words = _monitor(axis, name, own, starts, share, lowest)
                axis.set_ylabel("")
                if name == present[0]:
                    axis.set_title(group[0])
                    axis.set_title(group[1], loc="right", fontsize=7, fontweight="normal", color=MUTED)
                if name == present[-1]:
                    axis.set_xlabel(words)
            row[0].set_ylabel(f"{MONITORS[name].title}\n{MONITORS[name].reading}", fontsize=7.5)
        variant_legend(figure, starts, list(keys))
    return figure


def _lowest(name: str, histories: Histories) -> float:
    return min(float(history[name].min()) for history in histories.values() if name in history)


def _monitor(axis: Axes, name: str, histories: Histories, starts: Starts, share: bool, lowest: float) -> str:
    """Draw one monitor of some pre-trainings; the words for the horizontal axis. `lowest`: value on a shared axis."""
    monitor, words = MONITORS[name], ""
    for key, history in histories.items():
        recorded = history.dropna(subset=name) if name in history else history.iloc[:0]
        if recorded.empty:
            continue
        x, words = _progress(recorded, share)
        values = recorded[name].astype(float)
        if monitor.of_batch and len(values) > 8 * SMOOTHED:
            values = _running_mean(values, SMOOTHED)
        _line(axis, x, values, starts[key[:2]], marked=True)
        _cross(axis, x, values, recorded)
    if monitor.collapse is not None and lowest < 4 * monitor.collapse:
        axis.axhline(monitor.collapse, color=INK, linewidth=1, linestyle=(0, (1, 1.5)))
    if name.endswith("_std") and lowest > 0:
        axis.set_yscale("log")
        near = lowest > 0.05  # a tick for each decade would leave the axis empty
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if near else (1,)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_ylabel(monitor.reading, fontsize=7.5)
    axis.xaxis.set_major_formatter(EngFormatter(sep="") if not share else FuncFormatter(lambda v, _: f"{100 * v:.0f}%"))
    axis.locator_params(axis="x", nbins=4)
    return words


def _progress(history: pd.DataFrame, share: bool) -> tuple[pd.Series, str]:
    """How far a run had come at each row: the share of its budget, or the frames seen."""
    if share and "share" in history:
        return history["share"], "share of the budget"
    column = "frames_seen" if "frames_seen" in history else "step"
    return history[column], column.replace("_", " ")


def _running_mean(values: pd.Series, points: int) -> pd.Series:
    return pd.Series(values.rolling(points, center=True, min_periods=1).mean())


def _line(axis: Axes, x: pd.Series, y: pd.Series, look: Look, *, marked: bool) -> None:
    few = len(x) <= 2 * SMOOTHED + 4
    marks = {"marker": look.marker, "markevery": 1 if few else 0.25, "markeredgecolor": "white"} if marked else {}
    axis.plot(x, y, color=look.colour, linewidth=1.4, markersize=4.5, markeredgewidth=0.4, **marks)


def _events(history: pd.DataFrame) -> pd.Series:
    """Which rows record a collapse."""
    return history["event"] == "collapse" if "event" in history else pd.Series(False, index=history.index)


def _cross(axis: Axes, x: pd.Series, y: pd.Series, history: pd.DataFrame) -> None:
    """A cross where a collapse is recorded."""
    at = _events(history)
    if at.any():
        axis.plot(x[at], y[at], linestyle="", marker="x", color=INK, markersize=7, markeredgewidth=2, zorder=5)


def _handle(look: Look) -> Line2D:
    return Line2D([], [], color=look.colour, marker=look.marker, markeredgecolor="white")
