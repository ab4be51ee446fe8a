"""When a run counts as collapsed: all images have nearly the same features, whatever the loss says.

The loss cannot tell. DINO whose teacher is uniform rests at log K, the entropy of K prototypes, where a slow start
rests too; BYOL and an invariance term have their *lowest* loss at constant features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MIN_STD = 0.01
MIN_EFFECTIVE_RANK = 2.0
ENOUGH_IMAGES = 8  # in a batch, for its rank to mean something
SINCE = 0.2  # share of the run; before it features move too much, and may pass through a narrow place
IN_A_ROW = 5  # log points, of about a hundred


def looks_collapsed(health: Mapping[str, float], batch_size: int) -> bool:
    """Whether `monitor.feature_health` of a batch shows a collapse."""
    narrow = health["effective_rank"] < MIN_EFFECTIVE_RANK and batch_size >= ENOUGH_IMAGES
    return narrow or health["feature_std"] < MIN_STD


def has_collapsed(history: Sequence[Mapping[str, Any]], batch_size: int) -> bool:
    """Whether the last log points of a history (rows with `share` and the monitors) are all collapsed ones."""
    last = history[-IN_A_ROW:]
    return len(last) == IN_A_ROW and all(row["share"] >= SINCE and looks_collapsed(row, batch_size) for row in last)


def collapse_event(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The step at which a collapse was recorded, or None."""
    return next((row["step"] for row in history if row.get("event") == "collapse"), None)
