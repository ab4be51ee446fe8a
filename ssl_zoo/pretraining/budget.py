"""What a run may spend, and where in its schedule it stands: the share of the budget that is gone."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ssl_zoo.errors import UserError

FINE = 1_000_000  # places of a schedule in seconds, which has no steps to count


@dataclass(frozen=True)
class Budget:
    """Exactly one of three; the others are None.

    `frames_seen`: frames drawn as anchors; a remainder of less than one batch is not spent. `steps`: optimiser steps.
    `seconds`: seconds of training, in which warm-up, learning rate and teachers follow the clock. How far a computer
    gets in a number of seconds varies, so a budget in seconds does *not* give the same weights for the same seed; the
    other two do, to the bit on the CPU.
    """

    frames_seen: int | None = None
    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            found = ", ".join(f"{name}={value}" for name, value in given.items()) or "none"
            raise UserError(f"pretrain.budget: give exactly one of frames_seen, steps and seconds (given: {found})")
        name, value = next(iter(given.items()))
        if not 0 < value < math.inf:
            raise UserError(f"pretrain.budget.{name} is {value}; it must be a positive number")

    def optimiser_steps(self, batch_size: int) -> int | None:
        """Optimiser steps of `batch_size` images in the whole run; None where the clock decides."""
        return self.steps if self.frames_seen is None else self.frames_seen // batch_size

    def timeline(self, batch_size: int) -> Timeline:
        """The schedule of a run; UserError where the budget is less than one step."""
        steps = self.optimiser_steps(batch_size)
        if steps is not None and steps < 1:
            raise UserError(f"pretrain.budget.frames_seen is {self.frames_seen}, less than one batch of {batch_size}")
        return Timeline(steps, self.seconds)


@dataclass(frozen=True)
class Timeline:
    """Places on a run's way, by its optimiser steps or, where `steps` is None, by its training seconds."""

    steps: int | None
    seconds: float | None = None

    def share(self, step: int, elapsed: float) -> float:
        """How much of the run is done, 0..1, after `step` steps and `elapsed` training seconds."""
        if self.steps is not None:
            return step / self.steps
        assert self.seconds is not None
        return min(elapsed / self.seconds, 1.0)

    def over(self, step: int, elapsed: float) -> bool:
        """Whether the budget is spent. A step that has begun is finished."""
        return self.share(step, elapsed) >= 1

    def place(self, step: int, elapsed: float) -> tuple[int, int]:
        """(step, steps) for the schedule of the step about to be taken."""
        if self.steps is not None:
            return step, self.steps
        return min(int(self.share(step, elapsed) * FINE), FINE - 1), FINE

    def is_mark(self, marks: int, step: int, before: float, now: float) -> bool:
        """Whether the step that ends at `step` passes one of about `marks` evenly spaced places; the last step does.

        `before` and `now` are the training seconds before and after it.
        """
        if self.steps is not None:
            return step % max(1, self.steps // marks) == 0 or step == self.steps
        share = self.share(step, now)
        return math.floor(share * marks) > math.floor(self.share(step - 1, before) * marks)

    def __str__(self) -> str:
        return f"{self.steps} steps" if self.steps is not None else f"{self.seconds:g} seconds"


class Clock:
    """Seconds of training, over all starts of a run; it stands still while something else is done."""

    _now = staticmethod(time.monotonic)

    def __init__(self, seconds: float = 0.0) -> None:
        self._counted = seconds
        self._since: float | None = self._now()

    def elapsed(self) -> float:
        """Training seconds so far, those of earlier starts included."""
        return self._counted if self._since is None else self._counted + self._now() - self._since

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still within the block."""
        self._counted, self._since = self.elapsed(), None
        try:
            yield
        finally:
            self._since = self._now()
