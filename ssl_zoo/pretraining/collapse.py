"""When a run counts as collapsed: the network no longer tells images apart, whatever the loss says.

The loss cannot say it. DINO whose teacher gives every image the same answer rests near log K, the entropy of K
prototypes, where a slow start rests too; BYOL and an invariance term have their *lowest* loss at constant features.

Two signs, of which one is enough.
- All directions are the same: the `spread` of the features, or of the embeddings that the loss compares, is below 0.01.
  Seen: runs of all methods that learn stay above 0.2, but for an MAE early on (0.045; its features share a strong
  common direction) and DINO's logits (0.06). A ViT under DINO at twenty times the learning rate, its loss at log K, has
  embeddings of 0.0004, while its features keep 0.03: the embeddings are the surer sign.
- The features lie on a line: their centred effective rank is below 2. Seen: 6 and more in runs that learn.

With BatchNorm in backbone and head neither sign shows up easily: it spreads whatever is left of a difference. What
then remains is a low rank, which the monitors show and no threshold judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MIN_STD = 0.01
MIN_EFFECTIVE_RANK = 2.0
ENOUGH_IMAGES = 8  # in a batch, for its rank to mean something
SINCE = 0.2  # share of the run; before it features move much, and may pass through a narrow place
IN_A_ROW = 5  # log points, of about a hundred


def looks_collapsed(row: Mapping[str, float], batch_size: int) -> bool:
    """Whether the monitors of a batch (`feature_std`, `embedding_std`, `effective_rank`) show a collapse."""
    narrow = row["effective_rank"] < MIN_EFFECTIVE_RANK and batch_size >= ENOUGH_IMAGES
    return narrow or min(row["feature_std"], row["embedding_std"]) < MIN_STD


def has_collapsed(history: Sequence[Mapping[str, Any]], batch_size: int) -> bool:
    """Whether the last log points of a history (rows with `share` and the monitors) are all collapsed ones."""
    last = history[-IN_A_ROW:]
    return len(last) == IN_A_ROW and all(row["share"] >= SINCE and looks_collapsed(row, batch_size) for row in last)


def collapse_event(history: Sequence[Mapping[str, Any]]) -> int | None:
    """The step at which a collapse was recorded, or None."""
    return next((row["step"] for row in history if row.get("event") == "collapse"), None)
