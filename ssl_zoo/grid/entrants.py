"""Who runs in the race: each method, or each method in each variant, with the settings that it runs under."""

from __future__ import annotations

from dataclasses import dataclass

from ssl_zoo.config import Experiment, FramesConfig, PretrainConfig, frames_of, variants_of
from ssl_zoo.methods import METHODS
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.settings import PretrainSettings

STORE = "frames"  # the folder of the frame store that most entrants share, in the run folder


@dataclass(frozen=True)
class Entrant:
    """One method under one variant's settings; all its pre-training seeds give the init `name`."""

    name: str  # "simclr", or "simclr@near" in a study with variants
    method: str
    pretrain: PretrainConfig
    frames: FramesConfig
    store: str = STORE  # the folder of its frame store: "frames@few" for a variant with frames of its own
    key: str = "pretrain."  # opens the keys of errors: "pretrain.variants.near." for a variant

    @property
    def backbone(self) -> str:
        """The backbone that it trains: `pretrain.vit` for methods that need a ViT."""
        return self.pretrain.vit if METHODS[self.method].needs == "vit" else self.pretrain.backbone


def entrants(experiment: Experiment) -> list[Entrant]:
    """All entrants, variant by variant, methods in the order of the experiment."""
    found = []
    for variant, pretrain in variants_of(experiment.pretrain).items():
        key = f"pretrain.variants.{variant}." if variant else "pretrain."
        frames = frames_of(experiment.frames, pretrain.frames)
        store = STORE if frames == experiment.frames else f"{STORE}@{variant}"
        for method in pretrain.methods:
            name = f"{method}@{variant}" if variant else method
            found.append(Entrant(name, method, pretrain, frames, store, key))
    return found


def backbones(experiment: Experiment) -> list[str]:
    """The backbones that the study uses without an init's naming one: each has its own untrained baseline.

    They are those that the entrants train. Where nothing is pre-trained, it is `pretrain.backbone`, if `random` or a
    bare `imagenet` is among the inits or there are none: a study of published encoders alone has no use for it.
    """
    used = list(dict.fromkeys(entrant.backbone for entrant in entrants(experiment)))
    named = [spec.partition(":")[0] for spec in experiment.transfer.inits]
    if not used and (not named or "random" in named or "imagenet" in named):
        used = [experiment.pretrain.backbone]
    return used


def stores(experiment: Experiment) -> dict[str, FramesConfig]:
    """The frame stores that a study needs: folder -> what is in it. The common one comes first and is always there."""
    return {STORE: experiment.frames} | {entrant.store: entrant.frames for entrant in entrants(experiment)}


def pretrain_settings(experiment: Experiment, entrant: Entrant, seed: int) -> PretrainSettings:
    """All that decides the weights of one pre-training run, with the recipe of the paper and its overrides."""
    pretrain, frames, compute = entrant.pretrain, entrant.frames, experiment.compute
    own = pretrain.budgets.get(entrant.method)
    budget = own if own is not None and own.kinds else pretrain.budget
    return PretrainSettings(
        method=entrant.method,
        backbone=entrant.backbone,
        size=frames.size,
        channels=frames.channels,
        budget=Budget(frames_seen=budget.frames_seen, steps=budget.steps, seconds=budget.seconds),
        batch_size=pretrain.batch_size if own is None or own.batch_size is None else own.batch_size,
        pairing=pretrain.pairing,
        window_s=pretrain.window_s,
        pair_weighting=pretrain.pair_weighting,
        exclude_same_scan=pretrain.exclude_same_scan,
        seed=seed,
        params=pretrain.params.get(entrant.method, {}),
        recipe=pretrain.recipes.get(entrant.method, {}),
        views=pretrain.views,
        accumulate=pretrain.accumulate,
        precision=compute.precision,
        threads=compute.threads,
    )
