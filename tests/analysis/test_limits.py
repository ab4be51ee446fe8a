"""What a run cannot say, where its modes were not tested alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ssl_zoo.analysis.limits import limits_of
from ssl_zoo.analysis.run_folder import Run, read_run
from ssl_zoo.analysis.statistics import estimate

Limits = Callable[..., str]


@pytest.fixture
def limits(fake_run: Callable[..., Path], tmp_path: Path) -> Limits:
    run: Run = read_run(fake_run(tmp_path, seeds=(0, 1), fractions=(0.1, 1.0)))

    def of(**patients: int) -> str:
        table = estimate(run.results, run.predictions, replicates=10).table
        for mode, count in patients.items():
            rows = (table["mode"] == mode) & (table["cohort"] == "internal")
            table.loc[rows, "n_test_patients"] = count
        return " ".join(limits_of(run, table, budgets_differ=False, tuned=False))

    return of


def test_modes_that_were_tested_on_different_patients_are_a_limit(limits: Limits) -> None:
    said = limits(linear=100, finetune=20)
    assert "cohort internal: fine-tuning on 20 and linear probe on 100" in said
    assert "Compare inits within a mode" in said


def test_modes_that_were_tested_on_the_same_patients_are_none(limits: Limits) -> None:
    assert "tested on the same patients" not in limits()
