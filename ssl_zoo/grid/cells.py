"""Results of cells on disk: one atomic JSON per cell, named by its key, with the predictions beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.files import as_text, from_text, read_json, replacing, write_json, write_text
from ssl_zoo.grid.ledger import RECORD, look, read_record
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.prediction_files import read_predictions, write_predictions, write_table
from ssl_zoo.transfer.metrics import weighted_scores

RESULT_COLUMNS = [
    "experiment",
    "init",
    "method",
    "backbone",
    "pretrain_seed",
    "mode",
    "fraction",
    "fold",
    "seed",
    "cohort",
    "n_train_patients",
    "n_train_images",
    "n_test_images",
    "accuracy",
    "balanced_accuracy",
    "precision_macro",
    "recall_macro",
    "f1_macro",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
    "auroc_macro",
    "ece",
    "classes_missing",  # of the cohort's test set; macro scores leave them out. Names joined by "; "
    "seconds",
    "cell",
    "unit",  # "patient", or "image" where the planes name no patients and each image counts as one
]


def describe(cell: Cell) -> dict[str, Any]:
    """What the cell is, for its JSON file and its rows in the tables."""
    return {
        "init": cell.init.name,
        "method": cell.init.method,
        "backbone": cell.init.backbone,
        "pretrain_seed": cell.init.pretrain_seed,
        "mode": cell.mode,
        "fraction": cell.fraction,
        "fold": cell.fold,
        "seed": cell.seed,
        "cell": cell.key,
    }


def write_cell(run: Path, cell: Cell, result: Mapping[str, Any], rows: np.ndarray, probabilities: np.ndarray) -> None:
    """Write a finished cell: the predictions first, then the JSON that says it is done.

    `rows` `[M]` are the tested rows of the plane table, `probabilities` `[M, K]` float32.
    """
    write_predictions(run, cell.key, rows, probabilities)
    write_json(run / "cells" / f"{cell.key}{RECORD}", {**describe(cell), **result})


def write_failure(run: Path, cell: Cell, error: str) -> None:
    """Record why a cell has no result; the next run tries it again."""
    write_json(run / "cells" / f"{cell.key}{RECORD}", {**describe(cell), "error": error})


def read_cell(run: Path, key: str) -> dict[str, Any] | None:
    """A cell's record, or None when there is none yet; UserError where it is broken."""
    try:
        return read_record(f"{run}/cells/{key}{RECORD}")
    except FileNotFoundError:
        return None


def finished(run: Path, cells: Iterable[Cell]) -> tuple[set[str], dict[str, str]]:
    """The keys of the cells that have a result, and the errors of those that failed."""
    done, failed = set(), {}
    known = look(run)
    for cell in cells:
        if (entry := known.get(cell.key)) is not None:
            if entry.error is not None:
                failed[cell.key] = entry.error
            else:
                done.add(cell.key)
    return done, failed


@dataclass(frozen=True)
class Gathered:
    """What became of the tables of a run."""

    changed: bool = False
    unconverged: int = 0  # cells whose solver stopped short of its end


def write_tables(
    run: Path, experiment: str, cells: Iterable[Cell], planes: pd.DataFrame, classes: list[str]
) -> Gathered:
    """Gather the planned cells that are done into `results.csv` and `predictions.parquet`.

    A cell whose files are broken is left out and recorded as failed, so that the next run does it again.
    """
    planned = {cell.key: cell for cell in cells}
    facts = {"experiment": experiment, "unit": _unit(run)}
    results: dict[str, list[dict[str, Any]]] = {}
    unconverged = set()
    for key, cell in planned.items():
        try:
            record = read_cell(run, key)
            if record is not None and "error" not in record:
                results[key] = [{**facts, **record, **scores} for scores in _scores_of(run, record, planes, classes)]
                if not record.get("notes", {}).get("converged", True):
                    unconverged.add(key)
        except UserError as error:
            write_failure(run, cell, str(error))
    text, path, table = _as_csv(results.values()), run / "results.csv", run / "predictions.parquet"
    if path.is_file() and table.is_file() and path.read_text(encoding="utf-8") == text:
        return Gathered(False, len(unconverged))
    with replacing(table) as part:
        lost = write_table(part, run, results, planes, classes)
    for key, error in lost.items():
        write_failure(run, planned[key], error)
        del results[key]
    write_text(path, _as_csv(results.values()) if lost else text)
    return Gathered(True, len(unconverged & results.keys()))


def _scores_of(
    run: Path, record: Mapping[str, Any], planes: pd.DataFrame, classes: list[str]
) -> Iterator[dict[str, Any]]:
    """The scores of a finished cell on each cohort."""
    for cohort, scores in record["cohorts"].items():
        weighted = {}
        if "precision_weighted" not in scores:  # a cell of before these were written: its predictions have them
            rows, probabilities = read_predictions(run, record["cell"])
            own = (planes["cohort"].iloc[rows] == cohort).to_numpy()
            labels = pd.Index(classes).get_indexer(pd.Index(planes["label"].iloc[rows].to_numpy()[own]))
            weighted = weighted_scores(labels, probabilities.argmax(1)[own])
        missing = "; ".join(scores.get("classes_missing") or [])
        yield {"cohort": cohort, **scores, **weighted, "classes_missing": missing}


def _as_csv(results: Iterable[list[dict[str, Any]]]) -> str:
    table = pd.DataFrame([row for rows in results for row in rows], columns=RESULT_COLUMNS)
    table["pretrain_seed"] = table["pretrain_seed"].astype("Int64")
    words = table.select_dtypes(exclude="number").columns
    table[words] = table[words].map(as_text)
    return table.to_csv(index=False)


def _unit(run: Path) -> str:
    """What the planes of a run are split and resampled by."""
    path = run / "planes" / "planes.json"
    about = read_json(path) if path.is_file() else {}
    return "image" if about.get("by_image") or about.get("unit") == "image" else "patient"


def load_results(run: Path | str) -> pd.DataFrame:
    """One row per cell and cohort of a run folder, as in `results.csv`.

    A table that was written before weighted precision and recall were measured has the latter all the same (it is the
    accuracy), and NaN for the former until `run` or `evaluate` writes it anew.
    """
    path = Path(run) / "results.csv"
    if not path.is_file():
        raise UserError(f"{path}: no such file; has the experiment been run?")
    types = {"method": str, "cell": str, "pretrain_seed": "Int64", "classes_missing": str}
    table = pd.read_csv(path, dtype=types, keep_default_na=True).fillna({"method": "", "classes_missing": ""})
    words = table.select_dtypes(exclude="number").columns
    table[words] = table[words].map(from_text)
    if "precision_weighted" not in table:
        place = table.columns.get_loc("f1_macro") + 1
        table.insert(place, "precision_weighted", np.nan)
        table.insert(place + 1, "recall_weighted", table.get("accuracy", np.nan))
    return table


def load_predictions(run: Path | str) -> pd.DataFrame:
    """One row per test image and cell of a run folder, as in `predictions.parquet`."""
    path = Path(run) / "predictions.parquet"
    if not path.is_file():
        raise UserError(f"{path}: no such file; has the experiment been run?")
    return pd.read_parquet(path)


def as_scores(values: Mapping[str, Any]) -> dict[str, Any]:
    """Scores as JSON can hold them: NaN becomes None."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in values.items()
    }
