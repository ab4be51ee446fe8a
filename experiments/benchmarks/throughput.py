"""How much of the speed of the bare step a real pre-training keeps.

Frames a second of `pretrain` (store, pairs, views, step, monitors, checkpoints) against the same step on one batch that
stays in memory; both in one process, in turns of one step each (of as many as fit into a second, where steps are fast).

    python -m experiments.benchmarks.throughput                  # 64 px in batches of 64, 224 px in batches of 16
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from experiments.benchmarks.fixed_step import FixedStep
from experiments.benchmarks.measure import load, parser, spread, start, words, write_rows
from experiments.benchmarks.real_loop import STEPS, barlow_twins, beside_real_loop
from experiments.benchmarks.stores import write_store

BARS = {"cpu": 0.85, "cuda": 0.95}
BATCH = {64: 64, 224: 16}
TURNS = {64: 40, 224: 16}


def compare(size: int, batch_size: int, *, frames: int, turns: int, device: str) -> dict[str, Any]:
    """One row of the result: the ratio of speeds at an image size."""
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "frames", frames=frames, size=size)
        settings = barlow_twins(size, batch_size)
        fixed = FixedStep(settings, store, device, STEPS)
        before = load()
        pairs = beside_real_loop(settings, store, Path(folder), fixed.take_many, device=device, turns=turns)
    frames_seen = batch_size * sum(turn.steps for turn in pairs)
    real, bare = sum(turn.real_s for turn in pairs), sum(turn.other_s for turn in pairs)
    return {
        "case": f"{size} px",
        "batch_size": batch_size,
        "ratio": spread([turn.other_s / turn.real_s for turn in pairs]),
        "ratio_of_sums": round(bare / real, 4),
        "core_ratio": spread([turn.other_core_s / turn.real_core_s for turn in pairs]),
        "frames_per_s": round(frames_seen / real, 1),
        "frames_per_s_of_the_step": round(frames_seen / bare, 1),
        "bar": BARS[device.partition(":")[0]],
        "load_before": before,
    }


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[64, 224], choices=[64, 224])
    given = options.parse_args(arguments)
    start(given)
    rows = [_row(given, size) for size in ([32] if given.quick else given.sizes)]
    write_rows(given, "throughput", rows)


def _row(given: argparse.Namespace, size: int) -> dict[str, Any]:
    if given.quick:
        row = compare(size, 16, frames=64, turns=2, device=given.device)
    else:
        row = compare(size, BATCH[size], frames=2048, turns=TURNS[size], device=given.device)
    print(
        f"{row['case']}: a real run has {words(row['ratio'])} of the speed of the bare step (all turns together "
        f"{row['ratio_of_sums']:.2f}; in core seconds {words(row['core_ratio'])}; bar {row['bar']}); "
        f"{row['frames_per_s']:.0f} against {row['frames_per_s_of_the_step']:.0f} frames/s",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
