"""How long it takes to plan a study of 100,000 cells and to say how it stands, with a file on disk for every cell.

python -m experiments.benchmarks.planning

`plan` lays out all cells under their keys; `status` does so as well, finds out which cells are done, and estimates the
time that is left. The first status of a run folder reads every cell's record, later ones only those that are new.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from experiments.benchmarks import measure
from ssl_zoo.config import Experiment, PretrainConfig, TransferConfig
from ssl_zoo.encoders.files import Card, save_encoder
from ssl_zoo.grid import outline
from ssl_zoo.grid.cells import RESULT_COLUMNS, describe
from ssl_zoo.grid.ledger import TABLE
from ssl_zoo.grid.plan import Plan, make_plan
from ssl_zoo.grid.study import Study
from ssl_zoo.planes.splits import Split
from ssl_zoo.planes.table import Planes

BAR_S = 5.0
PLANES, FOLDS = 2000, 5
FRACTIONS = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0]
CELLS, SEEDS = 100_000, 20
TURNS = 3


def study_of(run: Path, cells: int, seeds: int) -> Study:
    """A study of untrained networks, one for each of as many backbones as give so many cells."""
    rng = np.random.default_rng(0)
    splits = []
    for fold, test in enumerate(np.array_split(rng.permutation(PLANES), FOLDS)):
        train = np.setdiff1d(np.arange(PLANES), test)
        splits.append(Split(fold, train, np.array([], dtype=np.int64), np.sort(test)))
    transfer = TransferConfig(modes=["linear", "finetune"], fractions=FRACTIONS, seeds=list(range(seeds)))
    each = len(transfer.modes) * len(FRACTIONS) * FOLDS * seeds
    experiment = Experiment(
        name="planning",
        runs=str(run.parent),
        pretrain=PretrainConfig(methods=[]),
        transfer=dataclasses.replace(transfer, inits=encoders(run.parent / "given", max(1, round(cells / each)) - 1)),
    )
    table = pd.DataFrame({"label": ["a"] * PLANES})
    planes = Planes(table=table, classes=("a", "b"), fingerprint="0" * 16)
    return Study(experiment, run, {}, planes, np.zeros((PLANES, 1, 1), np.uint8), splits)


def encoders(folder: Path, count: int) -> list[str]:
    """The folders of so many encoders, as far as a plan looks into them."""
    card = Card(backbone="resnet10t", size=64, channels=1, mean=[0.25], std=[0.25], seed=0)
    for k in range(count):
        save_encoder(folder / f"encoder-{k}", torch.nn.Linear(2, 2), card)
    return [str(folder / f"encoder-{k}") for k in range(count)]


def write_results(run: Path, plan: Plan) -> None:
    """The files of every cell but the last one, with a record like that of a real cell, from an hour ago."""
    folder, before = run / "cells", time.time() - 3600
    folder.mkdir(parents=True)
    measures = {name: 0.123456789 for name in RESULT_COLUMNS if name.rpartition("_")[2] in ("macro", "weighted")}
    scores = {**measures, "f1_per_class": dict.fromkeys("abcde", 0.123456789), "classes_missing": []}
    result = {"seconds": 1.5, "cohorts": dict.fromkeys(("external", "internal"), scores), "notes": {"lambda": 0.01}}
    for cell in plan.cells[:-1]:
        path = folder / f"{cell.key}.json"
        path.write_text(json.dumps({**describe(cell), **result}, indent=1) + "\n")
        os.utime(path, (before, before))
        path.with_suffix(".npz").touch()


def seconds(act: Callable[[], object], turns: int) -> tuple[float, float]:
    """Median seconds on the clock and of the cores, the latter also where other programs want the same ones."""
    spent = []
    for _ in range(turns):
        before = measure.Mark.now("cpu")
        act()
        after = measure.Mark.now("cpu")
        spent.append((after.wall_s - before.wall_s, after.core_s - before.core_s))
    wall, core = (statistics.median(values) for values in zip(*spent, strict=True))
    return round(wall, 3), round(core, 3)


def main(given: Sequence[str] | None = None) -> None:
    options = measure.parser(__doc__).parse_args(given)
    measure.start(options)
    cells, seeds = (240, 2) if options.quick else (CELLS, SEEDS)
    load = measure.load()
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(Path(folder) / "run", cells, seeds)
        plan = make_plan(study)
        write_results(study.run, plan)
        rows = []
        for case, act, turns in (
            ("plan", lambda: make_plan(study), TURNS),
            ("status, for the first time", lambda: outline.table_of(study, make_plan(study)), 1),
            ("status", lambda: outline.table_of(study, make_plan(study)), TURNS),
        ):
            wall_s, core_s = seconds(act, turns)
            rows.append(
                {
                    "case": f"{case}, {len(plan.cells):,} cells",
                    "device": options.device,
                    "threads": options.threads,
                    "seconds": wall_s,
                    "core_s": core_s,
                    "bar_s": None if options.quick else BAR_S,
                    "planes": PLANES,
                    "load_before": load,
                }
            )
            print(rows[-1])
        done = outline.table_of(study, plan)["done"].sum()
        assert done == len(plan.cells) - 1, done
        assert options.quick or (study.run / TABLE).is_file()
    measure.write_rows(options, "planning", rows)


if __name__ == "__main__":
    main()
