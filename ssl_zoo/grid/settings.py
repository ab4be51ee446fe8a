"""From an experiment's keys to the settings of each room, refusing names that no room knows."""

from __future__ import annotations

import os

import torch

from ssl_zoo.config import ComputeConfig, Experiment
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.methods import METHODS
from ssl_zoo.planes.splits import PROTOCOLS
from ssl_zoo.pretraining.trainer import PretrainSettings, build_method, view_settings
from ssl_zoo.scans.clips import PAIRINGS
from ssl_zoo.scans.reader import DECODERS
from ssl_zoo.scans.samplers import SAMPLERS, SamplerSettings
from ssl_zoo.training.precision import PRECISIONS


def check_names(experiment: Experiment) -> None:
    """Refuse names that no registry knows, and methods, backbones and settings that do not fit together."""
    pretrain = experiment.pretrain
    for key, kind, value, known in (
        ("frames.sampler", "sampler", experiment.frames.sampler, SAMPLERS),
        ("frames.decoder", "decoder", experiment.frames.decoder, DECODERS),
        ("pretrain.pairing", "pairing", pretrain.pairing, PAIRINGS),
        ("planes.protocol", "protocol", experiment.planes.protocol, PROTOCOLS),
        ("compute.precision", "precision", experiment.compute.precision, PRECISIONS),
        *(("pretrain.methods", "method", method, METHODS) for method in pretrain.methods),
        *(("pretrain.params", "method", method, METHODS) for method in pretrain.params),
        *(("pretrain.recipes", "method", method, METHODS) for method in pretrain.recipes),
    ):
        if value not in known:
            raise UserError(f"{key}: {unknown(kind, value, known)}")
    sampler_settings(experiment).check()
    devices_of(experiment.compute)
    view_settings(pretrain.views)
    for method in pretrain.methods:
        build_method(pretrain_settings(experiment, method, seed=0))
    for backbone in backbones(experiment):
        build_backbone(backbone, channels=experiment.frames.channels, size=experiment.frames.size)


def backbones(experiment: Experiment) -> list[str]:
    """The backbones in use, each of which has its own baseline: that of the methods, else the default one."""
    used = {backbone_of(experiment, method): None for method in experiment.pretrain.methods}
    return list(used) or [experiment.pretrain.backbone]


def backbone_of(experiment: Experiment, method: str) -> str:
    """The backbone that a method trains in this experiment."""
    return experiment.pretrain.vit if METHODS[method].needs == "vit" else experiment.pretrain.backbone


def pretrain_settings(experiment: Experiment, method: str, seed: int) -> PretrainSettings:
    """The part of the experiment that decides one pre-training run."""
    pretrain, frames, compute = experiment.pretrain, experiment.frames, experiment.compute
    return PretrainSettings(
        method=method,
        backbone=backbone_of(experiment, method),
        size=frames.size,
        channels=frames.channels,
        frames_seen=pretrain.budget.frames_seen,
        batch_size=pretrain.batch_size,
        pairing=pretrain.pairing,
        window_s=pretrain.window_s,
        seed=seed,
        params=pretrain.params.get(method, {}),
        recipe=pretrain.recipes.get(method, {}),
        views=pretrain.views,
        precision=compute.precision,
        threads=compute.threads,
    )


def sampler_settings(experiment: Experiment) -> SamplerSettings:
    """The part of the experiment that decides which frames go into the store."""
    frames = experiment.frames
    return SamplerSettings(
        sampler=frames.sampler,
        per_scan=frames.per_scan,
        every=frames.every,
        every_s=frames.every_s,
        clip_length=frames.clip_length,
        clip_step_s=frames.clip_step_s,
    )


def devices_of(compute: ComputeConfig) -> list[str]:
    """The device of each worker: every GPU, or the CPU once for each `threads` cores."""
    cuda = torch.cuda.is_available()
    if compute.device == "cuda" and not cuda:
        raise UserError("compute.device: 'cuda' is asked for, and torch finds no CUDA device")
    if cuda and compute.device != "cpu":
        count = torch.cuda.device_count()
        return [f"cuda:{k % count}" for k in range(compute.workers or count)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ["cpu"] * (compute.workers or max(1, min(16, cores // compute.threads)))
