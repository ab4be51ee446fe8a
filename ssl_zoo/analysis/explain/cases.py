"""Which test images are looked at: a fair draw to measure on, and right and wrong cases to show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_zoo.errors import unknown
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.study import Study


@dataclass(frozen=True)
class Cases:
    """Rows of the plane table: `measured` are drawn blindly, `right` and `wrong` by what the cell said, per class."""

    measured: np.ndarray
    right: dict[int, list[int]]
    wrong: dict[int, list[int]]

    @property
    def shown(self) -> list[int]:
        return sorted({row for side in (self.right, self.wrong) for rows in side.values() for row in rows})


def choose_cases(study: Study, cell: Cell, *, cohort: str, per_class: int, shown: int, seed: int) -> Cases:
    """Draw `per_class` test images of each class to measure on, and up to `shown` right and wrong ones to show.

    The draw depends on the fold and `seed` alone, so that all cells of a fold are measured on the same images; of a
    patient a second image is taken only when all patients have one. Shown cases are measured ones where there
    are some. Raises UserError for a cohort without test images.
    """
    table, labels = study.planes.table, study.planes.labels
    split = next(split for split in study.splits if split.fold == cell.fold)
    cohorts = table["cohort"].to_numpy(dtype=object)[split.test]
    if cohort not in set(cohorts):
        raise unknown("test cohort", cohort, {str(name) for name in cohorts})
    tested = split.test[cohorts == cohort]
    said = _said(study, cell)
    generator = np.random.default_rng(np.random.SeedSequence([seed, cell.fold]))
    measured: list[int] = []
    right: dict[int, list[int]] = {}
    wrong: dict[int, list[int]] = {}
    for label in range(len(study.planes.classes)):
        rows = _spread(study, tested[labels[tested] == label], generator)
        measured += rows[:per_class]
        right[label] = [row for row in rows if said[row] == label][:shown]
        wrong[label] = [row for row in rows if said[row] != label][:shown]
    return Cases(np.array(sorted(measured), dtype=np.int64), right, wrong)


def _said(study: Study, cell: Cell) -> dict[int, int]:
    """The class that the cell gave to each tested row."""
    with np.load(study.run / "cells" / f"{cell.key}.npz") as saved:
        return dict(zip(saved["rows"].tolist(), saved["probabilities"].argmax(1).tolist(), strict=True))


def _spread(study: Study, rows: np.ndarray, generator: np.random.Generator) -> list[int]:
    """Rows in random order, first one of every patient, then a second of each, and so on."""
    rows = generator.permutation(rows)
    turns: dict[str, int] = {}
    turn = []
    for patient in study.planes.patients[rows]:
        turn.append(turns.get(patient, 0))
        turns[patient] = turn[-1] + 1
    return rows[np.argsort(turn, kind="stable")].tolist()
