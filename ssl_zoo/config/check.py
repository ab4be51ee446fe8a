"""Values that cannot work, whatever the rooms offer: ranges, lists with a value twice, keys that contradict each other.

Names (of a method, a sampler, a protocol) belong to the rooms that know them; `grid.settings` checks those.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ssl_zoo.config.schema import (
    BUDGETS,
    BudgetConfig,
    ComputeConfig,
    Experiment,
    FramesConfig,
    OwnBudgetConfig,
    PhantomConfig,
    PlanesConfig,
    PretrainConfig,
    TransferConfig,
)
from ssl_zoo.config.variants import frames_of, variants_of
from ssl_zoo.errors import UserError, unknown

MODES = ("linear", "knn", "prototype", "finetune")
RECIPES = ("paper", "tuned")
CRITERIA = ("probe", "rankme")
ON_COLLAPSE = ("warn", "stop")
UNITS = ("patient", "image")
ON_LEAK = ("refuse", "warn")
EXECUTORS = ("local", "slurm")
SLURM_KEYS = {  # options of sbatch that have a key of their own -> that key
    "partition": "partition",
    "account": "account",
    "array": "tasks",
    "gpus": "gpus",
    "gpus-per-node": "gpus",
    "cpus-per-task": "cpus",
    "mem": "memory_gb",
    "time": "minutes",
    "signal": "warning_s",
}


@dataclass(frozen=True)
class Keys:
    """Opens the sentence of an error with the file and the key."""

    source: str
    prefix: str = ""

    def need(self, condition: bool, key: str, sentence: str) -> None:
        if not condition:
            raise UserError(f"{self.source}: {self.prefix}{key}: {sentence}")

    def one_of(self, key: str, value: str, allowed: Iterable[str], kind: str = "") -> None:
        if value not in (allowed := list(allowed)):
            kind = kind or key.rsplit(".", 1)[-1].removesuffix("s")
            raise UserError(f"{self.source}: {self.prefix}{key}: {unknown(kind, value, allowed)}")

    def distinct(self, key: str, values: Sequence[Any]) -> None:
        self.need(len(values) > 0, key, "at least one is needed")
        self.need(len(set(values)) == len(values), key, "a value stands twice")


def check(experiment: Experiment, source: str) -> None:
    """Refuse what cannot work with a UserError that names the file and the key."""
    keys = Keys(source)
    keys.need(
        bool(experiment.name) and not set(experiment.name) & set('/\\:*?"<>| ') and not experiment.name.startswith("."),
        "name",
        f"'{experiment.name}' must be usable as a folder's name",
    )
    _check_phantom(experiment.phantom, keys)
    _check_frames(experiment.frames, Keys(source, "frames."))
    _check_planes(experiment.planes, keys)
    holdout = experiment.planes.protocol != "cross_validation"
    keys.distinct("pretrain.seeds", experiment.pretrain.seeds)
    keys.need(
        holdout or not experiment.pretrain.monitor_knn,
        "pretrain.monitor_knn",
        "needs planes.protocol=holdout; in cross-validation a training patient of one fold is a test patient of "
        "another",
    )
    for name, pretrain in variants_of(experiment.pretrain).items():
        prefix = f"pretrain.variants.{name}." if name else "pretrain."
        _check_pretrain(pretrain, Keys(source, prefix), holdout=holdout)
        if pretrain.frames:
            _check_frames(frames_of(experiment.frames, pretrain.frames), Keys(source, f"{prefix}frames."))
    for name in experiment.pretrain.variants:
        sentence = f"'{name}' may have letters, digits and . _ + - only"
        keys.need(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name) is not None, "pretrain.variants", sentence)
    _check_transfer(experiment.transfer, experiment.planes, keys)
    _check_compute(experiment.compute, keys)


def _check_phantom(phantom: PhantomConfig, keys: Keys) -> None:
    for key in ("scans", "patients", "frames"):
        keys.need(getattr(phantom, key) >= 1, f"phantom.{key}", "must be at least 1")
    keys.need(phantom.external_patients >= 0, "phantom.external_patients", "must not be negative")


def _check_frames(frames: FramesConfig, keys: Keys) -> None:
    """`keys` opens with "frames." or, in a variant, with "pretrain.variants.<name>.frames."."""
    keys.need(frames.channels in (1, 3), "channels", f"{frames.channels} is neither 1 (grey) nor 3 (colour)")
    keys.need(16 <= frames.size <= 1024, "size", f"{frames.size} pixels is not between 16 and 1024")
    keys.need(frames.per_scan >= 1, "per_scan", "must be at least 1")
    keys.need(frames.clip_length >= 1, "clip_length", "must be at least 1")
    keys.need(frames.copies >= 1, "copies", "must be at least 1")


def _check_pretrain(pretrain: PretrainConfig, keys: Keys, *, holdout: bool) -> None:
    """`keys` opens with "pretrain." or, in a variant, with "pretrain.variants.<name>."."""
    keys.need(len(set(pretrain.methods)) == len(pretrain.methods), "methods", "a value stands twice")
    keys.need(pretrain.window_s > 0, "window_s", "must be more than 0 seconds")
    keys.need(pretrain.batch_size >= 2, "batch_size", "must be at least 2")
    keys.need(pretrain.accumulate >= 1, "accumulate", "must be at least 1")
    keys.one_of("on_collapse", pretrain.on_collapse, ON_COLLAPSE)
    check_budget(pretrain.budget, pretrain.batch_size, "budget", keys)
    for method, budget in pretrain.budgets.items():
        batch_size = pretrain.batch_size if budget.batch_size is None else budget.batch_size
        keys.need(batch_size >= 2, f"budgets.{method}.batch_size", "must be at least 2")
        check_budget(budget if budget.kinds else pretrain.budget, batch_size, f"budgets.{method}", keys)
    keys.one_of("recipe", pretrain.recipe, RECIPES)
    tuning = pretrain.tuning
    keys.one_of("tuning.by", tuning.by, CRITERIA, "criterion")
    keys.distinct("tuning.ladder", tuning.ladder)
    for factor in tuning.ladder:
        keys.need(0 < factor < math.inf, "tuning.ladder", f"{factor:g} is not a positive number")
    keys.need(0 < tuning.share <= 1, "tuning.share", f"{tuning.share:g} is not more than 0 and at most 1")
    keys.need(
        holdout or (pretrain.recipe, tuning.by) != ("tuned", "probe"),
        "tuning.by",
        "'probe' needs planes.protocol=holdout; in cross-validation a training patient of one fold is a test patient "
        "of another, so choose by=rankme",
    )


def check_budget(budget: BudgetConfig | OwnBudgetConfig, batch_size: int, key: str, keys: Keys) -> None:
    """Exactly one kind, and enough for a step."""
    given = {name: value for name in BUDGETS if (value := getattr(budget, name)) is not None}
    found = " and ".join(f"{name}={value}" for name, value in given.items()) or "none"
    hint = "".join(f"; to leave one out, add {keys.prefix}{key}.{name}=null" for name in list(given)[:-1])
    keys.need(len(given) == 1, key, f"exactly one of {', '.join(BUDGETS)} must be set, not {found}{hint}")
    if budget.frames_seen is not None:
        keys.need(budget.frames_seen >= batch_size, f"{key}.frames_seen", "is less than one batch")
    if budget.steps is not None:
        keys.need(budget.steps >= 1, f"{key}.steps", "must be at least 1")
    if budget.seconds is not None:
        keys.need(0 < budget.seconds < math.inf, f"{key}.seconds", "must be more than 0")


def _check_planes(planes: PlanesConfig, keys: Keys) -> None:
    keys.need(planes.folds >= 2, "planes.folds", "must be at least 2")
    keys.need(0 < planes.test_fraction < 1, "planes.test_fraction", "must lie between 0 and 1")
    keys.need(0 <= planes.val_fraction < 1, "planes.val_fraction", "must lie between 0 and 1")
    both = planes.val_fraction + planes.test_fraction
    keys.need(both < 1, "planes.test_fraction", "leaves no patient for training")
    keys.one_of("planes.unit", planes.unit, UNITS)
    keys.one_of("planes.audit", planes.audit, ON_LEAK, "answer to leaks")


def _check_transfer(transfer: TransferConfig, planes: PlanesConfig, keys: Keys) -> None:
    keys.distinct("transfer.modes", transfer.modes)
    for mode in transfer.modes:
        keys.one_of("transfer.modes", mode, MODES)
    for key, fractions in (
        ("transfer.fractions", transfer.fractions),
        ("transfer.finetune.fractions", transfer.finetune.fractions),
    ):
        if fractions is not None:
            keys.distinct(key, fractions)
            for fraction in fractions:
                keys.need(0 < fraction <= 1, key, f"{fraction} is not more than 0 and at most 1")
    keys.distinct("transfer.seeds", transfer.seeds)
    if transfer.linear.lambdas is not None:
        keys.distinct("transfer.linear.lambdas", transfer.linear.lambdas)
        keys.need(min(transfer.linear.lambdas) > 0, "transfer.linear.lambdas", "must be more than 0")
    keys.need(transfer.knn.k >= 1, "transfer.knn.k", "must be at least 1")
    for key, numbers in (("seeds", transfer.finetune.seeds), ("folds", transfer.finetune.folds)):
        if numbers is not None:
            keys.distinct(f"transfer.finetune.{key}", numbers)
    for fold in transfer.finetune.folds or []:
        inside = 0 <= fold < (planes.folds if planes.protocol == "cross_validation" else 1)
        keys.need(inside, "transfer.finetune.folds", f"{fold} is no fold of the experiment (they count from 0)")
    keys.need(transfer.finetune.steps >= 1, "transfer.finetune.steps", "must be at least 1")
    keys.need(transfer.finetune.batch_size >= 2, "transfer.finetune.batch_size", "must be at least 2")


def _check_compute(compute: ComputeConfig, keys: Keys) -> None:
    keys.one_of("compute.device", compute.device, ("auto", "cpu", "cuda"))
    for key in ("threads", "devices", "num_nodes"):
        keys.need(getattr(compute, key) >= 1, f"compute.{key}", "must be at least 1")
    keys.need(compute.workers is None or compute.workers >= 1, "compute.workers", "must be at least 1")
    keys.one_of("compute.executor", compute.executor, EXECUTORS, "executor")
    slurm = compute.slurm
    for key, least in (("tasks", 1), ("gpus", 0), ("minutes", 1), ("warning_s", 1), ("requeues", 0)):
        keys.need(getattr(slurm, key) >= least, f"compute.slurm.{key}", f"must be at least {least}")
    keys.need(slurm.cpus is None or slurm.cpus >= 1, "compute.slurm.cpus", "must be at least 1")
    keys.need(0 < slurm.memory_gb < math.inf, "compute.slurm.memory_gb", "must be more than 0")
    keys.need(1 <= slurm.lost_after_s < math.inf, "compute.slurm.lost_after_s", "must be at least 1 second")
    keys.need(slurm.warning_s < 60 * slurm.minutes, "compute.slurm.warning_s", "is not less than compute.slurm.minutes")
    keys.need(
        compute.executor == "local" or compute.num_nodes == 1,
        "compute.num_nodes",
        "must be 1 with compute.executor=slurm, whose tasks each have one machine",
    )
    keys.need(
        slurm.gpus == 0 or slurm.gpus >= compute.devices,
        "compute.slurm.gpus",
        f"is less than the compute.devices={compute.devices} that share a pre-training run",
    )
    for name in slurm.options:
        own = SLURM_KEYS.get(str(name).replace("_", "-"))
        keys.need(own is None, f"compute.slurm.options.{name}", f"has a key of its own, compute.slurm.{own}")
