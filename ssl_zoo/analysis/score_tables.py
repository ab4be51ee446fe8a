"""Tables of scores for the report: labels saved, areas under curves, F1 class by class, and every measure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssl_zoo.analysis.label_area import Areas, not_below_the_best
from ssl_zoo.analysis.labels_saved import AT_SMALLEST, NOT_REACHED, is_smallest
from ssl_zoo.analysis.looks import Starts, start_order, starts_in
from ssl_zoo.analysis.measures import ABSENT, COUNTED
from ssl_zoo.analysis.statistics import POINT, pick
from ssl_zoo.analysis.style import about, mode_label, mode_order, mode_title, number, percent
from ssl_zoo.analysis.tables import Record, Table, in_brackets

NONE = "–"
MEASURE_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision_macro": "precision",
    "recall_macro": "recall",
    "f1_weighted": "weighted F1",
    "auroc_macro": "AUROC",
    "ece": "ECE",
    "seconds": "seconds",
}


def saved_table(saved: pd.DataFrame, cohort: str, starts: Starts) -> Table:
    """Labels saved per init and mode, those that need fewest labels first; censored answers in words."""
    rows = pick(saved, cohort=cohort)
    order = start_order(starts)
    lines = []
    for mode in mode_order(rows["mode"]):
        own = pick(rows, mode=mode).to_dict("records")
        own.sort(key=lambda row: order.index((row["init"], row["backbone"])))
        for row in sorted(own, key=lambda row: (row["fraction"] is None, row["fraction"] or 0)):
            needs, spared = _needs(row)
            share = about(row["reached"]) if np.isfinite(row["reached"]) else NONE
            goal = f"{row['target']:.2f} (at {percent(row['target_fraction'])})"
            name = starts[row["init"], row["backbone"]].name
            limits = _limits_of_needs(row)
            lines.append([name, row["backbone"], mode_label(mode), goal, needs, limits, spared, share])
    columns = ["init", "backbone", "mode", "untrained reaches", "same with", "95\u00a0% interval", "labels saved"]
    return Table([*columns, "reached in resamples"], lines, 3)


def _needs(row: Record) -> tuple[str, str]:
    """The fraction needed and the share of labels saved, in words."""
    if row["state"] == NOT_REACHED:
        return "not reached", "none shown"
    spared = about(1 - row["fraction"] / row["target_fraction"])
    if row["state"] == AT_SMALLEST:
        return f"already at {percent(row['fraction'])}", f"at least {spared}"
    return about(row["fraction"]), spared


def _limits_of_needs(row: Record) -> str:
    if np.isnan(row["low"]):
        return NONE
    ends = [
        "not reached" if np.isinf(end) else f"≤ {percent(end)}" if is_smallest(end, row["smallest"]) else about(end)
        for end in (row["low"], row["high"])
    ]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def area_table(areas: Areas, cohort: str, starts: Starts) -> Table:
    """One row per init, for each mode its area, gain and p-value; bold: not significantly below the largest."""
    table = pick(areas.table, cohort=cohort)
    modes, order = mode_order(table["mode"]), start_order(starts, starts_in(table))
    columns, strong = ["init", "backbone"], set()
    lines = [[starts[start].name, start[1]] for start in order]
    for mode in modes:
        own = pick(table, mode=mode)
        best = not_below_the_best(areas, mode, cohort)
        width = f"{percent(own['smallest'].iloc[0])} to {percent(own['largest'].iloc[0])}"
        columns += [f"{mode_title(mode)}, {width}", "gain", "p (Holm)"]
        for place, start in enumerate(order):
            point = pick(own, init=start[0], backbone=start[1]).to_dict("records")
            if start in best and len(own) > 1:
                strong.add((place, len(lines[place])))
            lines[place] += _area(point[0]) if point else [NONE] * 3
    return Table(columns, lines, 2, frozenset(strong))


def _area(point: Record) -> list[str]:
    area = in_brackets(number(point["area"]), point["low"], point["high"])
    gain = gain_in_words(point)
    return [area, gain, p_in_words(point["p_holm"])]


def gain_in_words(point: Record) -> str:
    """ "+0.05 (+0.01 to +0.09)", or a dash without a baseline."""
    if not np.isfinite(point["difference"]):
        return NONE
    text = number(point["difference"], sign=True)
    if np.isfinite(point["difference_low"]):
        text += f" ({number(point['difference_low'], sign=True)} to {number(point['difference_high'], sign=True)})"
    return text


def p_in_words(p: float) -> str:
    """A p-value to two decimals, "< 0.01" below that, a dash where there is none."""
    return NONE if not np.isfinite(p) else "< 0.01" if p < 0.01 else f"{p:.2f}"


def class_f1_table(points: pd.DataFrame, mode: str, fraction: float, cohort: str, starts: Starts) -> Table | None:
    """F1 of each class with its interval; a class without a test image is called absent. None without predictions."""
    rows = pick(points, mode=mode, fraction=fraction, cohort=cohort)
    classes = [name[3:-1] for name in points.columns if name.startswith("f1[") and name.endswith("]")]
    if not classes or rows.empty or rows[[f"f1[{name}]" for name in classes]].isna().to_numpy().all():
        return None
    lines = []
    for start in start_order(starts, starts_in(rows)):
        point = pick(rows, init=start[0], backbone=start[1]).to_dict("records")[0]
        absent = str(point["classes_missing"]).split(ABSENT)
        lines.append([starts[start].name, start[1], *("absent" if n in absent else _class(point, n) for n in classes)])
    return Table(["init", "backbone", *classes], lines, 2)


def _class(point: Record, name: str) -> str:
    value = point[f"f1[{name}]"]
    if not np.isfinite(value):
        return NONE
    return in_brackets(number(value), point[f"f1[{name}]_low"], point[f"f1[{name}]_high"])


def measure_table(points: pd.DataFrame, estimates: pd.DataFrame, starts: Starts) -> Table:
    """Every point of the grid: macro-F1, gain, and the other measures; with intervals where they come from counts.

    `points`: of `measures.measure_points`; `estimates`: the table of `statistics.Estimates`.
    """
    others = {tuple(row[key] for key in POINT): row for row in points.to_dict("records")}
    ranks = {start: place for place, start in enumerate(start_order(starts))}
    table = estimates.assign(
        _rank=[ranks[start] for start in zip(estimates["init"], estimates["backbone"], strict=True)]
    )
    absent = bool((points["classes_missing"] != "").any())
    lines = []
    for row in table.sort_values(["cohort", "mode", "fraction", "_rank"], kind="stable").to_dict("records"):
        other = others[tuple(row[key] for key in POINT)]
        name = starts[row["init"], row["backbone"]].name
        line = [name, row["backbone"], mode_label(row["mode"]), row["cohort"], percent(row["fraction"])]
        line += [str(row["n_cells"]), in_brackets(f"{row['f1_macro']:.3f}", row["low"], row["high"])]
        line += [gain_in_words(row), p_in_words(row["p_holm"])]
        for measure in MEASURE_NAMES:
            text = f"{other[measure]:.{1 if measure == 'seconds' else 3}f}" if np.isfinite(other[measure]) else NONE
            if measure in COUNTED and f"{measure}_low" in other:
                text = in_brackets(text, other[f"{measure}_low"], other[f"{measure}_high"])
            line.append(text)
        lines.append(line + [other["classes_missing"] or NONE] * absent)
    columns = ["init", "backbone", "mode", "cohort", "labels", "cells", "macro-F1", "gain", "p (Holm)"]
    return Table([*columns, *MEASURE_NAMES.values(), *(["classes not scored"] if absent else [])], lines, 4)
