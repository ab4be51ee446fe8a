"""Inner folds of a labelled subset: patients stay together, classes are spread evenly.

The folds are those of scikit-learn's `StratifiedGroupKFold(shuffle=True)`, number for number, found about ten times as
fast: a probe of a few hundred rows would spend more time there than on all its fits.
"""

from __future__ import annotations

import numpy as np

INNER_FOLDS = 5


def inner_folds(
    labels: np.ndarray, patients: np.ndarray, *, seed: int, folds: int = INNER_FOLDS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of (training, held-out) positions, by patient and stratified by class; none where a class has one patient.

    There are as many folds as the rarest class has patients, `folds` at most. A held-out side may miss
    classes, and so may, rarely, a training side.
    """
    present, codes = np.unique(labels, return_inverse=True)
    known, owners = np.unique(patients, return_inverse=True)
    counts = np.zeros((len(known), len(present)))
    np.add.at(counts, (owners, codes), 1)
    folds = min(folds, *(counts > 0).sum(0).tolist()) if len(present) > 1 else 0
    if folds < 2:
        return []
    held_in = _assign(counts, folds, np.random.RandomState(seed))[owners]  # the fold in which a row is held out
    pairs = [(np.flatnonzero(held_in != fold), np.flatnonzero(held_in == fold)) for fold in range(folds)]
    return [(train, held) for train, held in pairs if len(held) and len(np.unique(labels[train])) > 1]


def _assign(counts: np.ndarray, folds: int, rng: np.random.RandomState) -> np.ndarray:
    """The fold `[P]` of patients with so many rows of each class `[P, K]`.

    In random order, but the most uneven patients first, each goes to the fold where it leaves the share of a class
    that a fold has (its standard deviation over folds, mean over classes) most even; of equals, to the emptiest.
    """
    order = np.arange(len(counts))
    rng.shuffle(order)
    order = order[np.argsort(-np.std(counts[order], axis=1), kind="stable")]
    totals, classes = counts.sum(0), len(counts[0])
    filled = np.zeros((folds, classes))  # rows of each class in each fold
    add = np.add.reduce  # what `sum` and `mean` come to, which take longer to get there than to add 25 numbers
    own = np.eye(folds)[:, :, None]  # [candidate, fold, 1]
    chosen = np.empty(len(counts), dtype=np.int64)
    for patient in order:
        shares = (filled + own * counts[patient]) / totals  # [candidate, fold, K], had the candidate this patient
        shares -= add(shares, 1, keepdims=True) / folds
        uneven = (add(np.sqrt(add(np.square(shares), 1) / folds), 1) / classes).tolist()
        sizes = add(filled, 1).tolist()
        best, least, smallest = 0, np.inf, np.inf
        for fold in range(folds):
            close = abs(uneven[fold] - least) <= 1e-8 + 1e-5 * least  # as `numpy.isclose` has it
            if uneven[fold] < least or (close and sizes[fold] < smallest):
                best, least, smallest = fold, uneven[fold], sizes[fold]
        filled[best] += counts[patient]
        chosen[patient] = best
    return chosen
