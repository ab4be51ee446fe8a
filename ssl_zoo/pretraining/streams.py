"""The random streams of a run: every draw is a function of (seed, stream, step), so that no state need be saved."""

from __future__ import annotations

import numpy as np

ORDER, PAIRS, VIEWS, FORWARD = range(4)


def generator_of(*parts: int) -> np.random.Generator:
    """NumPy's generator of a place, for example `(seed, PAIRS, step)`."""
    return np.random.default_rng(list(parts))


def seed_of(*parts: int) -> int:
    """A 63-bit seed for torch out of a place, for example `(seed, VIEWS, step)`."""
    return int(np.random.SeedSequence(parts).generate_state(2, np.uint32).view(np.uint64)[0] >> 1)
