"""Who is trained on and who is tested: hold-out, cross-validation and nested label subsets, always by patient.

Pure functions, row numbers in and row numbers out. Rows of another cohort than "internal" are in the test set of every
fold and nowhere else.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.planes.table import INTERNAL, Planes

PROTOCOLS = ("holdout", "cross_validation")
DRAWS = 200  # random divisions of the patients, of which the one with the most even classes is taken


@dataclass(frozen=True)
class Split:
    """Sorted row numbers of one fold. `val` is for calibration only; `test` holds the rows of every cohort."""

    fold: int
    train: np.ndarray
    val: np.ndarray
    test: np.ndarray


def make_splits(
    planes: Planes,
    protocol: str,
    *,
    folds: int = 5,
    seed: int = 0,
    val_fraction: float = 0.1,
    test_fraction: float = 0.3,
) -> list[Split]:
    """The folds of a protocol.

    "holdout" is one fold: that of the table's `split` column where it has one, otherwise drawn by patient, classes
    as even as they get. "cross_validation" tests each internal patient exactly once and does not look at the
    column. Fractions are of the internal patients; in cross-validation `val_fraction` is of those not tested.

    Raises UserError when a patient would be on two sides, naming who and where, or when there are too few patients.
    """
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    internal = np.flatnonzero(planes.internal)
    external = np.flatnonzero(~planes.internal)
    if not len(internal):
        raise UserError(f"no plane is in the cohort '{INTERNAL}', so there is nothing to train on")
    both = sorted(set(planes.patients[internal]) & set(planes.patients[external]))
    if both:
        row = external[np.flatnonzero(planes.patients[external] == both[0])[0]]
        other = planes.table["cohort"].iloc[row]
        raise UserError(
            f"patient '{both[0]}' is in the cohorts '{INTERNAL}' and '{other}' ({planes.table['where'].iloc[row]})"
        )
    if protocol == "cross_validation":
        tested = _fold_tests(planes, internal, folds, seed)
        splits = [
            _with_val(planes, fold, np.setdiff1d(internal, test), np.union1d(test, external), val_fraction, seed)
            for fold, test in enumerate(tested)
        ]
    elif (planes.table["split"].iloc[internal] != "").any():
        splits = [_given(planes, internal, external)]
    else:
        _check_fraction("test_fraction", test_fraction)
        patients = np.unique(planes.patients[internal])
        if len(patients) < 2:
            raise UserError("the planes are all of one patient, so none is left to test on")
        n_test = min(max(1, round_half_up(test_fraction * len(patients))), len(patients) - 1)
        n_val = min(round_half_up(val_fraction * len(patients)), len(patients) - n_test - 1)
        train, val, test = _draw(planes, internal, n_test, n_val, seed)
        splits = [Split(0, train, val, np.union1d(test, external))]
    for split in splits:
        check_classes(planes, split)
    return splits


def check_classes(planes: Planes, split: Split) -> None:
    """Raise UserError for a class that no training image shows."""
    absent = set(range(len(planes.classes))) - set(planes.labels[split.train])
    if absent:
        name = planes.classes[min(absent)]
        raise UserError(f"the class '{name}' has no training image in fold {split.fold}: too few patients show it")


def nested_subset(planes: Planes, train_rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The sorted training rows of a label budget: all rows of `fraction` of the training patients, rounded half up.

    For one seed, smaller fractions are contained in larger ones. Patients come in random order, but for the
    first few, which are taken so that together they show every class. Where patients are unknown
    (`planes.by_image`) each image is its own patient.

    Raises UserError for a fraction outside (0, 1], or one too small to show every class; it says which one is not.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"the label fraction {fraction:g} is not above 0 and at most 1")
    order, covering = _patient_order(planes, train_rows, seed)
    n_patients = round_half_up(fraction * len(order))
    if n_patients < covering:
        raise _too_small(planes, fraction, covering, len(order))
    chosen = np.isin(planes.patients[train_rows].astype(str), order[:n_patients].astype(str))
    return np.sort(train_rows[chosen])


def check_fraction(planes: Planes, fraction: float, draws: Iterable[tuple[np.ndarray, int]]) -> None:
    """Raise UserError where some `nested_subset` of `draws`, training rows and seeds, is too small to show every class.

    It names the smallest fraction that is enough for all of them.
    """
    short = []
    for train_rows, seed in draws:
        order, covering = _patient_order(planes, train_rows, seed)
        if round_half_up(fraction * len(order)) < covering:
            short.append((covering, len(order)))
    if short:
        raise _too_small(planes, fraction, *max(short, key=lambda one: (one[0] - 0.5) / one[1]))


def round_half_up(value: float) -> int:
    """3.5 to 4, 4.5 to 5; the tolerance is for products such as 0.15 * 10."""
    return math.floor(value + 0.5 + 1e-9)


def _too_small(planes: Planes, fraction: float, covering: int, n_patients: int) -> UserError:
    """The refusal of a fraction of `n_patients`, where it takes `covering` of them to show every class."""
    smallest = math.ceil((covering - 0.5) / n_patients * 1e4) / 1e4
    unit = "images" if planes.by_image else "patients"
    return UserError(
        f"the label fraction {fraction:g} is {round_half_up(fraction * n_patients)} of {n_patients} training {unit}, "
        f"which cannot show all {len(planes.classes)} classes; the smallest possible fraction is {smallest:g} "
        f"({covering} {unit})"
    )


def _patient_order(planes: Planes, rows: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """All patients of `rows` in the order in which they are labelled, and how many it takes to show every class."""
    patients, counts = _class_counts(planes, rows)
    if (counts.sum(0) == 0).any():
        raise UserError(f"the class '{planes.classes[int(np.argmin(counts.sum(0)))]}' has no training image")
    shuffled = np.random.default_rng([seed, 1]).permutation(len(patients))
    shows = counts[shuffled] > 0  # [P, K]
    first: list[int] = []
    open_classes = np.ones(counts.shape[1], dtype=bool)
    while open_classes.any():
        best = int(np.argmax((shows & open_classes).sum(1)))  # the earliest of those that show most of what is missing
        first.append(best)
        open_classes &= ~shows[best]
    rest = np.setdiff1d(np.arange(len(patients)), first)
    return patients[shuffled[np.concatenate([first, rest])]], len(first)


def _class_counts(planes: Planes, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted patients `[P]` of `rows` and their images per class `[P, K]`."""
    patients, position = np.unique(planes.patients[rows].astype(str), return_inverse=True)
    counts = np.zeros((len(patients), len(planes.classes)), dtype=np.int64)
    np.add.at(counts, (position, planes.labels[rows]), 1)
    return patients, counts


def _given(planes: Planes, internal: np.ndarray, external: np.ndarray) -> Split:
    """The split of the table's column, once no patient is on two sides of it."""
    splits, patients = planes.table["split"].to_numpy(dtype=object), planes.patients
    sides: dict[str, int] = {}
    for row in internal.tolist():
        patient = str(patients[row])
        first = sides.setdefault(patient, row)
        if splits[first] != splits[row]:
            places = f"{planes.table['where'].iloc[first]}, and {planes.table['where'].iloc[row].split(', ')[-1]}"
            raise UserError(f"patient '{patient}' is in the splits '{splits[first]}' and '{splits[row]}' ({places})")
    train, val, test = (internal[splits[internal] == side] for side in ("train", "val", "test"))
    if not len(train) or not len(test) + len(external):
        raise UserError(f"the column 'split' leaves no row for {'training' if not len(train) else 'testing'}")
    return Split(0, train, val, np.union1d(test, external))


def _fold_tests(planes: Planes, internal: np.ndarray, folds: int, seed: int) -> list[np.ndarray]:
    """The internal rows that each fold tests: every one in exactly one fold, no patient in two."""
    patients, counts = _class_counts(planes, internal)
    if folds < 2:
        raise UserError(f"cross-validation takes at least 2 folds, not {folds}")
    if folds > len(patients):
        raise UserError(f"{folds} folds need as many patients, and the internal cohort has {len(patients)}")
    for name, shown_by in zip(planes.classes, (counts > 0).sum(0), strict=True):
        if shown_by == 1:
            raise UserError(f"only one patient shows the class '{name}'; cross-validation needs at least two")
    groups = planes.patients[internal].astype(str)
    labels = planes.labels[internal]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # a class with fewer images than folds is uneven, and no mistake
        warnings.simplefilter("ignore", UserWarning)
        tests = [internal[held] for _, held in splitter.split(labels, labels, groups)]
    if any(len(test) == 0 for test in tests):  # it can leave a fold empty when there are few patients
        dealt = np.random.default_rng([seed, 2]).permutation(patients)
        tests = [internal[np.isin(groups, dealt[fold::folds])] for fold in range(folds)]
    return tests


def _with_val(planes: Planes, fold: int, rest: np.ndarray, test: np.ndarray, fraction: float, seed: int) -> Split:
    n_patients = len(np.unique(planes.patients[rest].astype(str)))
    n_val = min(round_half_up(fraction * n_patients), n_patients - 1)
    train, _, val = _draw(planes, rest, n_val, 0, seed + 1000 * (fold + 1))
    return Split(fold, train, val, test)


def _draw(
    planes: Planes, rows: np.ndarray, n_test: int, n_val: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divide `rows` by patient into train, val and test: of many random divisions the one with the most even classes.

    A class missing in training weighs most, one missing in test next, then the shares of each class.
    """
    patients, counts = _class_counts(planes, rows)
    totals = np.maximum(counts.sum(0), 1)
    generator = np.random.default_rng([seed, 0])
    best, best_cost = None, math.inf
    for _ in range(DRAWS):
        order = generator.permutation(len(patients))
        test, val = counts[order[:n_test]].sum(0), counts[order[n_test : n_test + n_val]].sum(0)
        missing = 1e6 * (counts.sum(0) == test + val).sum() + (1e3 * (test == 0).sum() if n_test else 0)
        uneven = (
            np.square(test / totals - n_test / len(patients)).sum()
            + np.square(val / totals - n_val / len(patients)).sum()
        )
        if missing + uneven < best_cost:
            best, best_cost = order, missing + uneven
    assert best is not None
    groups = planes.patients[rows].astype(str)
    test, val = np.isin(groups, patients[best[:n_test]]), np.isin(groups, patients[best[n_test : n_test + n_val]])
    return rows[~test & ~val], rows[val], rows[test]


def _check_fraction(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise UserError(f"{name} is {value:g}; it must lie between 0 and 1")
