"""The typed schema of an experiment: one YAML file, whose keys, types and ranges are checked when it is read."""

from __future__ import annotations

from ssl_zoo.config.check import CRITERIA, EXECUTORS, MODES, ON_COLLAPSE, RECIPES
from ssl_zoo.config.load import dump, load_experiment
from ssl_zoo.config.schema import (
    WHICH_CELLS,
    BudgetConfig,
    ComputeConfig,
    Experiment,
    FramesConfig,
    OwnBudgetConfig,
    PhantomConfig,
    PlanesConfig,
    PretrainConfig,
    ScansConfig,
    SlurmConfig,
    TransferConfig,
    TuningConfig,
)
from ssl_zoo.config.variants import frames_of, variants_of

__all__ = [
    "CRITERIA",
    "EXECUTORS",
    "MODES",
    "ON_COLLAPSE",
    "RECIPES",
    "WHICH_CELLS",
    "BudgetConfig",
    "ComputeConfig",
    "Experiment",
    "FramesConfig",
    "OwnBudgetConfig",
    "PhantomConfig",
    "PlanesConfig",
    "PretrainConfig",
    "ScansConfig",
    "SlurmConfig",
    "TransferConfig",
    "TuningConfig",
    "dump",
    "frames_of",
    "load_experiment",
    "variants_of",
]
