"""What a report tells of the records of cells: what the numbers were computed on, and which of them are doubtful."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ssl_zoo.analysis.limits import limits_of
from ssl_zoo.analysis.report import write_report
from ssl_zoo.analysis.reproduce import machines, versions
from ssl_zoo.analysis.run_folder import read_run
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.training.versions import versions as installed

CPU = {"device": "cpu", "processor": "EPYC", "precision": "fp32", "versions": {"Python": "3.11", "torch": "2.9+cpu"}}
GPU = {"device": "cuda", "processor": "H100", "precision": "bf16", "versions": {"Python": "3.11", "torch": "2.9+cu130"}}


@pytest.fixture
def run(fake_run: Callable[..., Path], tmp_path: Path) -> Path:
    return fake_run(tmp_path, seeds=(0, 1), fractions=(0.1, 1.0), cohorts=("internal",))


def keys(run: Path) -> dict[str, list[str]]:
    """The finished cells, by mode."""
    return pd.read_csv(run / "results.csv").groupby("mode")["cell"].unique().map(list).to_dict()


def record(run: Path, cells: list[str], mode: str, computed: dict | None, **notes: object) -> None:
    for cell in cells:
        told = {"cell": cell, "mode": mode, "cohorts": {}, "notes": notes}
        (run / "cells" / f"{cell}.json").write_text(json.dumps(told | ({"computed": computed} if computed else {})))


def limits(run: Path) -> str:
    read = read_run(run)
    table = estimate(read.results, read.predictions, replicates=10).table
    return " ".join(limits_of(read, table, budgets_differ=False, tuned=False))


def test_numbers_are_told_with_the_machines_and_versions_that_computed_them(run: Path) -> None:
    cells = keys(run)
    record(run, cells["linear"], "linear", CPU)
    record(run, cells["finetune"], "finetune", GPU)
    record(run, ["of another plan"], "knn", GPU)
    path = run / "encoders" / "byol-s0" / "budget.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"computed": GPU}))
    read = read_run(run)
    table = machines(read)
    assert table is not None
    assert sorted(table.rows) == [
        ["cells, fine-tuning", "H100", "cuda", "bf16", str(len(cells["finetune"]))],
        ["cells, linear probe", "EPYC", "cpu", "fp32", str(len(cells["linear"]))],
        ["encoders", "H100", "cuda", "bf16", "1"],
    ]
    assert versions(read).rows == [["Python", "3.11"], ["torch", "2.9+cpu, 2.9+cu130"]]
    assert "were computed on" not in limits(run)  # each mode is on one kind


def test_a_run_of_before_shows_the_versions_of_the_machine_that_writes_the_report(run: Path) -> None:
    read = read_run(run)
    assert machines(read) is None
    assert versions(read).rows == [list(row) for row in installed().items()]


@pytest.mark.parametrize("change", [{"device": "cuda"}, {"processor": "Xeon"}, {"precision": "bf16"}, {"versions": {}}])
def test_cells_of_one_mode_from_several_machines_are_a_limit(run: Path, change: dict) -> None:
    first, *others = keys(run)["finetune"]
    record(run, others, "finetune", CPU)
    assert "were computed on" not in limits(run)
    record(run, [first], "finetune", CPU | change)
    said = limits(run)
    assert "Cells of one mode (fine-tuning) were computed on" in said
    assert "EPYC (cpu, fp32, torch 2.9+cpu)" in said


def test_probes_that_did_not_converge_are_a_limit(run: Path) -> None:
    first, second, *others = keys(run)["linear"]
    record(run, others, "linear", CPU, converged=True, gap=1e-6)
    assert "stopped short" not in limits(run)
    record(run, [first, second], "linear", CPU, converged=False, gap=0.02)
    assert "2 linear probes stopped short of the optimum" in limits(run)


def test_a_broken_record_is_a_failed_cell_of_the_report(run: Path) -> None:
    (run / "cells" / "torn.json").write_text('{"seconds": 1')
    write_report(run, replicates=20)
    assert "torn.json: not valid JSON" in (run / "report.html").read_text()
