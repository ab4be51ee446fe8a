"""The jobs of a study: what a worker is given at a time, what must have ended before, and about what it costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.grid.cells import finished
from ssl_zoo.grid.plan import Cell, Plan
from ssl_zoo.grid.pretrain import Training, is_trained
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.tuning import Rung, all_rungs, result_of
from ssl_zoo.pretraining.settings import PretrainSettings

STAGES = ("pretrain", "evaluate")

# How often an image passes through a network in a job, for the ETA only: forward and backward count as three.
PASSES_OF_METHOD = {"mae": 2, "dino": 14, "autoencoder": 6, "inpainting_autoencoder": 6}
PASSES_OF_PAIR = 8
PASSES_PER_SECOND = 800  # on one core at 64 pixels, for budgets in seconds


@dataclass(frozen=True)
class Job:
    """A piece of work for one worker: a rung of a ladder, a pre-training run, or cells that share an encoder."""

    name: str
    cost: float  # about how many images pass through a network, forward and backward; for the ETA
    training: Training | None = None
    rung: Rung | None = None
    cells: tuple[Cell, ...] = ()
    needs: str | None = None  # the job that must have ended well before this one starts

    @property
    def is_pretraining(self) -> bool:
        """Whether it trains an encoder, and can save its place when it is asked to stop."""
        return self.training is not None or self.rung is not None


def tuning_jobs(study: Study, inits: Collection[str] | None = None) -> list[Job]:
    """The rungs that have no result yet, of all inits or of these."""
    return [
        Job(rung.name, cost_of(rung.training.settings), rung=rung)
        for rung in all_rungs(study)
        if (inits is None or rung.init in inits) and result_of(rung) is None
    ]


def pending_jobs(study: Study, plan: Plan, *, stages: tuple[str, ...] = STAGES) -> list[Job]:
    """The jobs that are left: untrained encoders, then unfinished cells, those of one encoder's frozen modes together.

    Cells of an encoder that cannot be trained need it all the same: the runner records why they have no result.
    Raises UserError where cells are wanted of an encoder that is not trained, and no training is.
    """
    done, _ = finished(study.run, plan.cells)
    jobs, waiting = [], set()
    for pretraining in plan.pretrainings:
        folder = pretraining.init.folder
        if not pretraining.missing and is_trained(study, pretraining.training):
            continue
        if "pretrain" in stages:
            waiting.add(folder)
            if not pretraining.missing:
                jobs.append(Job(folder, cost_of(pretraining.training.settings), training=pretraining.training))
        elif unfinished((cell for cell in plan.cells if cell.init == pretraining.init), done):
            why = f": {pretraining.missing}" if pretraining.missing else ""
            raise UserError(f"{study.run}: the encoder {folder} is not trained yet{why}; run `pretrain` first")
    if "evaluate" not in stages:
        return jobs
    groups: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in unfinished(plan.cells, done):
        own = (cell.key,) if cell.mode == "finetune" else ()
        groups.setdefault((cell.init, *own), []).append(cell)
    for (init, *_), cells in groups.items():
        needs = init.folder if init.pretrain_seed is not None and init.folder in waiting else None
        start = f"{init.name}-{init.backbone}" + (f"-s{init.pretrain_seed}" if init.pretrain_seed is not None else "")
        mode = "+".join(dict.fromkeys(cell.mode for cell in cells))
        if mode == "finetune":
            name = f"{start} finetune {cells[0].fraction:g} f{cells[0].fold} s{cells[0].seed}"
        else:
            name = f"{start} {mode}"
        jobs.append(Job(name, cost_of_cells(study, mode, len(cells)), cells=tuple(cells), needs=needs))
    return jobs


def unfinished(cells: Iterable[Cell], done: set[str]) -> tuple[Cell, ...]:
    """The cells that have no result yet."""
    return tuple(cell for cell in cells if cell.key not in done)


def cost_of_cells(study: Study, mode: str, cells: int) -> float:
    """About how many images pass through a network for so many cells of one init and mode."""
    if mode == "finetune":
        tuning = study.experiment.transfer.finetune
        return cells * (3.0 * tuning.steps * tuning.batch_size + len(study.images))
    return float(len(study.images) + 100 * cells)  # one pass for the features; a probe costs about as much as 100 more


def cost_of(settings: PretrainSettings) -> float:
    """About how many images pass through a network in a pre-training run."""
    if settings.frames_seen is None:
        return PASSES_PER_SECOND * (settings.budget.seconds or 0.0)
    return float(PASSES_OF_METHOD.get(settings.method, PASSES_OF_PAIR) * settings.frames_seen)
