"""Scores of predictions on scans whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.analysis.frame_truth import truth_scores
from ssl_zoo.transfer.predictor import ScanPrediction
from ssl_zoo.transfer.timeline import findings

PLANES = ("4CH", "LVOT", "3VV")


def predicted(shown: list[str], *, rate: float = 25.0) -> ScanPrediction:
    """A prediction that is sure of these planes, "none" where it sets a frame aside."""
    times = np.arange(len(shown)) / rate
    accepted = np.array([plane != "none" for plane in shown])
    classes = [PLANES.index(plane) if plane in PLANES else 0 for plane in shown]
    probabilities = np.eye(3)[classes] * 0.7 + 0.1
    found = tuple(findings(probabilities, accepted, times, PLANES))
    return ScanPrediction(np.arange(len(shown)), times, probabilities, probabilities, accepted, PLANES, found)


def test_a_perfect_prediction_of_a_scan_without_some_planes_scores_1():
    shown = ["4CH"] * 10 + ["none"] * 5 + ["LVOT"] * 10
    scores = truth_scores([predicted(shown)], [pd.Series(shown)])
    assert scores["frame_f1"] == scores["frame_f1_planes"] == 1.0
    assert scores["best_frame_hits"] == scores["missing_right"] == 1.0
    assert scores["abstention_precision"] == scores["abstention_recall"] == 1.0


def test_a_plane_that_is_not_there_costs_those_it_is_taken_for():
    truth = ["4CH"] * 10 + ["LVOT"] * 10
    scores = truth_scores([predicted(["4CH"] * 10 + ["3VV"] * 10)], [pd.Series(truth)])
    assert scores["frame_f1"] == pytest.approx(0.5)  # 1 for 4CH, 0 for LVOT
    assert scores["best_frame_hits"] == pytest.approx(0.5)
    assert np.isnan(scores["abstention_recall"])


def test_a_still_counts_as_showing_its_plane():
    scores = truth_scores([predicted(["LVOT"])], [pd.Series(["LVOT"])])
    assert scores["best_frame_hits"] == scores["missing_right"] == 1.0
