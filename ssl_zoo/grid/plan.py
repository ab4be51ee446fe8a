"""The plan: which encoders to pre-train, which cells to run, and the key that names each cell's result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ssl_zoo.files import fingerprint
from ssl_zoo.grid.entrants import Entrant, entrants, pretrain_settings
from ssl_zoo.grid.inits import Init, given_inits
from ssl_zoo.grid.pretrain import Training
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.tuning import choose, is_tuned, rungs, with_factor
from ssl_zoo.planes.splits import Split

VERSIONS = {"linear": 1, "finetune": 1}  # one is raised when a change to the transfer room changes its cells' numbers


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
            fractions, seeds = transfer.fractions, transfer.seeds
            if mode == "finetune":
                fractions = transfer.finetune.fractions or fractions
                seeds = transfer.finetune.seeds or seeds
            for fraction in fractions:
                for split in study.splits:
                    cells += [
                        Cell(
                            init,
                            mode,
                            fraction,
                            split.fold,
                            seed,
                            _key(study, init, mode, fraction, split, seed),
                        )
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


def _key(study: Study, init: Init, mode: str, fraction: float, split: Split, seed: int) -> str:
    frames, transfer, compute = study.experiment.frames, study.experiment.transfer, study.experiment.compute
    if mode == "finetune":
        settings = dataclasses.asdict(transfer.finetune)
        del settings["fractions"], settings["seeds"]  # they say which cells there are, not what is in one
    else:
        settings = dataclasses.asdict(transfer.linear)
    store = study.store
    return fingerprint(
        {
            "version": VERSIONS[mode],
            "init": [init.name, init.backbone, init.fingerprint],
            "normalisation": [store.mean, store.std] if store is not None and init.name == "random" else None,
            "planes": [study.planes.fingerprint, list(study.planes.classes), frames.size, frames.channels],
            "split": [split.fold, split.train.tolist(), split.test.tolist()],
            "cell": [mode, fraction, seed],
            "settings": settings,
            "compute": [compute.precision, compute.threads],
        }
    )
