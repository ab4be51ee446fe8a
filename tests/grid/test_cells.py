"""Tables of a run: the same for old cells and new ones, put together bit by bit, and without what is broken."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet
from sklearn.metrics import precision_score

from ssl_zoo.grid import prediction_files
from ssl_zoo.grid.cells import (
    RESULT_COLUMNS,
    as_scores,
    finished,
    load_predictions,
    load_results,
    write_cell,
    write_tables,
)
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
def write(tmp_path, planes):
    """`write(seed)`: a finished cell in a run folder."""

    def write(seed):
        found = Cell(Init("random", "resnet10t"), "linear", 1.0, 0, seed, f"{seed:016x}")
        rows, probabilities = np.arange(4, 40), np.random.default_rng(seed).dirichlet(np.ones(3), 36)
        codes = pd.Index(CLASSES).get_indexer(pd.Index(planes["label"]))[rows]
        cohorts = {}
        for cohort in ("internal", "external"):
            own = (planes["cohort"] == cohort).to_numpy()[rows]
            cohorts[cohort] = as_scores(scores(codes[own], probabilities[own], CLASSES))
        write_cell(tmp_path, found, {"cohorts": cohorts, "seconds": 1.0}, rows, probabilities)
        return found

    return write


@pytest.fixture
def cell(write):
    return write(1)


def frame_of(run, cell, planes):
    """The predictions of a cell, put together by pandas."""
    with np.load(run / "cells" / f"{cell.key}.npz") as saved:
        tested, probabilities = planes.iloc[saved["rows"]], saved["probabilities"]
    columns = {name: tested[name].to_numpy() for name in ("image", "patient_id", "cohort", "label")}
    predicted = np.array(CLASSES, dtype=object)[probabilities.argmax(1)]
    shares = {f"p_{name}": probabilities[:, k] for k, name in enumerate(CLASSES)}
    return pd.DataFrame({"cell": cell.key, **columns, "predicted": predicted, **shares})


@pytest.mark.parametrize("rows", [1, 80, 1000])
def test_predictions_are_those_of_all_cells_in_their_order_however_many_are_held_at_a_time(
    tmp_path, planes, write, monkeypatch, rows
):
    monkeypatch.setattr(prediction_files, "GROUP_ROWS", rows)
    cells = [write(seed) for seed in (3, 1, 2, 5, 4)]
    assert write_tables(tmp_path, "study", cells, planes, CLASSES).changed
    expected = pd.concat([frame_of(tmp_path, cell, planes) for cell in cells], ignore_index=True)
    expected.to_parquet(tmp_path / "whole.parquet")
    pd.testing.assert_frame_equal(load_predictions(tmp_path), pd.read_parquet(tmp_path / "whole.parquet"))
    about = parquet.read_metadata(tmp_path / "predictions.parquet")
    groups = [about.row_group(place).num_rows for place in range(about.num_row_groups)]
    assert groups == {1: [36] * 5, 80: [72, 72, 36], 1000: [180]}[rows]


def test_tables_that_stay_the_same_are_not_written_again(tmp_path, planes, write):
    cells = [write(1), write(2)]
    assert write_tables(tmp_path, "study", cells, planes, CLASSES).changed
    assert not write_tables(tmp_path, "study", cells, planes, CLASSES).changed
    assert write_tables(tmp_path, "study", cells[:1], planes, CLASSES).changed


def test_a_study_without_a_finished_cell_has_empty_tables(tmp_path, planes):
    assert write_tables(tmp_path, "study", [], planes, CLASSES).changed
    assert load_results(tmp_path).empty
    assert load_predictions(tmp_path).empty


BROKEN = {
    "a record cut off": ("json", lambda path: path.write_bytes(path.read_bytes()[:100])),
    "a record that is none": ("json", lambda path: path.write_text("[]")),
    "predictions cut off": ("npz", lambda path: path.write_bytes(path.read_bytes()[:300])),
    "predictions with another byte": ("npz", lambda path: path.write_bytes(path.read_bytes()[::-1])),
    "no byte of predictions": ("npz", lambda path: path.write_bytes(b"")),
    "no predictions": ("npz", lambda path: path.unlink()),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_cell_whose_files_are_broken_is_left_out_and_recorded_as_failed(tmp_path, planes, write, what):
    cells = [write(1), write(2), write(3)]
    ending, damage = BROKEN[what]
    path = tmp_path / "cells" / f"{cells[1].key}.{ending}"
    damage(path)
    assert write_tables(tmp_path, "study", cells, planes, CLASSES).changed
    others = [cells[0].key, cells[2].key]
    assert load_results(tmp_path)["cell"].unique().tolist() == others
    assert load_predictions(tmp_path)["cell"].unique().tolist() == others
    done, failed = finished(tmp_path, cells)
    assert done == set(others)
    assert list(failed) == [cells[1].key]
    assert failed[cells[1].key].startswith(f"{path}: ")
    write(2)
    assert write_tables(tmp_path, "study", cells, planes, CLASSES).changed
    assert finished(tmp_path, cells) == ({cell.key for cell in cells}, {})
    assert len(load_predictions(tmp_path)) == 3 * 36


def test_a_cell_of_before_has_weighted_precision_and_recall_from_its_predictions(tmp_path, planes, cell):
    path = tmp_path / "cells" / f"{cell.key}.json"
    assert write_tables(tmp_path, "study", [cell], planes, CLASSES).changed
    written, text = load_results(tmp_path), (tmp_path / "results.csv").read_text()
    record = json.loads(path.read_text())
    for found in record["cohorts"].values():
        for name in WEIGHTED:
            del found[name]
    path.write_text(json.dumps(record))
    (tmp_path / "results.csv").unlink()
    assert write_tables(tmp_path, "study", [cell], planes, CLASSES).changed
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
