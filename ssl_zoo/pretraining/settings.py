"""All that decides the weights of a pre-training run, and the parts that are built from it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import torch

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint
from ssl_zoo.methods import METHODS
from ssl_zoo.methods.base import Method
from ssl_zoo.methods.recipe import Recipe
from ssl_zoo.pretraining import streams
from ssl_zoo.pretraining.budget import Budget

VERSION = 1  # raised when a change to the loop changes the weights that come out


@dataclass(frozen=True)
class PretrainSettings:
    """All that decides the weights of one pre-training run, beside the frames.

    `batch_size` counts the images of one optimiser step over all processes and all `accumulate` parts; how many
    processes share the work changes the weights by rounding only, and is not in here.
    """

    method: str
    backbone: str
    size: int
    channels: int
    budget: Budget
    batch_size: int
    pairing: str = "temporal"
    window_s: float = 0.2
    pair_weighting: str = "uniform"
    exclude_same_scan: bool = False  # leave frames of the anchor's scan out of the negatives, where there are any
    seed: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    views: dict[str, Any] = field(default_factory=dict)
    accumulate: int = 1  # parts of a batch that pass one after another before the optimiser's step
    precision: str = "auto"
    threads: int = 1

    @property
    def steps(self) -> int | None:
        """Optimiser steps; None for a budget in seconds."""
        return self.budget.optimiser_steps(self.batch_size)

    @property
    def frames_seen(self) -> int | None:
        """Frames drawn as anchors; None for a budget in seconds."""
        return self.budget.frames_seen if self.budget.steps is None else self.budget.steps * self.batch_size

    def fingerprint(self, store_fingerprint: str) -> str:
        """Changes when anything that decides the weights changes."""
        return fingerprint([VERSION, dataclasses.asdict(self), store_fingerprint])


def build_method(settings: PretrainSettings) -> tuple[Method, Recipe]:
    """The method on a fresh backbone, both drawn from `settings.seed`, and its recipe with the overrides."""
    backbone = build_backbone(settings.backbone, channels=settings.channels, size=settings.size, seed=settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(streams.seed_of(settings.seed, streams.FORWARD, 0))
        try:
            method = METHODS[settings.method](backbone, **settings.params)
        except TypeError as error:
            raise UserError(f"pretrain.params.{settings.method}: {error}") from error
    try:
        recipe = dataclasses.replace(method.recipe, **settings.recipe)
    except (TypeError, UserError) as error:
        raise UserError(f"pretrain.recipes.{settings.method}: {error}") from error
    return method, recipe
