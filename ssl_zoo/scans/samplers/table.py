"""All samplers by name: a new one is one function and one line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.samplers.by_scan import Choice
from ssl_zoo.scans.samplers.diverse import diverse
from ssl_zoo.scans.samplers.in_time import random, stride, uniform
from ssl_zoo.scans.samplers.motion import motion
from ssl_zoo.scans.samplers.settings import SamplerSettings


@dataclass(frozen=True)
class Sampler:
    """`choose` takes the candidates and the settings and returns the rows to keep, int64, ascending and distinct.

    `looks`: whether it compares descriptors; then one face of each place is decoded before anything is chosen.
    """

    choose: Choice
    looks: bool = False


SAMPLERS = {
    "stride": Sampler(stride),
    "uniform": Sampler(uniform),
    "random": Sampler(random),
    "motion": Sampler(motion, looks=True),
    "diverse": Sampler(diverse, looks=True),
}


def sample(candidates: Candidates, settings: SamplerSettings) -> np.ndarray:
    """The rows of `candidates` that the settings' sampler keeps: int64, ascending, no duplicates."""
    return SAMPLERS[settings.sampler].choose(candidates, settings)
