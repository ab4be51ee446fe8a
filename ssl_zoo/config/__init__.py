"""The typed schema of an experiment: one YAML file, whose keys, types and ranges are checked when it is read."""

from __future__ import annotations

from ssl_zoo.config.check import CRITERIA, MODES, ON_COLLAPSE, RECIPES
from ssl_zoo.config.load import dump, load_experiment
from ssl_zoo.config.schema import (
    BudgetConfig,
    ComputeConfig,
    Experiment,
    FramesConfig,
    OwnBudgetConfig,
    PhantomConfig,
    PlanesConfig,
    PretrainConfig,
    ScansConfig,
    TransferConfig,
    TuningConfig,
)
from ssl_zoo.config.variants import frames_of, variants_of

__all__ = [
    "CRITERIA",
    "MODES",
    "ON_COLLAPSE",
    "RECIPES",
    "BudgetConfig",
    "ComputeConfig",
    "Experiment",
    "FramesConfig",
    "OwnBudgetConfig",
    "PhantomConfig",
    "PlanesConfig",
    "PretrainConfig",
    "ScansConfig",
    "TransferConfig",
    "TuningConfig",
    "dump",
    "frames_of",
    "load_experiment",
    "variants_of",
]
