"""Pre-training: one loop for every method, on Lightning Fabric, that a `kill -9` only delays.

Every random draw is a function of (seed, step), and every schedule of (step, steps): a checkpoint therefore needs
the weights, the optimiser and the step, and a resumed run equals an undisturbed one to the bit on the CPU.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, save_encoder
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint
from ssl_zoo.methods import METHODS
from ssl_zoo.methods.base import Method, Recipe
from ssl_zoo.pretraining.monitor import feature_health
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.frames import FrameStore
from ssl_zoo.training.checkpoint import newest_checkpoint, save_checkpoint
from ssl_zoo.training.optim import build_optimizer, set_schedule
from ssl_zoo.training.precision import resolve_precision
from ssl_zoo.training.views import ViewSettings, make_views

VERSION = 1  # raised when a change to this loop changes the weights that come out
SHOW_EVERY_S = 1.0  # between two reports of progress
ORDER, PAIRS, VIEWS, FORWARD = range(4)  # the random streams of a run


class Diverged(ArithmeticError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class PretrainSettings:
    """All that decides the weights of one pre-training run, beside the frames."""

    method: str
    backbone: str
    size: int
    channels: int
    frames_seen: int
    batch_size: int
    pairing: str = "temporal"
    window_s: float = 0.2
    seed: int = 0
    params: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    views: dict[str, Any] = field(default_factory=dict)
    precision: str = "auto"
    threads: int = 1

    @property
    def steps(self) -> int:
        """Optimiser steps; a remainder of less than one batch is not spent."""
        return self.frames_seen // self.batch_size

    def fingerprint(self, store_fingerprint: str) -> str:
        """Changes when anything that decides the weights changes."""
        return fingerprint([VERSION, dataclasses.asdict(self), store_fingerprint])


def build_method(settings: PretrainSettings) -> tuple[Method, Recipe]:
    """The method on a fresh backbone, both drawn from `settings.seed`, and its recipe with the overrides."""
    backbone = build_backbone(settings.backbone, channels=settings.channels, size=settings.size, seed=settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_mix(settings.seed, FORWARD, 0))
        try:
            method = METHODS[settings.method](backbone, **settings.params)
        except TypeError as error:
            raise UserError(f"pretrain.params.{settings.method}: {error}") from error
    try:
        recipe = dataclasses.replace(method.recipe, **settings.recipe)
    except TypeError as error:
        raise UserError(f"pretrain.recipes.{settings.method}: {error}") from error
    return method, recipe


def view_settings(views: dict[str, Any]) -> ViewSettings:
    """The experiment's overrides of the view recipes."""
    try:
        pairs: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in views.items()
        }
        return ViewSettings(**pairs)
    except TypeError as error:
        raise UserError(f"pretrain.views: {error}") from error


def pretrain(
    settings: PretrainSettings,
    store: FrameStore,
    out: Path,
    *,
    device: str = "cpu",
    checkpoint_every_s: float = 30.0,
    report: Callable[[float, str], None] = lambda done, line: None,
) -> None:
    """Train one method on the frames of `store` and write its encoder folder `out`.

    Beside the encoder stand `history.jsonl` (loss, learning rate and monitors along the way) and `budget.json` (what
    the run spent). Work in progress lives in a hidden neighbour `.work-*`; a run that was stopped goes on from its
    newest checkpoint. `report(share done, line)` is called about once a second.

    Raises UserError for settings that cannot work and Diverged when the loss is not a number.
    """
    if len(store) < settings.batch_size:
        raise UserError(
            f"the frame store has {len(store)} frames, fewer than one batch of {settings.batch_size}; "
            "lower pretrain.batch_size or sample more frames"
        )
    method, recipe = build_method(settings)
    mean, std = [store.mean] * settings.channels, [store.std] * settings.channels
    overrides = view_settings(settings.views)
    pairs = PairSampler(store.index, settings.pairing, settings.window_s)

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision at every start
    fabric = Fabric(
        accelerator="cuda" if device.startswith("cuda") else "cpu",
        devices=[int(device.partition(":")[2] or 0)] if device.startswith("cuda") else 1,
        precision="bf16-mixed" if resolve_precision(settings.precision, device) == torch.bfloat16 else "32-true",
    )
    method.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(method, recipe, batch_size=settings.batch_size)
    module, optimizer = fabric.setup(method, optimizer)
    module.train()

    run_fingerprint = settings.fingerprint(store.fingerprint)
    work = out.parent / f".work-{out.name}-{run_fingerprint}"
    step, seconds, history = 0, 0.0, []
    if state := newest_checkpoint(work):
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
        step, seconds, history = state["step"], state["seconds"], state["history"]

    def checkpoint() -> None:
        save_checkpoint(
            work,
            step,
            {
                "method": method.state_dict(),
                "optimizer": optimizer.state_dict(),
                "seconds": seconds,
                "history": history,
            },
        )

    generator = torch.Generator(device=fabric.device)
    steps, log_every = settings.steps, max(1, settings.steps // 100)
    started = saved = shown = time.monotonic()
    since = step
    views: list[Tensor] = []
    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
        while step < steps:
            rows = batch_rows(len(store), settings.batch_size, step, settings.seed)  # [B]
            partners = pairs.pairs(rows, np.random.default_rng([settings.seed, PAIRS, step]))
            first = torch.from_numpy(store.batch(rows)).to(fabric.device, non_blocking=True)
            second = torch.from_numpy(store.batch(partners)).to(fabric.device, non_blocking=True)
            generator.manual_seed(_mix(settings.seed, VIEWS, step))
            views = make_views(
                method.views,
                first,
                second,
                size=settings.size,
                mean=mean,
                std=std,
                generator=generator,
                settings=overrides,
            )
            views = [view.contiguous(memory_format=torch.channels_last) for view in views]

            torch.manual_seed(_mix(settings.seed, FORWARD, step))
            set_schedule(optimizer, recipe, step, steps)
            output = module(views)
            loss = float(output.loss.detach())
            if not math.isfinite(loss):
                raise Diverged(
                    f"{settings.method}: the loss is {loss} at step {step} of {steps}; "
                    f"try a lower pretrain.recipes.{settings.method}.base_lr (now {recipe.base_lr})"
                )
            fabric.backward(output.loss)
            method.cancel_gradients(step / steps)
            if recipe.clip_norm is not None:
                fabric.clip_gradients(module, optimizer, max_norm=recipe.clip_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step += 1
            method.after_step(step / steps)

            now = time.monotonic()
            if step % log_every == 0 or step == steps:
                history.append(
                    {
                        "step": step,
                        "frames_seen": step * settings.batch_size,
                        "loss": loss,
                        **{f"loss_{name}": float(value) for name, value in output.parts.items()},
                        "lr": max(group["lr"] for group in optimizer.param_groups),
                        **feature_health(output.features),
                    }
                )
            if now - shown >= SHOW_EVERY_S or step == steps:
                speed = (step - since) * settings.batch_size / (now - started)
                report(step / steps, f"loss {loss:.3f}, {speed:.0f} frames/s")
                shown = now
            if now - saved >= checkpoint_every_s and step < steps:
                seconds, saved = seconds + (now - started), now
                started, since = now, step
                checkpoint()
    seconds += time.monotonic() - started

    card = Card(
        backbone=settings.backbone,
        size=settings.size,
        channels=settings.channels,
        mean=mean,
        std=std,
        init=settings.method,
        method=settings.method,
        role=method.role,
        seed=settings.seed,
        config_fingerprint=run_fingerprint,
        data_fingerprint=store.fingerprint,
        patients=store.patients,
    )
    budget = {
        "frames_seen": steps * settings.batch_size,
        "views_seen": steps * sum(len(view) for view in views),
        "steps": steps,
        "batch_size": settings.batch_size,
        "seconds": round(seconds, 2),
        "peak_memory_mb": round(_peak_memory_mb(fabric.device)),
        "frames_in_store": len(store),
        "share_without_neighbour": pairs.lonely,
    }
    save_encoder(
        out,
        method.encoder(),
        card,
        extras={
            "history.jsonl": "".join(json.dumps(row) + "\n" for row in history),
            "budget.json": json.dumps(budget, indent=1) + "\n",
        },
    )
    for leftover in work.glob("step-*.pt"):
        leftover.unlink()
    if work.is_dir():
        work.rmdir()


def batch_rows(n_frames: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """The store rows `[B]` of one step: epochs of permutations drawn from (seed, epoch).

    What does not fill a batch at an epoch's end is left out: a batch never holds a frame twice and is never short.
    """
    epoch, place = divmod(step, n_frames // batch_size)
    return _epoch_order(n_frames, seed, epoch)[place * batch_size : (place + 1) * batch_size]


@functools.lru_cache(maxsize=1)
def _epoch_order(n_frames: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(n_frames)


def _mix(*parts: int) -> int:
    """A 63-bit seed out of several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(2, np.uint32).view(np.uint64)[0] >> 1)


def _peak_memory_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
