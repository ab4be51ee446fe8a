"""One optimiser step of a method on a batch that is already there: what no loop can be faster than."""

from __future__ import annotations

import torch

from ssl_zoo.pretraining.batches import Batches
from ssl_zoo.pretraining.processes import connect
from ssl_zoo.pretraining.settings import PretrainSettings, build_method
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.training.optim import build_optimizer, set_schedule


def batches_of(settings: PretrainSettings, store: FrameStore, device: str) -> Batches:
    """What makes the batches of the real loop: frames and partners from the store, and their views."""
    method, _ = build_method(settings)
    return Batches(settings, store, method.views, connect(device, settings.precision), with_scans=False)


class FixedStep:
    """The method, its optimiser and the real loop's first batch, all on the device."""

    def __init__(self, settings: PretrainSettings, store: FrameStore, device: str, steps: int) -> None:
        self.method, self.recipe = build_method(settings)
        self.device, self.steps, self.step = device, steps, 0
        batches = batches_of(settings, store, device)
        self.fabric = batches.processes.fabric
        self.method.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(self.method, self.recipe, batch_size=settings.batch_size)
        self.module, self.optimizer = self.fabric.setup(self.method, optimizer)
        self.module.train()
        self.views = batches.of_step(0).views  # each [B, C, h, w]

    def take(self) -> None:
        """The step."""
        share = self.step / self.steps
        set_schedule(self.optimizer, self.recipe, self.step, self.steps)
        output = self.module(self.views)
        float(output.loss.detach())  # the real loop looks at every loss, too
        self.fabric.backward(output.loss)
        self.method.cancel_gradients(share)
        if self.recipe.clip_norm is not None:
            self.fabric.clip_gradients(self.module, self.optimizer, max_norm=self.recipe.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step = (self.step + 1) % self.steps
        self.method.after_step(share)

    def take_many(self, steps: int) -> None:
        """So many of them."""
        for _ in range(steps):
            self.take()
