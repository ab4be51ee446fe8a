"""One optimiser step: the batch forward and backward, in parts where asked, and the optimiser."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor

from ssl_zoo.methods.base import Method, Output
from ssl_zoo.methods.recipe import Recipe
from ssl_zoo.pretraining.batches import Batch
from ssl_zoo.pretraining.endings import Diverged
from ssl_zoo.pretraining.processes import Processes


@dataclass(frozen=True)
class Stepper:
    """What a step needs of the run."""

    method: Method
    recipe: Recipe
    module: _FabricModule  # the method as Fabric has wrapped it
    optimizer: _FabricOptimizer
    processes: Processes
    parts: int  # of a batch, that pass one after another
    advice: str  # what to try when the numbers leave the finite

    def take(self, batch: Batch, share: float, where: str, agree: Callable[[float], float]) -> tuple[Output, float]:
        """Change the weights by one batch; `share` of the budget is gone before.

        Returns what the forward pass gave (of this process's rows) and the loss of the whole batch. `agree` turns this
        process's loss into that; it is called when the forward passes are done and the last backward pass has not
        begun, so that a GPU is busy while the next batch is made. Raises Diverged, naming `where`.
        """
        outputs: list[Output] = []
        loss = math.nan
        parts = batch.parts(self.parts)
        for part in parts:
            last = part is parts[-1]
            with self._gradients_stay_here(not last):
                output = self.module(part.views) if part.scans is None else self.module(part.views, part.scans)
                outputs.append(Output(output.loss.detach(), output.features, output.embeddings, output.parts))
                if last:
                    loss = agree(_mean([each.loss for each in outputs]))
                    self._check(loss, "loss", where)
                self.processes.fabric.backward(output.loss / len(parts))
        self.method.cancel_gradients(share)
        if self.recipe.clip_norm is not None:
            norm = self.processes.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
            )
            self._check(math.nan if norm is None else float(norm), "norm of the gradient", where)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return _together(outputs), loss

    def _gradients_stay_here(self, here: bool) -> contextlib.AbstractContextManager[object]:
        """Several processes exchange gradients in the backward pass; only the last part's has them all."""
        if self.processes.size == 1 or not here:
            return contextlib.nullcontext()
        return self.processes.fabric.no_backward_sync(self.module)

    def _check(self, value: float, what: str, where: str) -> None:
        if not math.isfinite(value):
            raise Diverged(f"the {what} is {value} {where}; {self.advice}")


def _together(outputs: list[Output]) -> Output:
    """The outputs of a batch's parts as one."""
    if len(outputs) == 1:
        return outputs[0]
    return Output(
        torch.stack([each.loss for each in outputs]).mean(),
        torch.cat([each.features for each in outputs]),
        torch.cat([each.embeddings for each in outputs]),
        {name: torch.stack([each.parts[name] for each in outputs]).mean() for name in outputs[0].parts},
    )


def _mean(losses: list[Tensor]) -> float:
    return float(losses[0] if len(losses) == 1 else torch.stack(losses).mean())
