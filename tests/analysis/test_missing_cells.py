"""Inits with folds that have not run, or failed: whoever is compared with them is so on the cells that both have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.analysis.answer import make_answer
from ssl_zoo.analysis.contest import contest_of
from ssl_zoo.analysis.label_area import label_areas, not_below_the_best
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.statistics import Estimates, estimate
from ssl_zoo.analysis.variants import variant_effects

SKILL = {"random": 0.0, "simclr": 0.8, "byol": 1.6, "moco@near": 0.6, "moco@far": 0.5}
HARD = (3, 4)  # folds whose patients no network gets right, and which SimCLR and the second variant have not run
SETTING = {"mode": "linear", "cohort": "internal"}


@pytest.fixture(scope="module")
def estimates(fake_cells: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]) -> Estimates:
    settings = {"modes": ("linear",), "fractions": (0.05, 1.0), "seeds": (0,), "cohorts": ("internal",), "folds": 5}
    results, predictions = fake_cells(skill=SKILL, **settings)
    hard = predictions["cell"].str[-1].astype(int).isin(HARD)
    hard &= np.random.default_rng(0).random(len(predictions)) < 0.9
    wrong = {"4CH": "LVOT", "LVOT": "RVOT", "RVOT": "3VV", "3VV": "3VT", "3VT": "4CH"}
    predictions.loc[hard, "predicted"] = predictions.loc[hard, "label"].map(wrong)
    gone = results["init"].isin(["simclr", "moco@far"]) & results["fold"].isin(HARD)
    return estimate(results.loc[~gone], predictions, replicates=300)


def _row(estimates: Estimates, init: str, fraction: float = 0.05) -> int:
    return int(estimates.rows(init=init, fraction=fraction, **SETTING)[0])


def test_a_gap_is_that_of_the_folds_that_both_have_and_knows_their_patients(estimates: Estimates) -> None:
    simclr, byol = _row(estimates, "simclr"), _row(estimates, "byol")
    scores = estimates.table["f1_macro"]
    assert scores[simclr] > scores[byol]  # its hard folds are missing
    gap, turned = estimates.gap(byol, simclr), estimates.gap(simclr, byol)
    assert gap.difference == -turned.difference > 0
    assert (gap.samples == -turned.samples).all()
    assert gap.n_patients == turned.n_patients == estimates.table["n_test_patients"][simclr] == 18
    assert estimates.table["n_test_patients"][byol] == 30
    pair = estimates.pairs.query("init == 'byol' and other == 'simclr' and fraction == 0.05").iloc[0]
    assert (pair["difference"], pair["n_cells"]) == (gap.difference, 3)
    even = estimates.gap(byol, _row(estimates, "random"))
    assert even.difference == scores[byol] - scores[_row(estimates, "random")]


def test_the_best_is_not_the_one_that_lacks_the_hard_folds_and_the_answer_names_who_lacks_some(
    estimates: Estimates,
) -> None:
    contest = contest_of(estimates, "linear", 0.05, "internal")
    assert contest.rows["init"].iloc[0] == "byol"
    assert _row(estimates, "simclr") not in contest.tied
    answer = make_answer(estimates)
    assert "BYOL is the one to use" in answer.sentences[0]
    lacking = "Not every cell has run (SimCLR 3 of 5 and MoCo v2 @far 3 of 5)"
    assert lacking in answer.verdict
    assert lacking in " ".join(answer.findings[0].sentences)


def test_inits_that_share_no_cell_are_not_told_apart(
    fake_cells: Callable[..., tuple[pd.DataFrame, pd.DataFrame]],
) -> None:
    settings = {"modes": ("linear",), "fractions": (0.05,), "seeds": (0,), "cohorts": ("internal",), "folds": 2}
    results, predictions = fake_cells(skill={"simclr": 0.0, "byol": 2.0}, **settings)
    apart = results.loc[(results["fold"] == 0) == (results["init"] == "byol")]
    contest = contest_of(estimate(apart, predictions, replicates=100), "linear", 0.05, "internal")
    assert contest.rows.loc[contest.tied, "init"].tolist() == ["simclr"]


def test_areas_are_compared_on_the_folds_that_both_have(estimates: Estimates) -> None:
    areas = label_areas(estimates)
    own = areas.table.set_index("init")
    assert own.loc["simclr", "area"] > own.loc["byol", "area"]
    pair = areas.pairs.query("init == 'byol' and other == 'simclr'").iloc[0]
    gaps = [estimates.gap(_row(estimates, "byol", f), _row(estimates, "simclr", f)).difference for f in (0.05, 1.0)]
    assert pair["difference"] == pytest.approx(np.mean(gaps))
    assert own.loc["simclr", "difference"] == pytest.approx(
        estimates.table.query("init == 'simclr'")["difference"].mean()
    )
    assert pair["difference"] > 0
    assert ("byol", "resnet10t") in not_below_the_best(areas, "linear", "internal")


def test_variants_are_compared_on_the_folds_that_both_have(estimates: Estimates) -> None:
    looks = looks_of(estimates.table, ("near", "far"))
    effect = variant_effects(estimates, looks).query("fraction == 0.05").iloc[0]
    gap = estimates.gap(_row(estimates, "moco@far"), _row(estimates, "moco@near"))
    assert effect["difference"] == gap.difference
    scores = estimates.table["f1_macro"]
    assert abs(effect["difference"]) < scores[_row(estimates, "moco@far")] - scores[_row(estimates, "moco@near")]
    assert effect["low"] < effect["difference"] < effect["high"]
