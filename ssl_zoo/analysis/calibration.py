"""Reliability: how often predictions of a given confidence are right, with intervals over patients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import interval, patient_weights
from ssl_zoo.analysis.counts import read_cohort
from ssl_zoo.analysis.statistics import START, pick
from ssl_zoo.transfer.metrics import confidence_bins

BINS = 10  # of the diagram; wider than those of the error, so that a bin of it holds enough patients
COLUMNS = [
    *START,
    "mode",
    "fraction",
    "cohort",
    "bin",
    "n_images",
    "n_patients",
    "confidence",
    "accuracy",
    "low",
    "high",
]


def reliability_table(
    results: pd.DataFrame,
    predictions: pd.DataFrame,
    *,
    mode: str,
    fractions: list[float],
    cohort: str,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """COLUMNS, a row per init, fraction and filled bin of confidence (the largest probability).

    Seeds and folds go together, so an image counts once for each cell that tested it (`n_images`). `confidence` and
    `accuracy`: means over the bin; `low`, `high`: 95 % of the accuracy when patients are drawn anew.
    """
    tested = read_cohort(predictions, cohort)
    n_patients = len(tested.patients)
    weights = patient_weights(n_patients, replicates, seed, cohort) if n_patients else np.zeros((0, 0))
    rows = []
    points = pick(results, mode=mode, cohort=cohort)
    points = points.loc[points["fraction"].isin(fractions)]
    for key, own in points.groupby([*START, "fraction"], sort=False):
        cells = [cell for cell in own["cell"].astype(str) if cell in tested.rows_of]
        if not cells:
            continue
        at, _ = tested.rows(cells)
        confidence, right = tested.confidence[at], tested.label[at] == tested.predicted[at]
        place = tested.patient[at] * BINS + confidence_bins(confidence, BINS)
        count, sure, hit = (  # each [P, BINS]
            np.bincount(place, weights=values, minlength=n_patients * BINS).reshape(n_patients, BINS)
            for values in (None, confidence, right)
        )
        drawn, drawn_hit = weights @ count, weights @ hit  # [1 + R, BINS]
        accuracy = np.where(drawn > 0, drawn_hit / np.maximum(drawn, 1), np.nan)
        init, backbone, fraction = key  # type: ignore[misc]
        for place_of in np.flatnonzero(count.sum(0) > 0):
            patients = int((count[:, place_of] > 0).sum())
            low, high = interval(accuracy[1:, place_of], patients)
            total = count[:, place_of].sum()
            limits = (float(sure[:, place_of].sum() / total), float(accuracy[0, place_of]), low, high)
            counts = (int(place_of), int(total), patients)
            rows.append((init, backbone, mode, fraction, cohort, *counts, *limits))
    return pd.DataFrame(rows, columns=COLUMNS)
