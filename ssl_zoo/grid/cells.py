"""Results of cells on disk: one atomic JSON per cell, named by its key, with the predictions beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.files import as_text, from_text, read_json, replacing, write_json, write_text
from ssl_zoo.grid.ledger import look
from ssl_zoo.grid.plan import Cell
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
    with replacing(run / "cells" / f"{cell.key}.npz") as part, open(part, "wb") as handle:
        np.savez(handle, rows=rows, probabilities=probabilities.astype(np.float32))
    write_json(run / "cells" / f"{cell.key}.json", {**describe(cell), **result})


def write_failure(run: Path, cell: Cell, error: str) -> None:
    """Record why a cell has no result; the next run tries it again."""
    write_json(run / "cells" / f"{cell.key}.json", {**describe(cell), "error": error})


def read_cell(run: Path, key: str) -> dict[str, Any] | None:
    """A cell's record, or None when there is none yet."""
    path = run / "cells" / f"{key}.json"
    return read_json(path) if path.is_file() else None


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


def write_tables(run: Path, experiment: str, cells: Iterable[Cell], planes: pd.DataFrame, classes: list[str]) -> bool:
    """Gather the planned cells that are done into `results.csv` and `predictions.parquet`; whether they changed."""
    results, predictions, unit = [], [], _unit(run)
    for cell in cells:
        record = read_cell(run, cell.key)
        if record is None or "error" in record:
            continue
        with np.load(run / "cells" / f"{cell.key}.npz") as saved:
            rows, probabilities = saved["rows"], saved["probabilities"]
        tested, predicted = planes.iloc[rows], probabilities.argmax(1)
        for cohort, scores in record["cohorts"].items():
            if "precision_weighted" not in scores:  # a cell of before these were written: its predictions have them
                own = (tested["cohort"] == cohort).to_numpy()
                labels = pd.Index(classes).get_indexer(pd.Index(tested["label"].to_numpy()[own]))
                scores = {**scores, **weighted_scores(labels, predicted[own])}
            missing = "; ".join(scores.get("classes_missing") or [])
            facts = {"cohort": cohort, **scores, "classes_missing": missing, "unit": unit}
            results.append({"experiment": experiment, **record, **facts})
        predictions.append(
            pd.DataFrame(
                {
                    "cell": cell.key,
                    "image": tested["image"].to_numpy(),
                    "patient_id": tested["patient_id"].to_numpy(),
                    "cohort": tested["cohort"].to_numpy(),
                    "label": tested["label"].to_numpy(),
                    "predicted": np.array(classes, dtype=object)[predicted],
                    **{f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)},
                }
            )
        )
    table = pd.DataFrame(results, columns=RESULT_COLUMNS)
    table["pretrain_seed"] = table["pretrain_seed"].astype("Int64")
    words = table.select_dtypes(exclude="number").columns
    table[words] = table[words].map(as_text)
    text = table.to_csv(index=False)
    path = run / "results.csv"
    if path.is_file() and (run / "predictions.parquet").is_file() and path.read_text(encoding="utf-8") == text:
        return False
    with replacing(run / "predictions.parquet") as part:
        (pd.concat(predictions, ignore_index=True) if predictions else pd.DataFrame()).to_parquet(part)
    write_text(path, text)
    return True


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
