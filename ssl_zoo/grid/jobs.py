"""The jobs of a study: what a worker is given at a time, what must have ended before, and about what it costs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import CARD, read_card
from ssl_zoo.encoders.published import parse_published
from ssl_zoo.errors import UserError
from ssl_zoo.grid.cells import finished
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.plan import Cell, Plan
from ssl_zoo.grid.pretrain import Training, is_trained
from ssl_zoo.grid.probing import FROZEN
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.tuning import Rung, all_rungs, result_of
from ssl_zoo.pretraining.settings import PretrainSettings

STAGES = ("pretrain", "evaluate")

# The cost of a job, for the ETA only, counts passes of an image of 64 pixels through a ResNet-10-T: FLOPS_OF_PASS
# floating-point operations. Forward and backward are three passes.
PASSES_OF_METHOD = {"mae": 2, "dino": 14, "autoencoder": 6, "inpainting_autoencoder": 6}
PASSES_OF_PAIR = 8
PASSES_PER_SECOND = 800  # on one core
FLOPS_OF_PASS = 1.78e8
PASSES_OF_PROBE = {"linear": 100, "knn": 10, "prototype": 10}  # a cell on features that are there
PASSES_OF_NEIGHBOUR = 4e-5  # comparing two images in a knn cell


@dataclass(frozen=True)
class Job:
    """A piece of work for one worker: a rung of a ladder, a pre-training run, or cells that share an encoder."""

    name: str
    cost: float  # about how many images of 64 pixels could pass through a ResNet-10-T meanwhile; for the ETA
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
        jobs.append(Job(name, cost_of_cells(study, cells), cells=tuple(cells), needs=needs))
    return jobs


def unfinished(cells: Iterable[Cell], done: set[str]) -> tuple[Cell, ...]:
    """The cells that have no result yet."""
    return tuple(cell for cell in cells if cell.key not in done)


def cost_of_cells(study: Study, cells: Iterable[Cell]) -> float:
    """About what some cells cost, with the features that they need: see `Job.cost`."""
    cells = list(cells)
    sets = {features_of(cell) for cell in cells if cell.mode in FROZEN}
    return sum(cost_of_features(study, init) for init, _ in sets) + sum(
        cost_of_cell(study, cell.init, cell.mode) for cell in cells
    )


def features_of(cell: Cell) -> tuple[Init, int | None]:
    """What decides a cell's features: cells of one init share them, and those of untrained weights one seed's."""
    return cell.init, cell.seed if cell.init.untrained else None


def cost_of_features(study: Study, init: Init) -> float:
    """One pass of every plane through the init's network."""
    return len(study.images) * passes_of_init(study, init)


def cost_of_cell(study: Study, init: Init, mode: str) -> float:
    """About what one cell of a mode costs, features aside. A choice of learning rates trains once more for each."""
    n_images = len(study.images)
    if mode != "finetune":
        return PASSES_OF_PROBE[mode] + (PASSES_OF_NEIGHBOUR * n_images**2 if mode == "knn" else 0.0)
    tuning = study.experiment.transfer.finetune
    rates = len(tuning.lr_choices or ())
    trainings = 1 + rates if rates > 1 else 1
    each = 3.0 * tuning.steps * tuning.batch_size * trainings + n_images
    return each * passes_of_init(study, init)


def cost_of(settings: PretrainSettings) -> float:
    """About what a pre-training run costs."""
    if settings.frames_seen is None:
        return PASSES_PER_SECOND * (settings.budget.seconds or 0.0)
    passes = float(PASSES_OF_METHOD.get(settings.method, PASSES_OF_PAIR) * settings.frames_seen)
    return passes * passes_of(settings.backbone, settings.size)


def passes_of_init(study: Study, init: Init) -> float:
    """`passes_of` an init's network, built as the init builds it and fed with the images that it wants."""
    if init.published and init.path:
        return _passes_of_published(init.path)
    if init.path and (Path(init.path) / CARD).is_file():
        return _passes_of_folder(init.path)
    return passes_of(init.backbone, size_of(study, init))


def size_of(study: Study, init: Init) -> int:
    """The side in pixels of the images that an init is fed with."""
    return init.fit.size if init.fit is not None else study.experiment.frames.size


@cache
def _passes_of_published(spec: str) -> float:
    found = parse_published(spec)
    assert found is not None
    with torch.device("meta"):
        network = build_backbone(found.entry.backbone, channels=3, size=found.size, **found.entry.arguments)
    return _passes(network, 3, found.size)


@cache
def _passes_of_folder(path: str) -> float:
    card = read_card(Path(path))
    with torch.device("meta"):
        network = build_backbone(card.backbone, channels=card.channels, size=card.size, **card.arguments)
    return _passes(network, card.channels, card.size)


@cache
def passes_of(backbone: str, size: int) -> float:
    """What one image of `size` pixels costs a network, forward: its operations over FLOPS_OF_PASS.

    They are counted on tensors without memory, so they grow with depth and width and with the square of the size,
    as the network's own do.
    """
    with torch.device("meta"):
        network = build_backbone(backbone, channels=1, size=size)
    return _passes(network, 1, size)


def _passes(network: torch.nn.Module, channels: int, size: int) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.empty(1, channels, size, size, device="meta"))
    return counter.get_total_flops() / FLOPS_OF_PASS
