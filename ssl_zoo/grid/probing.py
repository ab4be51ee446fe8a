"""Cells on frozen features: linear probes, nearest neighbours, prototypes; those of one encoder all at once.

Cells differ in the rows that they learn from and test, and share one feature matrix for each encoder. Linear cells that
learn from equal rows, as those of all seeds do where all labels are given, are one probe, fitted once. Probes are
handed to the solver in batches of bounded memory (see `transfer.probe.batches`); each cell is written as soon as its
batch is done, and a cell whose numbers break is alone in failing. A cell's numbers depend on its own rows only: to the
last bit on the CPU, up to rounding on a GPU, whichever cells are done beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_zoo.planes.splits import nested_subset
from ssl_zoo.transfer.neighbours import fit_neighbours, fit_prototypes
from ssl_zoo.transfer.probe import LAMBDAS, Subset, batches, fit_probes
from ssl_zoo.transfer.side_by_side import side_by_side

if TYPE_CHECKING:
    from ssl_zoo.grid.inits import Init
    from ssl_zoo.grid.plan import Cell
    from ssl_zoo.grid.study import Study

FROZEN = ("linear", "knn", "prototype")  # modes that train on cached features

Drawn = tuple["Cell", np.ndarray, np.ndarray]  # a cell, and the rows of the plane table that it learns from and tests


@dataclass(frozen=True, eq=False)
class Probed:
    """What a cell came to: probabilities `[M, K]` of its tested planes, or the error that kept it from them."""

    cell: Cell
    rows: np.ndarray  # of the plane table, learned from
    tested: np.ndarray  # [M] of the plane table
    probabilities: np.ndarray | None
    notes: dict[str, Any]
    seconds: float  # its share of its batch
    error: str = ""


def probe_cells(
    study: Study, cells: Sequence[Cell], features_of: Callable[[Init, int], np.ndarray], device: str
) -> Iterator[list[Probed]]:
    """Do cells of frozen modes, one batch for each item; `features_of` gives an init's `[N, D]` for a seed.

    An error is the result of the cell that it belongs to, and the others go on.
    """
    for group in _by_encoder(cells):
        try:
            features = features_of(group[0].init, group[0].seed)
        except Exception as error:  # whatever it is, it is the result of each of these cells, and told at the end
            yield [_failed(cell, error) for cell in group]
            continue
        drawn: list[Drawn] = []
        for cell in group:
            try:
                drawn.append((cell, *_rows(study, cell)))
            except Exception as error:  # likewise, of this cell
                yield [_failed(cell, error)]
        subsets: dict[bytes, list[Drawn]] = {}  # cells that learn from equal rows, as all seeds with all labels do
        for one in drawn:
            if one[0].mode == "linear":
                subsets.setdefault(one[1].tobytes(), []).append(one)
        linear = list(subsets.values())
        sizes = [len(subset[0][1]) for subset in linear]
        levels = len(study.experiment.transfer.linear.lambdas or LAMBDAS)
        together = batches(sizes, features.shape[1], len(study.planes.classes), levels, device)
        others = [[one] for one in drawn if one[0].mode != "linear"]
        work = [[one for place in places for one in linear[place]] for places in together] + others
        yield from side_by_side(partial(_batch, study, features, device), work, device)


def _by_encoder(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells with the same features: an untrained network has others for each seed."""
    groups: dict[Any, list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.init, cell.seed if cell.init.untrained else None), []).append(cell)
    return list(groups.values())


def _rows(study: Study, cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """The rows that a cell learns from, and those that it tests."""
    split = next(split for split in study.splits if split.fold == cell.fold)
    return nested_subset(study.planes, split.train, cell.fraction, cell.seed), split.test


def _batch(study: Study, features: np.ndarray, device: str, batch: list[Drawn]) -> list[Probed]:
    """Cells of one mode. Where one of several breaks the batch, each is tried by itself."""
    started = time.monotonic()
    try:
        found = _FIT[batch[0][0].mode](study, batch, features, device)
    except Exception as error:  # whatever it is, it is this cell's result, and told at the end
        if len(batch) == 1:
            return [_failed(batch[0][0], error)]
        return [probed for one in batch for probed in _batch(study, features, device, [one])]
    seconds = (time.monotonic() - started) / len(batch)
    return [
        Probed(cell, rows, tested, probabilities, notes, seconds)
        for (cell, rows, tested), (probabilities, notes) in zip(batch, found, strict=True)
    ]


def _failed(cell: Cell, error: Exception) -> Probed:
    none = np.empty(0, dtype=np.int64)
    return Probed(cell, none, none, None, {}, 0.0, f"{type(error).__name__}: {error}")


Found = list[tuple[np.ndarray, dict[str, Any]]]


def _linear(study: Study, batch: list[Drawn], features: np.ndarray, device: str) -> Found:
    labels, patients = study.planes.labels, study.planes.patients
    subsets = {rows.tobytes(): Subset(features[rows], labels[rows], patients[rows]) for _, rows, _ in batch}
    lambdas = study.experiment.transfer.linear.lambdas or LAMBDAS
    n_classes = len(study.planes.classes)
    fitted = fit_probes(list(subsets.values()), n_classes=n_classes, lambdas=lambdas, device=device)
    probes = dict(zip(subsets, fitted, strict=True))
    found = []
    for _, rows, tested in batch:
        probe = probes[rows.tobytes()]
        notes = {
            "lambda": probe.chosen_lambda,
            "lambda_by": probe.lambda_by,
            "converged": probe.converged,
            "gap": float(f"{probe.gap:.2g}") if math.isfinite(probe.gap) else None,
        }
        found.append((probe.predict(features[tested]), notes))
    return found


def _knn(study: Study, batch: list[Drawn], features: np.ndarray, device: str) -> Found:
    labels, n_classes, k = study.planes.labels, len(study.planes.classes), study.experiment.transfer.knn.k
    found = []
    for _, rows, tested in batch:
        nearest = fit_neighbours(features[rows], labels[rows], n_classes=n_classes, k=k)
        found.append((nearest.predict(features[tested]), {"k": nearest.k, "metric": "cosine"}))
    return found


def _prototype(study: Study, batch: list[Drawn], features: np.ndarray, device: str) -> Found:
    labels, patients, n_classes = study.planes.labels, study.planes.patients, len(study.planes.classes)
    found = []
    for _, rows, tested in batch:
        means = fit_prototypes(features[rows], labels[rows], patients[rows], n_classes=n_classes)
        notes = {"temperature": means.temperature, "temperature_by": means.temperature_by, "metric": "cosine"}
        found.append((means.predict(features[tested]), notes))
    return found


_FIT: dict[str, Callable[..., Found]] = {"linear": _linear, "knn": _knn, "prototype": _prototype}
