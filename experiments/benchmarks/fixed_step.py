"""One optimiser step of a method on a batch that is already there: what no loop can be faster than."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor

from ssl_zoo.pretraining.settings import PretrainSettings, build_method
from ssl_zoo.scans.frames import FrameStore
from ssl_zoo.training.optim import build_optimizer, set_schedule
from ssl_zoo.training.precision import resolve_precision
from ssl_zoo.training.views import make_views


class FixedStep:
    """The method, its optimiser and one batch of views, all on the device."""

    def __init__(self, settings: PretrainSettings, store: FrameStore, device: str, steps: int) -> None:
        self.method, self.recipe = build_method(settings)
        self.device, self.steps, self.step = device, steps, 0
        bf16 = resolve_precision(settings.precision, device) == torch.bfloat16
        self.fabric = Fabric(
            accelerator="cuda" if device.startswith("cuda") else "cpu",
            devices=[int(device.partition(":")[2] or 0)] if device.startswith("cuda") else 1,
            precision="bf16-mixed" if bf16 else "32-true",
        )
        self.method.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(self.method, self.recipe, batch_size=settings.batch_size)
        self.module, self.optimizer = self.fabric.setup(self.method, optimizer)
        self.module.train()
        self.views = first_views(settings, store, self.method.views, self.fabric.device)

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


def first_views(settings: PretrainSettings, store: FrameStore, recipe: str, device: torch.device) -> list[Tensor]:
    """The views of the store's first frames, each `[B, C, h, w]`, in the memory order of the real loop."""
    frames = torch.from_numpy(store.frames[: settings.batch_size].copy()).to(device)
    views = make_views(
        recipe,
        frames,
        frames,
        size=settings.size,
        mean=[store.mean] * settings.channels,
        std=[store.std] * settings.channels,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    return [view.contiguous(memory_format=torch.channels_last) for view in views]
