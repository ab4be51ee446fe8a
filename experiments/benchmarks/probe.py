"""How long do the linear probes of one encoder take, against a loop of scikit-learn's LogisticRegression on joblib?

Made-up features of 2,000 planes in 512 dimensions: 400 patients with a plane of each of 5 classes. The grid: 6 label
fractions x 5 folds x 5 seeds, each of which chooses among 9 penalties by inner folds of its own patients (5 where there
are enough patients) and is then fitted on its whole subset and tested on its fold. Both sides use the same subsets,
inner folds, class weights and rule of choice, and the same cores. The loop uses them as joblib's processes of one
thread each. Ours is measured in two ways: `seconds`, as a run works, with one process of one thread on each core, each
of which does the grid of an encoder (the time of all is divided by their number); and `alone_s`, with the cores as
threads of one process that does one grid, as a run of a single encoder does where `compute.threads` says so.

The loop fits every cell, as a loop over the grid would. Ours, as in a run, fits equal subsets once: with all labels the
5 seeds of a fold are one subset, so of 150 cells 130 are different. What the loop would take if it left these 20 out as
well is told beside it, as `distinct`. The loop standardises, fits and scores as its documentation does; its `tol` is
the default in one case. In the other it is as small as it takes to reach our optimum within 1e-4 of the loss, which the
default does not for the smallest penalties; how far each is off is measured on the way.

`--cells` is how many cells of each fraction the loop does; the time of the whole loop is that of those cells times what
there are of them. Measured: seconds by the clock and of all cores, and the macro-F1 of the cells that both did.

    python -m experiments.benchmarks.probe
"""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from experiments.benchmarks.measure import Mark, load, parser, start, write_rows
from ssl_zoo.transfer.probe import (
    FIXED_LAMBDA,
    FOLDS_SEED,
    LAMBDAS,
    Probe,
    Subset,
    batches,
    class_weights,
    fit_probes,
    inner_folds,
)
from ssl_zoo.transfer.side_by_side import side_by_side

BAR, SAME_F1 = 20, 0.002
TURNS = 3  # of our side, of which the one in the middle counts
FRACTIONS, FOLDS, SEEDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0), 5, 5
TOLERANCES = {"tol as it comes": 1e-4, "the same optimum": 1e-6}
TIE = 1e-3  # losses that are equal within this share of the smallest; the larger penalty is then taken


@dataclass(frozen=True)
class Grid:
    """Features float32 `[N, D]`, labels `[N]`, patients `[N]`, and the cells: fraction, rows, tested rows, seed."""

    features: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    cells: list[tuple[float, np.ndarray, np.ndarray, int]]

    def subset(self, cell: int) -> Subset:
        _, rows, _, _ = self.cells[cell]
        return Subset(self.features[rows], self.labels[rows], self.patients[rows])


def make_grid(patients: int, dims: int, classes: int = 5, *, folds: int = FOLDS, seeds: int = SEEDS) -> Grid:
    """Features like those after a ReLU: correlated, skewed, with directions of patients and, weaker, of classes."""
    rng = np.random.default_rng(0)
    labels, own = np.tile(np.arange(classes), patients), np.repeat(np.arange(patients), classes)
    mixing = np.linalg.qr(rng.normal(size=(dims, dims)))[0] * np.exp(-3 * np.arange(dims) / dims)[:, None]
    hidden = rng.normal(size=(len(labels), dims)) + 0.8 * rng.normal(size=(patients, dims))[own]
    hidden += 0.5 * rng.normal(size=(classes, dims))[labels] * (np.arange(dims) < 60)
    features = np.maximum(hidden @ mixing + 0.3, 0).astype(np.float32)
    cells = []
    for fraction in FRACTIONS:
        for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=0).split(features, labels, own):
            known = np.unique(own[train])
            for seed in range(seeds):
                order = np.random.default_rng(seed).permutation(known)
                chosen = order[: max(2, round(fraction * len(order)))]
                cells.append((fraction, train[np.isin(own[train], chosen)], test, seed))
    return Grid(features, labels, own, cells)


def ours(grid: Grid, classes: int, device: str) -> dict[int, Probe]:
    """All probes, as a job of the grid fits them: equal subsets once."""
    equal = list(distinct(grid).values())
    subsets = [grid.subset(cells[0]) for cells in equal]
    sizes = [len(subset.labels) for subset in subsets]
    work = batches(sizes, grid.features.shape[1], classes, len(LAMBDAS), device)

    def fit_batch(batch: list[int]) -> list[Probe]:
        return fit_probes([subsets[place] for place in batch], n_classes=classes, device=device)

    probes: dict[int, Probe] = {}
    for batch, found in zip(work, side_by_side(fit_batch, work, device), strict=True):
        probes.update({cell: probe for place, probe in zip(batch, found, strict=True) for cell in equal[place]})
    return probes


def in_process(grid: Grid, classes: int) -> float:
    """Core seconds of one grid, as a worker of a run does it."""
    torch.set_num_threads(1)
    before = time.process_time()
    ours(grid, classes, "cpu")
    return time.process_time() - before


def as_in_a_run(grid: Grid, classes: int, processes: int) -> tuple[float, float]:
    """Seconds by the clock and of all cores for one grid, where each of some processes does one; the median turn."""
    small = Grid(grid.features, grid.labels, grid.patients, grid.cells[:1])
    turns = []
    with Parallel(n_jobs=processes, batch_size=1) as parallel:
        parallel(delayed(in_process)(small, classes) for _ in range(2 * processes))  # they start, and warm up
        for _ in range(TURNS):
            begun = time.perf_counter()
            core_s = list(parallel(delayed(in_process)(grid, classes) for _ in range(processes)) or ())
            turns.append(((time.perf_counter() - begun) / processes, float(np.mean(core_s))))
    return sorted(turns)[TURNS // 2]


def on_its_own(grid: Grid, classes: int, device: str) -> tuple[dict[int, Probe], float, float]:
    """The probes of one grid, and its seconds by the clock and of all cores, in this process; the median turn."""
    probes = ours(Grid(grid.features, grid.labels, grid.patients, grid.cells[:1]), classes, device)  # warm
    turns = []
    for _ in range(TURNS):
        begun = Mark.now(device)
        probes = ours(grid, classes, device)
        ended = Mark.now(device)
        turns.append((ended.wall_s - begun.wall_s, ended.core_s - begun.core_s))
    return probes, *sorted(turns)[TURNS // 2]


def distinct(grid: Grid) -> dict[bytes, list[int]]:
    """Cells that learn from the same rows."""
    found: dict[bytes, list[int]] = {}
    for cell, (_, rows, *_) in enumerate(grid.cells):
        found.setdefault(rows.tobytes(), []).append(cell)
    return found


def fit(features: np.ndarray, labels: np.ndarray, penalty: float, tol: float) -> tuple[StandardScaler, Any]:
    """One fit of the loop. Our penalty is on features divided by the root of their number, for weights of sum 1."""
    scaler = StandardScaler().fit(features)
    strength = 1 / (penalty * features.shape[1] * len(labels))
    model = LogisticRegression(C=strength, tol=tol, max_iter=10_000, class_weight="balanced")
    return scaler, model.fit(scaler.transform(features), labels)


def loop(subset: Subset, tested: np.ndarray, classes: int, tol: float) -> tuple[np.ndarray, float, float, float]:
    """One cell of the loop: predicted labels, the smallest penalty's objective, seconds by the clock and of a core."""
    before = time.perf_counter(), time.process_time()
    features, labels = subset.features.astype(np.float64), subset.labels
    folds = inner_folds(labels, subset.patients, seed=FOLDS_SEED)
    chosen = FIXED_LAMBDA
    if folds:
        losses = np.zeros(len(LAMBDAS))
        for place, penalty in enumerate(LAMBDAS):
            for train, held in folds:
                scaler, model = fit(features[train], labels[train], penalty, tol)
                held = held[np.isin(labels[held], labels[train])]
                right = model.predict_log_proba(scaler.transform(features[held]))
                right = right[np.arange(len(held)), np.searchsorted(model.classes_, labels[held])]
                weights = class_weights(labels[held], classes)[labels[held]]
                losses[place] -= np.average(right, weights=weights) / len(folds)
        chosen = LAMBDAS[int(np.flatnonzero(losses <= losses.min() * (1 + TIE))[-1])]
    scaler, model = fit(features, labels, chosen, tol)
    predicted = model.predict(scaler.transform(tested))
    wall_s, core_s = time.perf_counter() - before[0], time.process_time() - before[1]
    # Out of time: the objective at the smallest penalty, where it is hardest to reach.
    scaler, model = fit(features, labels, LAMBDAS[0], tol)
    weights = class_weights(labels, classes)[labels]
    right = model.predict_log_proba(scaler.transform(features))[np.arange(len(labels)), labels]
    loss = LAMBDAS[0] * features.shape[1] / 2 * np.square(model.coef_).sum() - np.average(right, weights=weights)
    return predicted, float(loss), wall_s, core_s


def some_cells(grid: Grid, each: int) -> list[int]:
    """`each` cells of every fraction, evenly spaced over folds and seeds."""
    found = []
    for fraction in FRACTIONS:
        own = [cell for cell, (given, *_) in enumerate(grid.cells) if given == fraction]
        found += [own[place] for place in np.linspace(0, len(own) - 1, min(each, len(own))).round().astype(int)]
    return found


def compare(grid: Grid, probes: dict[int, Probe], options: Any, tol: float, classes: int) -> dict[str, Any]:
    """The loop on some cells, and how its results and ours differ there."""
    cells = some_cells(grid, options.cells)
    work = [(grid.subset(cell), grid.features[grid.cells[cell][2]].astype(np.float64)) for cell in cells]
    with Parallel(n_jobs=options.threads) as parallel:
        parallel(delayed(os.getpid)() for _ in range(2 * options.threads))  # the processes start out of time
        found: list[Any] = list(parallel(delayed(loop)(subset, tested, classes, tol) for subset, tested in work) or ())
    differences, excess, whole, different = [], [], np.zeros(2), np.zeros(2)
    firsts = [same[0] for same in distinct(grid).values()]
    for cell, (predicted, loss, wall_s, core_s) in zip(cells, found, strict=True):
        fraction, _, tested, _ = grid.cells[cell]
        probabilities = probes[cell].predict(grid.features[tested])
        f1 = [f1_score(grid.labels[tested], guess, average="macro") for guess in (probabilities.argmax(1), predicted)]
        differences.append(f1[0] - f1[1])
        own = grid.subset(cell)
        (least,) = fit_probes([own], n_classes=classes, lambdas=LAMBDAS[:1])
        excess.append(loss / objective(least, own, classes) - 1)
        done = sum(grid.cells[other][0] == fraction for other in cells)
        whole += np.array([wall_s, core_s]) * sum(given == fraction for given, *_ in grid.cells) / done
        different += np.array([wall_s, core_s]) * sum(grid.cells[first][0] == fraction for first in firsts) / done
    return {
        "loop_cells": len(cells),
        "loop_s": round(whole[0] / options.threads, 2),  # of the whole grid, as the cells that were done suggest
        "loop_core_s": round(whole[1], 2),
        "distinct_cells": len(firsts),
        "distinct_loop_s": round(different[0] / options.threads, 2),
        "distinct_loop_core_s": round(different[1], 2),
        "f1_difference": round(float(np.mean(differences)), 5),
        "largest_f1_difference": round(float(np.abs(differences).max()), 5),
        "loop_excess": float(f"{max(excess):.2g}"),
    }


def objective(probe: Probe, subset: Subset, classes: int) -> float:
    """What a probe minimises, on its own subset."""
    weights = class_weights(subset.labels, classes)[subset.labels]
    right = probe.predict(subset.features)[np.arange(len(subset.labels)), subset.labels]
    return float(
        probe.chosen_lambda / 2 * np.square(probe.coefficients).sum() - np.average(np.log(right), weights=weights)
    )


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--cells", type=int, default=3, help="of each fraction, that the loop does (all: 25)")
    given = options.parse_args(arguments)
    start(given)
    classes = 5
    if given.quick:
        grid, given.cells = make_grid(20, 12, folds=2, seeds=1), 1
    else:
        grid = make_grid(400, 512)
    warnings.simplefilter("ignore")
    rows, before = [], load()
    probes, alone_s, alone_core_s = on_its_own(grid, classes, given.device)
    on_cpu = given.device == "cpu"
    seconds, core_s = as_in_a_run(grid, classes, given.threads) if on_cpu else (alone_s, alone_core_s)
    size = f"{len(grid.labels):,} x {grid.features.shape[1]}, {len(grid.cells)} cells x {len(LAMBDAS)} penalties"
    for name, tol in TOLERANCES.items():
        row: dict[str, Any] = {"case": f"{size}, {name}", "tol": tol, "load_before": before}
        row |= {"seconds": round(seconds, 3), "core_s": round(core_s, 3), "alone_s": round(alone_s, 3)}
        row |= compare(grid, probes, given, tol, classes)
        row |= {"speedup": round(row["loop_s"] / seconds, 2), "core_speedup": round(row["loop_core_s"] / core_s, 2)}
        row |= {
            "alone_speedup": round(row["loop_s"] / alone_s, 2),
            "distinct_speedup": round(row["distinct_loop_s"] / seconds, 2),
            "distinct_core_speedup": round(row["distinct_loop_core_s"] / core_s, 2),
        }
        rows.append(row | {"bar": BAR, "bar_f1": SAME_F1})
        print(
            f"{row['case']}: {seconds:.1f} s against {row['loop_s']:.0f} s ({row['loop_cells']} cells done), "
            f"{row['speedup']:.1f} times as fast (bar: {BAR}), {row['core_speedup']:.1f} times in core seconds; "
            f"a single encoder {alone_s:.1f} s, {row['alone_speedup']:.1f} times; "
            f"without equal subsets in the loop {row['distinct_speedup']:.1f} and {row['distinct_core_speedup']:.1f}; "
            f"macro-F1 differs by {row['f1_difference']:+.4f} (bar: {SAME_F1}), "
            f"the loop's loss by {row['loop_excess']:.1e}",
            flush=True,
        )
    write_rows(given, "probe", rows)


if __name__ == "__main__":
    main()
