"""How long the rest of a plan may take: by the seconds of what was finished like it, else by what there is to compute.

Cells are alike in mode, backbone, input size and fraction, else in all but the fraction; encoders in method and
backbone, per frame seen. Where none is finished that is so alike, the cost model of `grid.jobs` says how much there is
to compute, and the finished cells of the same mode how long that takes here. Without those it is `PASSES_PER_SECOND`: a
guess, and marked as one. Features, which no cell's seconds hold, are always reckoned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.jobs import PASSES_PER_SECOND, cost_of, cost_of_cell, cost_of_features, features_of, size_of
from ssl_zoo.grid.ledger import Entry
from ssl_zoo.grid.plan import Cell, Plan, Pretraining
from ssl_zoo.grid.pretrain import is_trained
from ssl_zoo.grid.probing import FROZEN
from ssl_zoo.grid.study import Study


@dataclass(frozen=True)
class Estimate:
    """Seconds of work on one worker that are left."""

    cells: dict[tuple[Init, str], float]  # by init and mode
    pretraining: float
    is_measured: bool  # whether no cell's and no encoder's seconds are a guess

    @property
    def total(self) -> float:
        return sum(self.cells.values()) + self.pretraining


def estimate(study: Study, plan: Plan, known: Mapping[str, Entry]) -> Estimate:
    """What is left of a plan: cells that have no result, encoders that are not trained."""
    left: dict[tuple[Init, str], float] = defaultdict(float)
    training, measured = 0.0, True
    # cells are told apart by the identity of their init, whose own hash would be slow 100,000 times over
    sums: dict[tuple[int, str, float], list[float]] = {}  # seconds and number of finished cells
    there: dict[tuple[int, int], Cell] = {}  # a finished cell, and below an unfinished one, of each set of features
    wanted: dict[tuple[int, int], Cell] = {}
    inits, unfinished = {}, []
    for cell in plan.cells:
        entry, init = known.get(cell.key), id(cell.init)
        done = entry if entry is not None and entry.error is None else None
        if cell.mode in FROZEN:
            (wanted if done is None else there).setdefault((init, cell.seed), cell)
        if done is None:
            unfinished.append(cell)
        elif done.seconds is not None:
            inits[init] = cell.init
            total = sums.setdefault((init, cell.mode, cell.fraction), [0.0, 0.0])
            total[0] += done.seconds
            total[1] += 1
    finished = _Finished(study, {(inits[init], *kind): total for (init, *kind), total in sums.items()})
    for cell in unfinished:
        seconds, is_known = finished.seconds_of(cell)
        measured &= is_known
        left[cell.init, cell.mode] += seconds
    made = {features_of(cell) for cell in there.values()}
    for key, cell in {features_of(cell): cell for cell in wanted.values()}.items():
        if key not in made:
            left[cell.init, cell.mode] += cost_of_features(study, cell.init) / PASSES_PER_SECOND
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
            seconds, measured = cost_of(settings) / PASSES_PER_SECOND, False
        training += seconds
    return Estimate(dict(left), training, measured)


class _Finished:
    """What finished cells say of one that is not; from their seconds and number by init, mode and fraction."""

    def __init__(self, study: Study, done: Mapping[tuple[Any, ...], list[float]]) -> None:
        self.study = study
        self.done = done
        self.sums: dict[tuple[object, ...], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for (init, mode, fraction), (seconds, count) in done.items():
            for kind in self._kinds(init, mode, fraction):
                self.sums[kind][0] += seconds
                self.sums[kind][1] += count
        self.rates: dict[str, float | None] = {}
        self.kept: dict[tuple[int, str, float], tuple[float, bool]] = {}

    def seconds_of(self, cell: Cell) -> tuple[float, bool]:
        """The seconds that a cell may take, features aside, and whether that comes from measured ones."""
        start = (id(cell.init), cell.mode, cell.fraction)
        if start not in self.kept:
            self.kept[start] = self._seconds_of(cell.init, cell.mode, cell.fraction)
        return self.kept[start]

    def _seconds_of(self, init: Init, mode: str, fraction: float) -> tuple[float, bool]:
        for kind in self._kinds(init, mode, fraction):
            if kind in self.sums:
                seconds, count = self.sums[kind]
                return seconds / count, True
        rate, cost = self._rate(mode), cost_of_cell(self.study, init, mode)
        return (cost / PASSES_PER_SECOND, False) if rate is None else (cost * rate, True)

    def _kinds(self, init: Init, mode: str, fraction: float) -> list[tuple[object, ...]]:
        """What finished cells must share with this one, the closest kin first."""
        alike = (mode, init.backbone, size_of(self.study, init))
        return [(*alike, fraction), alike]

    def _rate(self, mode: str) -> float | None:
        """Measured seconds of the finished cells of a mode over what they should cost; None without any."""
        if mode not in self.rates:
            own = [(init, seconds, count) for (init, name, _), (seconds, count) in self.done.items() if name == mode]
            cost = sum(cost_of_cell(self.study, init, mode) * count for init, _, count in own)
            self.rates[mode] = sum(seconds for _, seconds, _ in own) / cost if cost else None
        return self.rates[mode]


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
