"""What the user asks of a sampler, and which of it decides a store."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ssl_zoo.errors import UserError, unknown

LATER = ("frames", "scans", "candidate_step_s")  # told only where given: stores that know nothing of them stay valid


@dataclass(frozen=True)
class SamplerSettings:
    """What is kept of the scans. Every sampler reads the budget, `clip_length`, `clip_step_s`, `scans` and `seed`.

    The budget is `frames`, the number of frames in the whole store, or else `per_scan`, the number from each scan.
    `stride` may have a step instead: `every` frames, or `every_s` seconds.
    """

    sampler: str = "uniform"
    per_scan: int = 32
    every: int | None = None  # frames
    every_s: float | None = None  # seconds
    clip_length: int = 1  # frames of a run
    clip_step_s: float | None = None  # seconds between the frames of a run; None: neighbouring frames
    seed: int = 0
    frames: int | None = None  # in the store, instead of `per_scan`
    scans: int | None = None  # drawn at random: the first so many in the seed's order; None: all
    candidate_step_s: float | None = None  # random, motion, diverse: seconds between candidates; None: every frame

    def check(self) -> None:
        """Raise UserError for a value that cannot be, naming its key."""
        from ssl_zoo.scans.samplers.table import SAMPLERS  # which imports the samplers, which read these settings

        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        for key in ("per_scan", "every", "clip_length", "frames", "scans"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise UserError(f"frames.{key} is {value}; it must be at least 1")
        for key in ("every_s", "clip_step_s", "candidate_step_s"):
            value = getattr(self, key)
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"frames.{key} is {value}; it must be a positive number of seconds")
        if self.seed < 0:
            raise UserError(f"frames.seed is {self.seed}; it must be 0 or more")
        if self.sampler == "stride":
            given = sum(given is not None for given in (self.every, self.every_s, self.frames))
            if given > 1:
                raise UserError(
                    "sampler 'stride' takes no more than one of frames.every (frames), frames.every_s (seconds) and "
                    "frames.frames (frames in the store)"
                )
            if given:
                return
        key, budget = ("per_scan", self.per_scan) if self.frames is None else ("frames", self.frames)
        if self.clip_length > budget:
            raise UserError(f"frames.clip_length is {self.clip_length}, more than frames.{key} ({budget})")

    def to_json(self) -> dict[str, Any]:
        """All settings by name, without those of `LATER` that were not given."""
        return {
            name: value for name, value in dataclasses.asdict(self).items() if not (name in LATER and value is None)
        }
