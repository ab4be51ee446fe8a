from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.isotonic import isotonic_regression

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.labels_saved import AT_SMALLEST, NOT_REACHED, REACHED, crossing, labels_saved, monotone
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.score_tables import saved_table
from ssl_zoo.analysis.statistics import Estimates

FRACTIONS = (0.01, 0.1, 1.0)


def _estimates(curves: dict[str, list[float]], spread: float = 0.0, replicates: int = 400) -> Estimates:
    """Curves over FRACTIONS with independent normal noise in every resample."""
    rows = [
        {"init": init, "backbone": "net", "mode": "linear", "fraction": f, "cohort": "internal", "method": init}
        | {"f1_macro": score, "difference": score - base, "n_test_patients": 50}
        for init, curve in curves.items()
        for f, score, base in zip(FRACTIONS, curve, curves["random"], strict=True)
    ]
    table = pd.DataFrame(rows)
    noise = np.random.default_rng(0).normal(0, spread, (len(table), replicates))
    samples = table["f1_macro"].to_numpy()[:, None] + noise
    return Estimates(table, samples, samples)


def test_the_monotone_fit_equals_that_of_scikit_learn() -> None:
    scores = np.random.default_rng(1).normal(size=(50, 7))
    assert np.allclose(monotone(scores), [isotonic_regression(row) for row in scores])


def test_a_single_lucky_fraction_does_not_count_as_reaching_the_goal() -> None:
    lucky = _estimates({"random": [0.2, 0.3, 0.6], "byol": [0.3, 0.62, 0.4]})
    steady = _estimates({"random": [0.2, 0.3, 0.6], "byol": [0.3, 0.62, 0.66]})
    assert labels_saved(lucky)["state"].item() == NOT_REACHED
    assert labels_saved(steady)["state"].item() == REACHED


def test_the_fraction_of_a_straight_curve_equals_its_closed_form() -> None:
    # 0.2 per factor of ten from 0.3 at 1 %: 0.55 is reached at 0.01 * 10 ** (0.25 / 0.2)
    saved = labels_saved(_estimates({"random": [0.2, 0.3, 0.55], "byol": [0.3, 0.5, 0.7]}))
    assert saved["fraction"].item() == pytest.approx(0.01 * 10**1.25)
    assert saved["low"].item() == pytest.approx(0.01 * 10**1.25)


def test_censored_answers_are_told_in_words() -> None:
    curves = {"random": [0.2, 0.3, 0.5], "byol": [0.6, 0.7, 0.8], "mae": [0.1, 0.2, 0.3], "moco": [0.3, 0.6, 0.7]}
    saved = labels_saved(_estimates(curves)).set_index("init")
    assert saved["state"].to_dict() == {"byol": AT_SMALLEST, "mae": NOT_REACHED, "moco": REACHED}
    assert np.isinf(saved.loc["mae", "low"])
    table = saved_table(saved.reset_index(), "internal", looks_of(saved.reset_index()))
    rows = {line[0]: [cell.replace("\u00a0", " ") for cell in line[4:7]] for line in table.rows}
    assert rows["BYOL"] == ["already at 1 %", "≤ 1 %", "at least 99 %"]
    assert rows["MAE"] == ["not reached", "not reached", "none shown"]
    assert rows["MoCo v2"][0] == "4.6 %"
    assert rows["MoCo v2"][2] == "95 %"


def test_the_interval_of_the_fraction_covers_the_true_one_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    truth = {"random": np.array([0.2, 0.3, 0.5]), "byol": np.array([0.3, 0.6, 0.9])}
    true_fraction = crossing(FRACTIONS, truth["byol"], 0.5)[0]
    covered = 0
    for _ in range(60):
        seen = {init: list(curve + generator.normal(0, 0.02, 3)) for init, curve in truth.items()}
        found = labels_saved(_estimates(seen, spread=0.02, replicates=200)).iloc[0]
        covered += found["low"] <= true_fraction <= found["high"]
    assert 0.88 <= covered / 60 <= 1


def test_the_chart_of_labels_saved_cuts_nothing_off_and_is_left_out_where_there_is_nothing(cut_off) -> None:
    curves = {"random": [0.2, 0.3, 0.5], "byol": [0.6, 0.7, 0.8], "mae": [0.1, 0.2, 0.3], "moco": [0.3, 0.6, 0.7]}
    saved = labels_saved(_estimates(curves, spread=0.03))
    figure = figures.labels_saved_chart(saved)
    assert figure is not None
    assert not cut_off(figure)
    labels = [label.get_text().replace("\u00a0", " ") for label in figure.axes[0].get_xticklabels()]
    assert labels[-2:] == ["100 %", "not\nreached"]
    assert figures.labels_saved_chart(saved.iloc[:0]) is None
