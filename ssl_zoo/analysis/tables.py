"""Tables for the terminal and for the report: scores, intervals, measures and data in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.analysis.counts import class_codes, class_names
from ssl_zoo.analysis.looks import Starts, looks_of, start_order, starts_in
from ssl_zoo.analysis.measures import MEASURES, measure_points
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import mode_order, percent

BY_IMAGE = "by image, for the planes name no patients"
Record = dict[Any, Any]


@dataclass(frozen=True)
class Table:
    """A table as text cells; `numeric` columns are aligned right; `strong` holds (row, column) to set in bold."""

    columns: list[str]
    rows: list[list[str]]
    numeric: int = 1  # the first column that holds numbers
    strong: frozenset[tuple[int, int]] = frozenset()


def unit_of(results: pd.DataFrame) -> str:
    """What planes were split and resampled by: "patient", or "image" where they name no patients."""
    return "image" if "unit" in results and (results["unit"] == "image").any() else "patient"


def summary_table(
    results: pd.DataFrame,
    predictions: pd.DataFrame | None = None,
    *,
    cohort: str = "internal",
    measure: str = "f1_macro",
) -> str:
    """Macro-F1 per init (row), mode and label fraction (columns) on one test cohort, as aligned text.

    The numbers are those of the figures: folds that test different patients are pooled, seeds averaged (`pooling`).
    Without predictions they are means over cells. `n` is the number of cells (seeds and folds) behind each, as a range
    where it differs; the last line gives the labelled patients per fraction. `measure` is one of `measures.MEASURES`,
    or any other numeric column of the results, of which means over cells are shown. Where the planes name no patients
    (`unit` is "image"), images stand for them, and the text says so.
    """
    rows = pick(results, cohort=cohort)
    if rows.empty:
        return f"no results for the {cohort} test cohort yet"
    unit = unit_of(rows)
    points = measure_points(rows, predictions, replicates=0)
    points = points if measure in MEASURES else rows
    order = start_order(looks_of(rows))
    left = _align([["init", "backbone"], *(list(start) for start in order), [f"labelled {unit}s", ""]], "<")
    blocks = [["", *left]]
    for mode in mode_order(rows["mode"]):
        own = pick(rows, mode=mode)
        fractions = sorted(set(own["fraction"]))
        lines = [[*(percent(fraction).replace("\u00a0", "") for fraction in fractions), "n"]]
        for init, backbone in order:
            here = [pick(points, mode=mode, init=init, backbone=backbone, fraction=f)[measure] for f in fractions]
            cells = [pick(own, init=init, backbone=backbone, fraction=f) for f in fractions]
            counts = [len(cell) for cell in cells if len(cell)]
            n = "-" if not counts else str(min(counts)) if len(set(counts)) == 1 else f"{min(counts)}-{max(counts)}"
            lines.append([*(f"{score.mean():.3f}" if len(score) else "-" for score in here), n])
        patients = (pick(own, fraction=fraction)["n_train_patients"].mean() for fraction in fractions)
        lines.append([*(f"{count:.0f}" for count in patients), ""])
        blocks.append([mode, *_align(lines, ">")])
    widths = [max(map(len, block)) for block in blocks]
    text = [
        "   ".join(line.ljust(width) for line, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip(*blocks, strict=True)
    ]
    name = "macro-F1" if measure == "f1_macro" else measure
    marked = f"; {BY_IMAGE}" if unit == "image" else ""
    how = "mean over n cells (seeds and folds)"
    if measure in MEASURES and measure != "auroc_macro" and points["pooled"].all():
        how = "from n cells: folds pooled, mean over seeds"
    return "\n".join([f"{name} on the {cohort} test cohort, {how}{marked}", *text])


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
            line.append(_score(point[0]) if point else "–")
            if point and point[0]["f1_macro"] == pick(rows, fraction=fraction)["f1_macro"].max():
                strong.add((place, column))
        lines.append(line)
    return Table(["init", "backbone", *(percent(f) for f in fractions)], lines, 2, frozenset(strong))


def _score(point: Record) -> str:
    return in_brackets(f"{point['f1_macro']:.2f}", point["low"], point["high"])


def in_brackets(text: str, low: float, high: float) -> str:
    """A score with its interval behind it, "0.71 (0.66–0.76)"; without brackets where there is none."""
    return f"{text} ({low:.2f}–{high:.2f})" if np.isfinite(low) else text


def class_table(predictions: pd.DataFrame) -> Table:
    """Test images per class, and test patients, in each cohort; a class without an image is "absent"."""
    classes = class_names(predictions)
    lines = []
    for cohort, rows in predictions.groupby("cohort", sort=False):
        # one row per plane, whatever tested it; planes of one video share its name, so their order tells them apart
        images = rows.assign(_place=rows.groupby(["cell", "image"], sort=False).cumcount())
        images = images.drop_duplicates(["image", "_place"])
        counts = np.bincount(class_codes(images["label"], classes), minlength=len(classes))
        patients = images["patient_id"].nunique()
        lines.append(
            [str(cohort), str(patients), str(len(images)), *(str(count) if count else "absent" for count in counts)]
        )
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
