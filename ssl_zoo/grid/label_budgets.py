"""The label budgets of each mode: its fractions, folds and seeds, and whether a subset can be drawn for all of them."""

from __future__ import annotations

from ssl_zoo.config import Experiment, TransferConfig
from ssl_zoo.planes.splits import Split, check_fraction
from ssl_zoo.planes.table import Planes


def fractions_and_seeds(transfer: TransferConfig, mode: str) -> tuple[list[float], list[int]]:
    """What a mode is run with; fine-tuning may have its own."""
    own = transfer.finetune if mode == "finetune" else None
    return (own and own.fractions) or transfer.fractions, (own and own.seeds) or transfer.seeds


def in_plan(transfer: TransferConfig, mode: str, fold: int) -> bool:
    """Whether a mode has cells in a fold."""
    return mode != "finetune" or transfer.finetune.folds is None or fold in transfer.finetune.folds


def check_subsets(experiment: Experiment, planes: Planes, splits: list[Split]) -> None:
    """Refuse a label fraction too small for a subset of some fold and seed that it is planned for, before any work."""
    transfer = experiment.transfer
    smallest: dict[tuple[int, int], float] = {}  # by place of the split and seed: where it is enough, larger ones are
    for mode in transfer.modes:
        fractions, seeds = fractions_and_seeds(transfer, mode)
        for place, split in enumerate(splits):
            for seed in seeds if in_plan(transfer, mode, split.fold) else []:
                smallest[place, seed] = min([*fractions, smallest.get((place, seed), 1.0)])
    for fraction in sorted(set(smallest.values())):
        draws = [(splits[place].train, seed) for (place, seed), least in smallest.items() if least == fraction]
        check_fraction(planes, fraction, draws)
