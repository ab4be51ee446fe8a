"""How long the rest of a plan may take: by the seconds of what was finished like it, else by what there is to compute.

Cells are alike in mode, backbone and fraction, else in mode and backbone, else in mode; encoders in method and
backbone, per frame seen. Where nothing like it is finished, the cost model of `grid.jobs` says how many images pass
through a network, and `PASSES_PER_SECOND` how fast; that is a guess, and marked as one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.jobs import PASSES_PER_SECOND, cost_of, cost_of_cells
from ssl_zoo.grid.ledger import Entry
from ssl_zoo.grid.plan import Cell, Plan, Pretraining
from ssl_zoo.grid.pretrain import is_trained
from ssl_zoo.grid.study import Study

SIZE = 64  # pixels, of PASSES_PER_SECOND


@dataclass(frozen=True)
class Estimate:
    """Seconds of work on one worker that are left."""

    cells: dict[tuple[Init, str], float]  # by init and mode
    pretraining: float
    is_measured: bool  # whether all of it comes from measured seconds

    @property
    def total(self) -> float:
        return sum(self.cells.values()) + self.pretraining


def estimate(study: Study, plan: Plan, known: Mapping[str, Entry]) -> Estimate:
    """What is left of a plan: cells that have no result, encoders that are not trained."""
    left: dict[tuple[Init, str], float] = defaultdict(float)
    training, measured = 0.0, True
    alike = _alike(plan.cells, known)
    guess = {mode: _passes(study, cost_of_cells(study, mode, 1)) for mode in {cell.mode for cell in plan.cells}}
    for cell in plan.cells:
        entry = known.get(cell.key)
        if entry is not None and entry.error is None:
            continue
        kinds = _kinds(cell)
        mean = next((alike[kind] for kind in kinds if kind in alike), None)
        if mean is None:
            mean, measured = guess[cell.mode], False
        left[cell.init, cell.mode] += mean
    speeds = _speeds(study, plan.pretrainings)
    for pretraining in plan.pretrainings:
        if not pretraining.missing and is_trained(study, pretraining.training):
            continue
        settings = pretraining.training.settings
        speed = speeds.get((settings.method, settings.backbone))
        if settings.frames_seen is None:
            seconds = settings.budget.seconds or 0.0
        elif speed is not None:
            seconds = settings.frames_seen * speed
        else:
            seconds, measured = _passes(study, cost_of(settings)), False
        training += seconds
    return Estimate(dict(left), training, measured)


def _kinds(cell: Cell) -> list[tuple[object, ...]]:
    """What finished cells must share with this one, the closest kin first."""
    mode, backbone = cell.mode, cell.init.backbone
    return [(mode, backbone, cell.fraction), (mode, backbone), (mode,)]


def _alike(cells: Iterable[Cell], known: Mapping[str, Entry]) -> dict[tuple[object, ...], float]:
    """Mean seconds of the finished cells of each kind."""
    sums: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for cell in cells:
        entry = known.get(cell.key)
        if entry is None or entry.error is not None or entry.seconds is None:
            continue
        for kind in _kinds(cell):
            total = sums[kind]
            total[0] += entry.seconds
            total[1] += 1
    return {kind: total / count for kind, (total, count) in sums.items()}


def _speeds(study: Study, pretrainings: Iterable[Pretraining]) -> dict[tuple[str, str], float]:
    """Seconds for each frame seen, by method and backbone, of the encoders that are trained."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for pretraining in pretrainings:
        settings = pretraining.training.settings
        if pretraining.missing or not is_trained(study, pretraining.training):
            continue
        try:
            budget = read_json(pretraining.training.folder / "budget.json")
        except UserError:  # an encoder that was made elsewhere and brought here need not say what it cost
            continue
        if budget.get("seconds") and budget.get("frames_seen"):
            total = sums[settings.method, settings.backbone]
            total[0] += budget["seconds"]
            total[1] += budget["frames_seen"]
    return {kind: seconds / frames for kind, (seconds, frames) in sums.items()}


def _passes(study: Study, passes: float) -> float:
    return passes / PASSES_PER_SECOND * (study.experiment.frames.size / SIZE) ** 2
