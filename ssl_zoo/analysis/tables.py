"""Tables for the terminal and for the report: scores, intervals, measures and data in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.analysis.looks import Starts, looks_of, start_order, starts_in
from ssl_zoo.analysis.statistics import class_codes, class_names, pick
from ssl_zoo.analysis.style import about, mode_label, mode_order, number, percent

Record = dict[Any, Any]


@dataclass(frozen=True)
class Table:
    """A table as text cells; `numeric` columns are aligned right; `strong` holds (row, column) to set in bold."""

    columns: list[str]
    rows: list[list[str]]
    numeric: int = 1  # the first column that holds numbers
    strong: frozenset[tuple[int, int]] = frozenset()


def summary_table(results: pd.DataFrame, *, cohort: str = "internal", measure: str = "f1_macro") -> str:
    """Mean macro-F1 per init (row), mode and label fraction (columns) on one test cohort, as aligned text.

    `n` is the number of cells (seeds and folds) behind each mean, as a range where it differs; the last line gives the
    labelled patients per fraction. `measure` is any numeric column of the results.
    """
    rows = pick(results, cohort=cohort)
    if rows.empty:
        return f"no results for the {cohort} test cohort yet"
    order = start_order(looks_of(rows))
    left = _align([["init", "backbone"], *(list(start) for start in order), ["labelled patients", ""]], "<")
    blocks = [["", *left]]
    for mode in mode_order(rows["mode"]):
        own = pick(rows, mode=mode)
        fractions = sorted(set(own["fraction"]))
        lines = [[*(percent(fraction).replace("\u00a0", "") for fraction in fractions), "n"]]
        for init, backbone in order:
            cells = [pick(own, init=init, backbone=backbone, fraction=f)[measure] for f in fractions]
            counts = [len(cell) for cell in cells if len(cell)]
            n = "-" if not counts else str(min(counts)) if len(set(counts)) == 1 else f"{min(counts)}-{max(counts)}"
            lines.append([*(f"{cell.mean():.3f}" if len(cell) else "-" for cell in cells), n])
        patients = (pick(own, fraction=fraction)["n_train_patients"].mean() for fraction in fractions)
        lines.append([*(f"{count:.0f}" for count in patients), ""])
        blocks.append([mode, *_align(lines, ">")])
    widths = [max(map(len, block)) for block in blocks]
    text = [
        "   ".join(line.ljust(width) for line, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip(*blocks, strict=True)
    ]
    name = "macro-F1" if measure == "f1_macro" else measure
    return "\n".join([f"{name} on the {cohort} test cohort, mean over n cells (seeds and folds)", *text])


def as_text(table: Table) -> str:
    """A table as aligned text; numbers to the right."""
    left = [table.columns[: table.numeric], *(row[: table.numeric] for row in table.rows)]
    right = [table.columns[table.numeric :], *(row[table.numeric :] for row in table.rows)]
    sides = zip(_align(left, "<"), _align(right, ">"), strict=True)
    return "\n".join("  ".join(parts).rstrip() for parts in sides)


def _align(lines: list[list[str]], side: str) -> list[str]:
    """Lines of cells as lines of text in columns; `side` is "<" or ">"."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:{side}{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines]


def score_table(table: pd.DataFrame, mode: str, cohort: str, starts: Starts | None = None) -> Table:
    """Macro-F1 with its interval per init and fraction; the best of each fraction is strong."""
    rows = pick(table, mode=mode, cohort=cohort)
    starts = looks_of(table) if starts is None else starts
    order, fractions = start_order(starts, starts_in(rows)), sorted(set(rows["fraction"]))
    lines, strong = [], set()
    for place, start in enumerate(order):
        line = [starts[start].name, start[1]]
        for column, fraction in enumerate(fractions, 2):
            point = pick(rows, init=start[0], backbone=start[1], fraction=fraction).to_dict("records")
            line.append(_with_interval(point[0], 2) if point else "–")
            if point and point[0]["f1_macro"] == pick(rows, fraction=fraction)["f1_macro"].max():
                strong.add((place, column))
        lines.append(line)
    return Table(["init", "backbone", *(percent(f) for f in fractions)], lines, 2, frozenset(strong))


def _with_interval(point: Record, decimals: int) -> str:
    limits = f" ({point['low']:.2f}–{point['high']:.2f})" if np.isfinite(point["low"]) else ""
    return f"{point['f1_macro']:.{decimals}f}{limits}"


def saved_table(saved: pd.DataFrame, cohort: str, starts: Starts | None = None) -> Table:
    """Labels saved per init and mode, those that need fewest labels first."""
    starts = looks_of(saved) if starts is None else starts
    rows = pick(saved, cohort=cohort)
    lines = []
    for mode in mode_order(rows["mode"]):
        order = start_order(starts)
        own = pick(rows, mode=mode).to_dict("records")
        own.sort(key=lambda row: order.index((row["init"], row["backbone"])))
        for row in sorted(own, key=lambda row: (row["fraction"] is None, row["fraction"] or 0)):
            needs = "not reached"
            if row["fraction"] is not None:
                first = row["fraction"] <= row["smallest"] * (1 + 1e-9)
                needs = f"≤ {percent(row['fraction'])}" if first else about(row["fraction"])
            limits = "–" if np.isnan(row["low"]) else "not reached"
            if np.isfinite(row["low"]):
                limits = f"{about(row['low'])} to {about(row['high']) if np.isfinite(row['high']) else 'not reached'}"
            share = about(row["reached"]) if np.isfinite(row["reached"]) else "–"
            goal = f"{row['target']:.2f} (at {percent(row['target_fraction'])})"
            name = starts[row["init"], row["backbone"]].name
            lines.append([name, row["backbone"], mode_label(mode), goal, needs, limits, share])
    columns = [
        "init",
        "backbone",
        "mode",
        "untrained reaches",
        "same with",
        "95\u00a0% interval",
        "reached in resamples",
    ]
    return Table(columns, lines, 3)


MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision_macro": "precision",
    "recall_macro": "recall",
    "f1_weighted": "weighted F1",
    "auroc_macro": "AUROC",
    "ece": "ECE",
    "seconds": "seconds",
}


def measure_table(results: pd.DataFrame, estimates: pd.DataFrame, starts: Starts | None = None) -> Table:
    """Every point of the grid: macro-F1, gain, and the means of the other measures over its cells."""
    keys = ["init", "backbone", "mode", "fraction", "cohort"]
    measures = [name for name in MEASURES if name in results]
    means = {key: group[measures].mean().to_dict() for key, group in results.groupby(keys)}
    starts = looks_of(estimates) if starts is None else starts
    ranks = {start: place for place, start in enumerate(start_order(starts))}
    table = estimates.assign(
        _rank=[ranks[start] for start in zip(estimates["init"], estimates["backbone"], strict=True)]
    )
    lines = []
    for row in table.sort_values(["cohort", "mode", "fraction", "_rank"], kind="stable").to_dict("records"):
        gain = number(row["difference"], sign=True) if np.isfinite(row["difference"]) else "–"
        if np.isfinite(row["difference_low"]):
            gain += f" ({number(row['difference_low'], sign=True)} to {number(row['difference_high'], sign=True)})"
        p = "–" if not np.isfinite(row["p_holm"]) else "< 0.01" if row["p_holm"] < 0.01 else f"{row['p_holm']:.2f}"
        mean = means[tuple(row[key] for key in keys)]
        name = starts[row["init"], row["backbone"]].name
        line = [name, row["backbone"], mode_label(row["mode"]), row["cohort"], percent(row["fraction"])]
        line += [str(row["n_cells"]), _with_interval(row, 3), gain, p]
        lines.append(line + [_value(mean[m], 1 if m == "seconds" else 3) for m in measures])
    columns = ["init", "backbone", "mode", "cohort", "labels", "cells", "macro-F1", "gain", "p (Holm)"]
    return Table([*columns, *(MEASURES[m] for m in measures)], lines, 4)


def class_table(predictions: pd.DataFrame) -> Table:
    """Test images per class, and test patients, in each cohort."""
    classes = class_names(predictions)
    lines = []
    for cohort, rows in predictions.groupby("cohort", sort=False):
        # one row per plane, whatever tested it; planes of one video share its name, so their order tells them apart
        images = rows.assign(_place=rows.groupby(["cell", "image"], sort=False).cumcount())
        images = images.drop_duplicates(["image", "_place"])
        counts = np.bincount(class_codes(images["label"], classes), minlength=len(classes))
        patients = images["patient_id"].nunique()
        lines.append([str(cohort), str(patients), str(len(images)), *(str(count) for count in counts)])
    lines.sort(key=lambda line: (line[0] != "internal", line[0]))
    return Table(["test cohort", "patients", "planes", *classes], lines)


def failure_table(failures: list[dict[str, Any]]) -> Table:
    """The cells that failed, with the last line of the error."""
    columns = ["init", "backbone", "mode", "fraction", "fold", "seed", "error"]
    return Table(columns, [[str(failure.get(column, "")) for column in columns] for failure in failures], len(columns))


def plain_number(value: Any) -> str:
    """A count or a duration for people: whole from 10 upwards, thousands apart by a thin space; "–" where unknown."""
    if value is None or not np.isfinite(value):
        return "–"
    whole = abs(value) >= 10 or float(value).is_integer()
    return f"{value:,.0f}".replace(",", "\u202f") if whole else f"{value:.1f}"


def _value(value: Any, decimals: int) -> str:
    return f"{value:.{decimals}f}" if np.isfinite(value) else "–"
