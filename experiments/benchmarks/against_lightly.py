"""Views a second of our pre-training against lightly's documented way; both in one process, in turns.

The cases differ in what the two sides have in common, so that the table shows where the ratio comes from:

    as documented     each as its documentation says: lightly trains float32 on colour images read from PNG files;
                      ssl_zoo trains on the store's grey frames in the precision that the processor is best at
    bf16 for both     the same, with lightly under bf16 autocast
    same precision    both float32, both one grey channel, both from memory
    same operations   the same, and both only with those operations that both have

`--what views` makes views and trains nothing. lightly gets a worker for each core, and as many threads for its steps
as are fastest; ssl_zoo has all cores as threads.

    python -m experiments.benchmarks.against_lightly                          # everything, about a quarter of an hour
    python -m experiments.benchmarks.against_lightly --sizes 64 --cases "as documented"
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from experiments.benchmarks.fixed_step import batches_of
from experiments.benchmarks.lightly_way import LightlyTraining, Way
from experiments.benchmarks.measure import Mark, load, parser, spread, start, words, write_rows
from experiments.benchmarks.real_loop import Turn, barlow_twins, beside_real_loop
from experiments.benchmarks.stores import write_store
from ssl_zoo.pretraining.batches import Batches

BARS = {"cpu": 1.8, "cuda": 2.5}
FRAMES = 2048


@dataclass(frozen=True)
class Case:
    """What the two sides do."""

    lightly: Way
    ours: dict[str, Any] = field(default_factory=dict)  # changes of our settings


CASES = {
    "as documented": Case(Way(grey=False)),
    "bf16 for both": Case(Way(grey=False, bf16=True), {"precision": "bf16"}),
    "same precision": Case(Way(grey=True), {"precision": "fp32"}),
    "same operations": Case(
        Way(grey=True, lean=True),
        {"precision": "fp32", "views": {"noise": 0.0, "gamma": 0.0, "crop_scale": [0.08, 1.0]}},
    ),
}


@dataclass(frozen=True)
class Length:
    """How much is measured at an image size."""

    batch_size: int
    steps: int  # in a turn
    turns: int


LENGTHS = {64: Length(64, 4, 8), 224: Length(16, 3, 5)}
QUICK = Length(8, 2, 1)


def compare(
    name: str, size: int, length: Length, *, frames: int, only_views: bool, device: str, threads: int
) -> dict[str, Any]:
    """One row of the result: the ratio of speeds of one case at one image size."""
    case = CASES[name]
    settings = barlow_twins(size, length.batch_size, **case.ours)
    views = 2 * length.batch_size * length.steps
    with tempfile.TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        store = write_store(folder / "frames", frames=frames, size=size)
        lightly = LightlyTraining(
            case.lightly,
            store,
            folder,
            size=size,
            batch_size=length.batch_size,
            steps=length.steps,
            workers=os.cpu_count() or 1,
            device=device,
        )
        epoch = lightly.only_views if only_views else lightly.train
        best = fastest_threads(epoch, threads)

        def theirs(steps: int) -> None:
            torch.set_num_threads(best)
            epoch()
            torch.set_num_threads(threads)

        before = load()
        if only_views:
            ours = functools.partial(make_batches, batches_of(settings, store, device))
            pairs = [one_turn(ours, theirs, length.steps, device) for _ in range(length.turns + 1)][1:]
        else:
            options = {"device": device, "turns": length.turns, "steps": length.steps}
            pairs = beside_real_loop(settings, store, folder, theirs, **options)
    # A turn of ours is longer where many steps fit into a second; theirs always has the same number.
    ours_s = [turn.real_s * length.steps / turn.steps for turn in pairs]
    ours_core_s = [turn.real_core_s * length.steps / turn.steps for turn in pairs]
    seconds, lightly_seconds = float(np.median(ours_s)), float(np.median([turn.other_s for turn in pairs]))
    return {
        "case": f"{size} px, {'views only' if only_views else 'training'}, {name}",
        "batch_size": length.batch_size,
        "ratio": spread([turn.other_s / mine for turn, mine in zip(pairs, ours_s, strict=True)]),
        "core_ratio": spread([turn.other_core_s / mine for turn, mine in zip(pairs, ours_core_s, strict=True)]),
        "views_per_s": round(views / seconds, 1),
        "views_per_s_of_lightly": round(views / lightly_seconds, 1),
        "lightly_workers": os.cpu_count(),
        "lightly_threads": best,
        "bar": None if only_views or name != "as documented" else BARS[device.partition(":")[0]],
        "load_before": before,
    }


def one_turn(ours: Callable[[int], object], theirs: Callable[[int], object], steps: int, device: str) -> Turn:
    """Both sides once, without the real loop."""
    marks = [Mark.now(device)]
    for side in (ours, theirs):
        side(steps)
        marks.append(Mark.now(device))
    began, middle, end = marks
    wall = (middle.wall_s - began.wall_s, end.wall_s - middle.wall_s)
    return Turn(steps, *wall, middle.core_s - began.core_s, end.core_s - middle.core_s)


def fastest_threads(epoch: Callable[[], object], threads: int) -> int:
    """With how many threads an epoch is shortest: one, or all. The first epoch, which starts the workers, is apart."""
    epoch()
    seconds = {}
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        began = time.perf_counter()
        epoch()
        seconds[count] = time.perf_counter() - began
    torch.set_num_threads(threads)
    return min(seconds, key=lambda count: seconds[count])


def make_batches(batches: Batches, steps: int) -> None:
    """What our loop does before a step, so many times."""
    for step in range(steps):
        batches.of_step(step)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[64, 224], choices=[64, 224])
    options.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    options.add_argument("--what", nargs="+", default=["training", "views"], choices=["training", "views"])
    given = options.parse_args(arguments)
    start(given)
    for size in [32] if given.quick else given.sizes:
        for what in given.what:
            for name in given.cases:
                if not (what == "views" and name == "bf16 for both"):
                    write_rows(given, "against_lightly", [_row(given, size, what, name)])


def _row(given: argparse.Namespace, size: int, what: str, name: str) -> dict[str, Any]:
    only_views = what == "views"
    length, frames = (QUICK, 64) if given.quick else (LENGTHS[size], FRAMES)
    if only_views and not given.quick:
        length = dataclasses.replace(length, steps=2 * length.steps, turns=2 * length.turns)
    row = compare(name, size, length, frames=frames, only_views=only_views, device=given.device, threads=given.threads)
    print(
        f"{row['case']}: {words(row['ratio'])} times lightly's views/s ({words(row['core_ratio'])} in core seconds); "
        f"{row['views_per_s']:.0f} against {row['views_per_s_of_lightly']:.0f}",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
