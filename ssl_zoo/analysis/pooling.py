"""The cells of one setting, and the score of any part of them: what is pooled, what is averaged.

**Folds that test different patients are pooled.** In a cross-validation each patient is tested once, by the fold that
did not learn from it. The predictions of all folds make one confusion matrix per init, seed and pre-training seed, and
macro-F1 is taken of that. F1 is no mean over images: averaged over folds it is biased, the more so the fewer images of
a class a fold holds, and a fold that lacks a class is scored on other classes than its neighbour. Pooling has neither
fault (Forman and Scholz 2010, "Apples-to-apples in cross-validation studies"), and lets the bootstrap draw patients
from the whole cohort rather than within folds.

**Folds that test the same patients are averaged**, as seeds are: an external cohort is tested by every fold's network,
and these are repetitions. Seeds are never pooled: the mean over seeds is the score to expect of one more training.

**Every setting of a cohort has the same resamples of its patients**, which pairs settings, though one may test only
some of them, such as a single fold. A resample then draws a varying number of these, which makes intervals a little
wider than they need be. Intervals and p-values go by the number of patients tested, not by that of the cohort.

AUROC is not pooled either, since it compares scores across images, and those of two networks have no common scale; it
is averaged over folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import patient_weights
from ssl_zoo.analysis.counts import Codes, Floats, Tested, f1_of_counts, read_cohort


@dataclass(frozen=True, eq=False)
class SettingCells:
    """The cells of one mode, label fraction and cohort.

    `rows`: their rows of the results, numbered from 0. `predicted` `[cells]`: which have predictions. `counts`
    `[cells, P, 3, K]` (zeros without predictions) and `weights` `[1 + R, P]`: None where none has; P are the patients
    of the cohort, of which the setting may test only some. `pooled`: whether folds make one confusion matrix.
    """

    rows: pd.DataFrame
    replicates: int
    predicted: np.ndarray
    pooled: bool = False
    tested: Tested | None = None
    counts: Floats | None = None
    weights: Floats | None = None
    _known: dict[tuple[int, ...], Floats] = field(default_factory=dict)

    def n_patients(self, cells: Sequence[int] | Codes) -> int:
        """How many patients some cells test between them; 0 without predictions."""
        if self.counts is None:
            return 0
        return int((self.counts[[int(cell) for cell in cells], :, 1] > 0).any((0, 2)).sum())

    def units(self, cells: Sequence[int] | Codes) -> list[tuple[int, ...]]:
        """Which of the cells are scored together: the folds of one seed where folds are pooled, else each alone."""
        if not self.pooled:
            return [(int(cell),) for cell in cells]
        found: dict[tuple[object, ...], list[int]] = {}
        start = ["init", "backbone", "seed", "pretrain_seed"]
        keys = self.rows.reindex(columns=start).fillna({"pretrain_seed": -1}).iloc[[int(cell) for cell in cells]]
        for cell, key in zip(cells, keys.itertuples(index=False, name=None), strict=True):
            found.setdefault(key, []).append(int(cell))
        return [tuple(unit) for unit in found.values()]

    def f1(self, cells: Sequence[int] | Codes) -> Floats:
        """Macro-F1 `[1 + R]` of some cells of one init: of the sample, then of every resample; mean over units.

        Where a cell has no predictions the point is the mean of the results, and the resamples are NaN. So is a
        resample that draws none of the patients that the cells test: whoever reads resamples leaves it out.
        """
        index = [int(cell) for cell in cells]
        if self.counts is None or self.weights is None or not self.predicted[index].all():
            point = float(self.rows["f1_macro"].iloc[index].mean())
            return np.concatenate([[point], np.full(self.replicates, np.nan)])
        scores = np.stack([self._f1_of_unit(unit) for unit in self.units(index)])  # [units, 1 + R]
        scored = ~np.isnan(scores)  # a unit none of whose patients was drawn has no score
        total = np.where(scored, scores, 0).sum(0)
        return np.where(scored.any(0), total / np.maximum(scored.sum(0), 1), np.nan)

    def totals(self, unit: Sequence[int]) -> Floats:
        """Counts `[1 + R, 3, K]` of a unit under every weighting of the patients."""
        assert self.counts is not None
        assert self.weights is not None
        counts = self.counts[list(unit)].sum(0)  # [P, 3, K]
        return (self.weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])

    def _f1_of_unit(self, unit: tuple[int, ...]) -> Floats:
        if unit not in self._known:
            self._known[unit] = f1_of_counts(self.totals(unit))
        return self._known[unit]

    def shared(self, one: Sequence[int], other: Sequence[int]) -> tuple[list[int], list[int]]:
        """Those of two lists of cells whose fold and seed both lists have: what a paired comparison may use."""
        pairs = list(zip(self.rows["fold"], self.rows["seed"], strict=True))
        both = {pairs[cell] for cell in one} & {pairs[cell] for cell in other}
        return [c for c in one if pairs[c] in both], [c for c in other if pairs[c] in both]


def cells_by_setting(
    results: pd.DataFrame, predictions: pd.DataFrame | None, *, replicates: int, seed: int
) -> Iterator[SettingCells]:
    """Every (cohort, mode, fraction) of the results; cohorts in their order, modes and fractions sorted."""
    for cohort, in_cohort in results.groupby("cohort", sort=False):
        tested = weights = None
        if predictions is not None:
            tested = read_cohort(predictions, str(cohort))
            if tested.patients:
                weights = patient_weights(len(tested.patients), replicates, seed, str(cohort))
        for _, group in in_cohort.groupby(["mode", "fraction"], sort=True):
            rows = group.reset_index(drop=True)
            if tested is None or weights is None:
                yield SettingCells(rows, replicates, np.zeros(len(rows), bool))
                continue
            there = rows["cell"].astype(str).isin(list(tested.rows_of)).to_numpy()
            counts = np.zeros((len(rows), len(tested.patients), 3, len(tested.classes)))
            if there.any():
                counts[there] = tested.counts(list(rows["cell"].astype(str)[there]))
            pooled = folds_are_parts(rows["fold"].to_numpy(), counts)
            yield SettingCells(rows, replicates, there, pooled, tested, counts, weights)


def pooled_scores(results: pd.DataFrame, predictions: pd.DataFrame | None, by: Sequence[str]) -> pd.DataFrame:
    """Macro-F1 of every group of cells of a setting: `mode, fraction, cohort, *by, f1_macro`.

    Folds are pooled and seeds averaged as everywhere. `by`: the columns of the results that make a group within a
    setting, at least init and backbone. Without predictions a score is the mean over the group's cells.
    """
    if predictions is not None:
        predictions = predictions.loc[predictions["cell"].astype(str).isin(results["cell"].astype(str))]
    rows = []
    for cells in cells_by_setting(results, predictions, replicates=0, seed=0):
        for _, part in cells.rows.groupby(list(by), sort=False, dropna=False):
            names = {name: part[name].iloc[0] for name in ("mode", "fraction", "cohort", *by)}
            rows.append(names | {"f1_macro": float(cells.f1(part.index.to_numpy(np.int64))[0])})
    return pd.DataFrame(rows, columns=["mode", "fraction", "cohort", *by, "f1_macro"])


def folds_are_parts(folds: np.ndarray, counts: Floats) -> bool:
    """Whether several folds test different patients, so that together they make one test set.

    `folds` `[cells]`, `counts` `[cells, P, 3, K]`.
    """
    by_patient = counts[:, :, 1].sum(-1) > 0  # [cells, P]
    names = np.unique(folds)
    tests = np.stack([by_patient[folds == fold].any(0) for fold in names])  # [folds, P]
    return len(names) > 1 and bool((tests.sum(0) <= 1).all())
