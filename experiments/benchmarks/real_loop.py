"""The trainer's own loop beside something else, in turns within one process: A B A B ..."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from experiments.benchmarks.measure import Mark
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.settings import PretrainSettings
from ssl_zoo.pretraining.trainer import pretrain
from ssl_zoo.scans.store import FrameStore

AT_MOST_S = 100.0  # for all turns together, once there are a few
FEW = 5
STEPS = 1000  # of the run whose beginning is timed: its monitors look in as often as in a run of this length


@dataclass(frozen=True)
class Turn:
    """Some steps of the real loop, and the same number of whatever stands beside it."""

    steps: int
    real_s: float
    other_s: float
    real_core_s: float  # of all cores together
    other_core_s: float


class Enough(Exception):
    """Ends a run that has been timed; it is no failure."""


def barlow_twins(size: int, batch_size: int, **changes) -> PretrainSettings:
    """Barlow Twins on a ResNet-10-T as it comes, on grey frames."""
    settings = {
        "method": "barlow_twins",
        "backbone": "resnet10t",
        "size": size,
        "channels": 1,
        "budget": Budget(steps=STEPS),
        "batch_size": batch_size,
    }
    return PretrainSettings(**(settings | changes))


def beside_real_loop(
    settings: PretrainSettings,
    store: FrameStore,
    scratch: Path,
    other: Callable[[int], object],
    *,
    device: str,
    turns: int,
    steps: int = 1,
) -> list[Turn]:
    """Run `pretrain`, and after every `steps` or more of its steps `other(steps taken)`.

    The real loop's time is all that passes between two turns of the other: frames, pairs, views, step, monitors and
    checkpoints. It stands still meanwhile, since the other runs within its report of progress. What comes before the
    first report is warm-up. A busy machine gets fewer turns, not more time.
    """
    began = time.perf_counter()
    found: list[Turn] = []
    place = mark = None

    def report(done: float, line: str) -> None:
        nonlocal place, mark
        step = round(done * STEPS)
        if place is None or mark is None:
            other(1)  # warms up as well
        elif step - place < steps:
            return
        else:
            middle = Mark.now(device)
            other(step - place)
            end = Mark.now(device)
            found.append(
                Turn(
                    step - place,
                    middle.wall_s - mark.wall_s,
                    end.wall_s - middle.wall_s,
                    middle.core_s - mark.core_s,
                    end.core_s - middle.core_s,
                )
            )
        if len(found) == turns or (len(found) >= FEW and time.perf_counter() - began > AT_MOST_S):
            raise Enough
        place, mark = step, Mark.now(device)

    try:
        pretrain(settings, store, scratch / "encoder", device=device, report=report)
    except Enough:
        return found
    raise RuntimeError(f"the run of {STEPS} steps ended after {len(found)} of {turns} turns")
