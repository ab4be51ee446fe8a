"""When a run is looked at, and what is written down then: the rows of `history.jsonl`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ssl_zoo.encoders.files import Card
from ssl_zoo.methods.base import Method, Output
from ssl_zoo.pretraining.budget import Timeline
from ssl_zoo.pretraining.monitor import alignment_and_uniformity, feature_health, spread
from ssl_zoo.pretraining.probe_monitor import LabelledImages, neighbour_accuracy, view_features
from ssl_zoo.pretraining.processes import Processes

POINTS = 100  # rows spread evenly over a run; the end of each epoch has one too
ENCODER_POINTS = 10  # of those, with the encoder in evaluation mode; and at the ends of epochs, ...
ENCODER_STEPS = 16  # ... this many steps apart at least: two forward passes cost about a third of a step


@dataclass(frozen=True)
class Moment:
    """The end of a step: its number, counted from 1, and the training seconds before and after it."""

    step: int
    before: float
    now: float


@dataclass(frozen=True)
class Watch:
    """Looks at a run from outside: every monitor sees features, never the method.

    At about a hundred places, and at the end of every epoch: the loss with its terms, the learning rate,
    `monitor.feature_health` of the features and `embedding_std`, the `monitor.spread` of the embeddings, all of which
    the step has made anyway. At about ten of the places, and at the end of every epoch (of every few, where an epoch is
    shorter than 16 steps): `alignment` and `uniformity` of the encoder in evaluation mode on the step's first two
    views. At about ten places, where labelled images of training patients are given: `knn_accuracy`.

    `aside` is entered while the encoder runs for the monitors, which is no training and is not counted as such.
    """

    timeline: Timeline
    per_epoch: int  # steps
    method: Method
    card: Card
    processes: Processes
    labelled: LabelledImages | None = None
    aside: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext

    def wants(self, moment: Moment) -> bool:
        """Whether a row is due; the same in all processes."""
        return self._mark(POINTS, moment) or moment.step % self.per_epoch == 0

    def row(
        self, moment: Moment, output: Output, views: list[Tensor], batch_size: int, loss: float, lr: float
    ) -> dict[str, Any]:
        """One row of the history. All processes take part; the first one's row is the whole one."""
        row: dict[str, Any] = {
            "step": moment.step,
            "frames_seen": moment.step * batch_size,
            "share": round(self.timeline.share(moment.step, moment.now), 6),  # of the budget
            "loss": loss,
            **{f"loss_{name}": self.processes.mean(value) for name, value in output.parts.items()},
            "lr": lr,
        }
        features = self.processes.gather(output.features)  # [B, D]
        embeddings = self.processes.gather(output.embeddings)  # [B, E]
        if self.processes.is_first:
            row |= feature_health(features) | {"embedding_std": spread(embeddings)}
        every = self.per_epoch * -(-ENCODER_STEPS // self.per_epoch)
        chosen = self._mark(ENCODER_POINTS, moment)
        if chosen or moment.step % every == 0:
            with self.aside():
                row |= self._encoder_monitors(views, neighbours=chosen)
        return row

    def _encoder_monitors(self, views: list[Tensor], *, neighbours: bool) -> dict[str, float]:
        encoder = self.method.encoder()
        sides = [self.processes.gather(side) for side in view_features(encoder, views[:2])]  # each [B, D]
        if not self.processes.is_first:
            return {}
        found = alignment_and_uniformity(*sides)
        if neighbours and self.labelled is not None:
            found["knn_accuracy"] = neighbour_accuracy(encoder, self.card, self.labelled, views[0].device)
        return found

    def _mark(self, marks: int, moment: Moment) -> bool:
        return self.timeline.is_mark(marks, moment.step, moment.before, moment.now)
