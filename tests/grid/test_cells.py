"""Tables of a run: measures that cells of an older run folder lack are taken from their predictions."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score

from ssl_zoo.grid.cells import RESULT_COLUMNS, as_scores, load_results, write_cell, write_tables
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.plan import Cell
from ssl_zoo.transfer.metrics import scores

CLASSES = ["dark", "grey", "light"]
WEIGHTED = ["precision_weighted", "recall_weighted"]


@pytest.fixture
def planes():
    labels = np.array(CLASSES)[np.random.default_rng(0).choice(3, 40, p=[0.6, 0.3, 0.1])]
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(40)], "label": labels})
    return table.assign(patient_id=[f"P{i // 4}" for i in range(40)], cohort=["internal", "external"] * 20)


@pytest.fixture
def cell(tmp_path, planes):
    """A finished cell in a run folder."""
    found = Cell(Init("random", "resnet10t"), "linear", 1.0, 0, 0, "0123456789abcdef")
    rows, probabilities = np.arange(4, 40), np.random.default_rng(1).dirichlet(np.ones(3), 36)
    codes = pd.Index(CLASSES).get_indexer(pd.Index(planes["label"]))[rows]
    cohorts = {}
    for cohort in ("internal", "external"):
        own = (planes["cohort"] == cohort).to_numpy()[rows]
        cohorts[cohort] = as_scores(scores(codes[own], probabilities[own], CLASSES))
    write_cell(tmp_path, found, {"cohorts": cohorts, "seconds": 1.0}, rows, probabilities)
    return found


def test_a_cell_of_before_has_weighted_precision_and_recall_from_its_predictions(tmp_path, planes, cell):
    path = tmp_path / "cells" / f"{cell.key}.json"
    assert write_tables(tmp_path, "study", [cell], planes, CLASSES)
    written, text = load_results(tmp_path), (tmp_path / "results.csv").read_text()
    record = json.loads(path.read_text())
    for found in record["cohorts"].values():
        for name in WEIGHTED:
            del found[name]
    path.write_text(json.dumps(record))
    (tmp_path / "results.csv").unlink()
    assert write_tables(tmp_path, "study", [cell], planes, CLASSES)
    assert (tmp_path / "results.csv").read_text() == text
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    for cohort, own in predictions.groupby("cohort"):
        expected = precision_score(own["label"], own["predicted"], average="weighted", zero_division=0.0)  # pyright: ignore
        assert written.set_index("cohort").loc[cohort, "precision_weighted"] == pytest.approx(expected)


def test_a_table_of_before_loads_with_recall_and_without_precision(tmp_path, planes, cell):
    write_tables(tmp_path, "study", [cell], planes, CLASSES)
    path = tmp_path / "results.csv"
    pd.read_csv(path).drop(columns=WEIGHTED).to_csv(path, index=False)
    found = load_results(tmp_path)
    assert list(found.columns) == RESULT_COLUMNS
    assert found["precision_weighted"].isna().all()
    assert (found["recall_weighted"] == found["accuracy"]).all()
