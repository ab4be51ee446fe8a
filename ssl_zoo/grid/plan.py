"""The plan: which encoders to pre-train, which cells to run, and the key that names each cell's result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from ssl_zoo.config import WHICH_CELLS
from ssl_zoo.files import canonical, fingerprint
from ssl_zoo.grid.entrants import Entrant, entrants, pretrain_settings
from ssl_zoo.grid.inits import Init, given_inits
from ssl_zoo.grid.label_budgets import fractions_and_seeds, in_plan
from ssl_zoo.grid.pretrain import Training
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.tuning import choose, is_tuned, rungs, with_factor
from ssl_zoo.planes.splits import Split

# One is raised when a change to the transfer room changes its cells' numbers.
VERSIONS = {"linear": 3, "knn": 1, "prototype": 1, "finetune": 2}


@dataclass(frozen=True)
class Cell:
    """One downstream run: init x mode x label fraction x fold x seed."""

    init: Init
    mode: str
    fraction: float
    fold: int
    seed: int
    key: str  # 16 hex digits that change when anything that decides the numbers changes


@dataclass(frozen=True)
class Pretraining:
    """One encoder to train."""

    init: Init
    training: Training
    missing: str = ""  # why its learning rate is not known: the tuning is not done, or has come to nothing


@dataclass(frozen=True)
class Plan:
    """All work of a study but the tuning; what is done already is for the store to say."""

    pretrainings: list[Pretraining]
    cells: list[Cell]


def make_plan(study: Study) -> Plan:
    """Lay out every pre-training run and every cell of the experiment, in a fixed order."""
    pretrainings = [found for entrant in entrants(study.experiment) for found in _pretrainings(study, entrant)]
    inits = [*given_inits(study.experiment), *(pretraining.init for pretraining in pretrainings)]
    transfer = study.experiment.transfer
    cells = []
    for init in inits:
        for mode in transfer.modes:
            fractions, seeds = fractions_and_seeds(transfer, mode)
            splits = [split for split in study.splits if in_plan(transfer, mode, split.fold)]
            shared = [(split.fold, _shared(study, init, mode, split)) for split in splits]
            cells += [
                Cell(init, mode, fraction, fold, seed, cell_key(text, mode, fraction, seed))
                for fraction in fractions
                for fold, text in shared
                for seed in seeds
            ]
    return Plan(pretrainings, cells)


def _pretrainings(study: Study, entrant: Entrant) -> list[Pretraining]:
    """An entrant's encoders, one for each pre-training seed; with the chosen learning rate where it is tuned."""
    factor, missing, unknown = 1.0, "", ""
    if is_tuned(entrant):
        choice = choose(study, entrant)
        factor, missing = choice.factor or 1.0, choice.missing
        unknown = fingerprint([rung.key for rung in rungs(study, entrant)]) if missing else ""
    found = []
    for seed in study.experiment.pretrain.seeds:
        settings = with_factor(pretrain_settings(study.experiment, entrant, seed), factor)
        init = Init(entrant.name, settings.backbone, method=entrant.method, pretrain_seed=seed)
        folder = study.run / "encoders" / init.folder
        training = Training(settings, folder, entrant.pretrain.on_collapse, entrant.store)
        key = f"{unknown}-{seed}" if missing else training.fingerprint(study)
        found.append(Pretraining(dataclasses.replace(init, path=str(folder), fingerprint=key), training, missing))
    return found


def cell_key(shared: bytes, mode: str, fraction: float, seed: int) -> str:
    """The key of one cell: `fingerprint` of the mapping `shared` (see `_shared`) with the cell's own entry in it.

    The canonical text of what many cells share is made once, and the cell's own entry, whose name comes first in the
    order of names, is put before it: the same text, so the same key, without writing out every row of a split again.
    """
    own = f'{{"cell":[{json.dumps(mode)},{json.dumps(fraction)},{seed:d}],'
    return hashlib.sha256(own.encode() + shared[1:]).hexdigest()[:16]


def _shared(study: Study, init: Init, mode: str, split: Split) -> bytes:
    """All that decides the numbers of the cells of one init, mode and fold but their own fraction and seed."""
    frames, transfer, compute = study.experiment.frames, study.experiment.transfer, study.experiment.compute
    if mode == "finetune":
        settings = dataclasses.asdict(transfer.finetune)
        settings = {key: value for key, value in settings.items() if key not in WHICH_CELLS}
        settings["layer_decay"] = init.layer_decay(settings["layer_decay"])
    else:
        keys = {"linear": transfer.linear, "knn": transfer.knn}.get(mode)
        settings = dataclasses.asdict(keys) if keys is not None else {}
    store = study.store
    return canonical(
        {
            "version": VERSIONS[mode],
            "init": [init.name, init.backbone, init.fingerprint],
            "normalisation": [store.mean, store.std] if store is not None and init.name == "random" else None,
            "planes": [study.planes.pictures, list(study.planes.classes), frames.size, frames.channels],
            "split": [split.fold, split.train.tolist(), split.test.tolist()],
            "settings": settings,
            "compute": [compute.threads, *([compute.precision] if mode == "finetune" else [])],  # features are float32
        }
    )
