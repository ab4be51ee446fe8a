"""What do many small fine-tuning cells cost in the grid, and what as a script each?

A study of 100 cells (5 label fractions x 20 seeds, an untrained network, 30 steps of 32 images of 64 pixels) is
evaluated by `ssl-zoo evaluate --no-report`, whose start and whose decoding of 1,000 PNG files count too. The same cells
run as separate processes, as many at a time as there are cores and with one thread each, with a DataLoader over the PNG
files (`png_way.py`). They cost the same whatever their seed: every fifth of them is run, four of each fraction, and the
time of all is taken in proportion; the row says so. Both sides compute in the same number format.

The files are 256 pixels wide and high, as those of the phantom, or 800, which is as many pixels as the 959 x 661 of the
public data set FETAL_PLANES_DB: a script decodes each as often as it is drawn.

Measured: seconds by the clock for each cell, and those of all cores, which hardly change when other programs want them.

    python -m experiments.benchmarks.finetuning
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments.benchmarks.measure import load, parser, start, write_rows
from experiments.benchmarks.stores import PICTURES, sector_pictures
from ssl_zoo.config import load_experiment
from ssl_zoo.grid.study import Study, open_study
from ssl_zoo.planes.splits import nested_subset
from ssl_zoo.training.precision import resolve_precision

BAR = 2.0  # times faster than the processes, on two cores
ROOT = Path(__file__).resolve().parents[2]
DRAWN, SIDES = 256, (256, 800)  # pixels of the pictures as they are made up, and of the PNG files
SIZE, BATCH, BACKBONE = 64, 32, "resnet10t"
CLASSES = ("4CH", "LVOT", "RVOT", "3VV", "3VT")
FRACTIONS = (0.1, 0.25, 0.5, 0.75, 1.0)
EVERY = 5  # of the cells, one is run as a process


def write_planes(folder: Path, patients: int, side: int) -> Path:
    """`planes.csv` and its PNG files: two images of each class for each patient. What they show does not matter."""
    (folder / "images").mkdir(parents=True)
    lines = ["image,label,patient_id"]
    for number in range(2 * len(CLASSES) * patients):
        if number % PICTURES == 0:
            pictures = sector_pictures(DRAWN, seed=number)  # no two files alike, or the audit would refuse them
        patient, k = divmod(number, 2 * len(CLASSES))
        name = f"images/{patient:03d}-{k}.png"
        Image.fromarray(pictures[number % PICTURES]).resize((side, side), Image.Resampling.BICUBIC).save(folder / name)
        lines.append(f"{name},{CLASSES[k % len(CLASSES)]},P{patient:03d}")
    (folder / "planes.csv").write_text("\n".join(lines) + "\n")
    return folder / "planes.csv"


def write_experiment(folder: Path, planes: Path, fractions: tuple[float, ...], seeds: int, steps: int) -> Path:
    """The study as a user writes it."""
    text = f"""
name: finetuning
runs: {folder / "runs"}
frames: {{size: {SIZE}, channels: 1}}
pretrain: {{methods: [], backbone: {BACKBONE}}}
planes: {{source: {planes}, test_fraction: 0.3, val_fraction: 0.1}}
transfer:
  modes: [finetune]
  fractions: {list(fractions)}
  seeds: {list(range(seeds))}
  finetune: {{steps: {steps}, batch_size: {BATCH}}}
compute: {{device: cpu, threads: 1}}
"""
    path = folder / "finetuning.yaml"
    path.write_text(text)
    return path


def tasks_of(study: Study, steps: int) -> list[dict[str, Any]]:
    """What the script of each cell is told: the same rows, steps and number format."""
    transfer, split, planes = study.experiment.transfer, study.splits[0], study.planes
    paths = planes.table["path"].tolist()

    def files(rows: np.ndarray) -> list[tuple[str, int]]:
        return [(paths[row], int(planes.labels[row])) for row in rows]

    return [
        {
            "backbone": BACKBONE,
            "classes": len(planes.classes),
            "size": SIZE,
            "steps": steps,
            "batch_size": BATCH,
            "seed": seed,
            "bf16": resolve_precision("auto", "cpu") is not None,
            "workers": 0,  # every core has a process of its own already; loaders beside them would only add starts
            "train": files(nested_subset(planes, split.train, fraction, seed)),
            "test": files(split.test),
        }
        for fraction in transfer.fractions
        for seed in transfer.seeds
    ]


def timed(commands: list[list[str]], at_a_time: int) -> tuple[float, float]:
    """Seconds by the clock, and of all cores, that some commands take, each of them with one thread."""
    environment = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

    def execute(command: list[str]) -> None:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")

    before, clock = _children_s(), time.perf_counter()
    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(execute, commands))
    return time.perf_counter() - clock, _children_s() - before


def _children_s() -> float:
    """Core seconds of all processes that have ended and were started here, those that they started included."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(
    side: int, *, fractions: tuple[float, ...], seeds: int, every: int, patients: int, steps: int, cores: int
) -> dict[str, Any]:
    """The row of one size of files: the study, and every n-th of its cells as a process."""
    before = load()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_experiment(folder, write_planes(folder / "planes", patients, side), fractions, seeds, steps)
        command = [sys.executable, "-m", "ssl_zoo", "evaluate", str(path), f"compute.workers={cores}"]
        ours = timed([[*command, "--quiet", "--no-report"]], 1)
        study = open_study(load_experiment(path).run_folder)
        tasks = tasks_of(study, steps)
        done = len(list((study.run / "cells").glob("*.npz")))
        if done != len(tasks):
            raise RuntimeError(f"{done} of {len(tasks)} cells have a result")
        chosen = tasks[::every]
        commands = []
        for number, task in enumerate(chosen):
            file = folder / f"task{number}.json"
            file.write_text(json.dumps(task))
            commands.append([sys.executable, "-m", "experiments.benchmarks.png_way", str(file)])
        theirs = timed(commands, cores)
    per_cell = [seconds / len(tasks) for seconds in ours]
    per_process = [seconds / len(chosen) for seconds in theirs]
    return {
        "case": f"{len(tasks)} cells of {steps} steps, {BACKBONE}, {SIZE} px, batch {BATCH}; files of {side} px",
        "cells": len(tasks),
        "processes": len(chosen),  # measured; all would take in proportion
        "speedup": round(per_process[0] / per_cell[0], 2),
        "core_speedup": round(per_process[1] / per_cell[1], 2),
        "seconds_per_cell": round(per_cell[0], 3),
        "seconds_per_process": round(per_process[0], 3),
        "core_seconds_per_cell": round(per_cell[1], 3),
        "core_seconds_per_process": round(per_process[1], 3),
        "bar": BAR,
        "load_before": before,
    }


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--steps", type=int, help="of each cell (default: 30)")
    options.add_argument("--seeds", type=int, help="five cells for each (default: 20)")
    options.add_argument("--sides", type=int, nargs="+", help="pixels of the PNG files (default: 256 800)")
    given = options.parse_args(arguments)
    start(given)
    fractions, seeds, every, patients = ((1.0,), 2, 2, 8) if given.quick else (FRACTIONS, 20, EVERY, 100)
    rows = []
    for side in given.sides or (SIDES[:1] if given.quick else SIDES):
        row = measured(
            side,
            fractions=fractions,
            seeds=given.seeds or seeds,
            every=every,
            patients=patients,
            steps=given.steps or (2 if given.quick else 30),
            cores=given.threads,
        )
        print(
            f"{row['case']}: {row['seconds_per_cell']:.2f} s a cell, {row['seconds_per_process']:.2f} s a process "
            f"({row['processes']} of {row['cells']} measured): {row['speedup']:.2f} x faster, "
            f"{row['core_speedup']:.2f} x in core seconds (bar: {BAR})",
            flush=True,
        )
        rows.append(row)
    write_rows(given, "finetuning", rows)


if __name__ == "__main__":
    main()
