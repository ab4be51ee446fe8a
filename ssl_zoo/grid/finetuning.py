"""Fine-tuning cells: an encoder and a head trained on one label subset, and their probabilities for the tested planes.

Training is handed the subset's rows and nothing else. Cells of one encoder that a process does one after another share
the loaded encoder, of which each trains a copy; the pixels stay in the run folder's one file, which all processes of a
machine share. So the numbers of a cell do not depend on what was done before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_zoo.config import WHICH_CELLS, Experiment
from ssl_zoo.encoders.files import Encoder
from ssl_zoo.planes.images import ImageRows
from ssl_zoo.training.views import view_settings
from ssl_zoo.transfer.finetune import Classifier, choose_lr, finetune
from ssl_zoo.transfer.finetune_settings import FinetuneSettings

if TYPE_CHECKING:
    from ssl_zoo.grid.inits import Init
    from ssl_zoo.grid.plan import Cell
    from ssl_zoo.grid.study import Study


def finetune_settings(experiment: Experiment) -> FinetuneSettings:
    """The experiment's fine-tuning keys as the transfer room takes them. UserError for values that cannot work."""
    given = {k: v for k, v in dataclasses.asdict(experiment.transfer.finetune).items() if k not in WHICH_CELLS}
    given["views"] = view_settings(given["views"])
    if given["lr_choices"] is not None:
        given["lr_choices"] = tuple(given["lr_choices"])
    return FinetuneSettings(**given, precision=experiment.compute.precision)


def finetune_cell(
    study: Study, cell: Cell, rows: np.ndarray, tested: np.ndarray, build: Callable[[], Encoder], device: str
) -> tuple[np.ndarray, dict[str, Any]]:
    """Probabilities float32 `[M, K]` of the planes `tested` `[M]`, after training on `rows`, and notes for the record.

    `build` makes the encoder that the cell starts from; it is called only where the last cell had another one.
    """
    classifier, notes = train_classifier(study, cell, rows, build, device)
    return classifier.predict(ImageRows(study.images, tested)), notes


def train_classifier(
    study: Study, cell: Cell, rows: np.ndarray, build: Callable[[], Encoder], device: str
) -> tuple[Classifier, dict[str, Any]]:
    """The cell's classifier, trained on the planes `rows`, and notes: steps, learning rate, where that comes from."""
    planes, settings = study.planes, finetune_settings(study.experiment)
    settings = dataclasses.replace(settings, layer_decay=cell.init.layer_decay(settings.layer_decay))
    encoder = _kept_encoder(study, cell, build, device)
    images, labels = ImageRows(study.images, rows), planes.labels[rows]
    count = len(planes.classes)
    rate, rate_by = choose_lr(
        encoder,
        images,
        labels,
        planes.patients[rows],
        n_classes=count,
        settings=settings,
        seed=cell.seed,
        device=device,
    )
    classifier = finetune(
        encoder,
        images,
        labels,
        n_classes=count,
        settings=dataclasses.replace(settings, lr=rate),
        seed=cell.seed,
        device=device,
    )
    notes = {"steps": settings.steps, "lr": rate, "lr_by": rate_by, "layer_decay": settings.layer_decay}
    return classifier, notes


@dataclass(frozen=True, eq=False)
class _Kept:
    """The encoder of the last cell of this process, on its device; training never changes it."""

    study: Study
    init: Init
    seed: int | None  # of an untrained network's weights
    device: str
    encoder: Encoder


_kept: _Kept | None = None


def _kept_encoder(study: Study, cell: Cell, build: Callable[[], Encoder], device: str) -> Encoder:
    """The last cell's encoder, where this cell starts from the same one; else the one that `build` makes."""
    global _kept
    seed = cell.seed if cell.init.untrained else None
    if _kept is None or _kept.study is not study or (_kept.init, _kept.seed, _kept.device) != (cell.init, seed, device):
        _kept = None  # free its memory before the next one is built
        _kept = _Kept(study, cell.init, seed, device, build().to(device))
    return _kept.encoder
