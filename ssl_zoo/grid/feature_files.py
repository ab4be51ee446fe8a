"""Where a run keeps the features of its planes: one file for each encoder, named by what decides them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ssl_zoo.files import fingerprint


def features_file(run: Path, init: str, backbone: str, weights: Any, planes: str, size: int, channels: int) -> Path:
    """`features/<fingerprint>.npy`, float32 `[N, D]`.

    `weights` is the encoder's fingerprint, or, for an untrained network, its seed with the mean and standard deviation
    of its input; `planes` the fingerprint of the plane table; `size` and `channels` those of the run's frames.
    """
    return run / "features" / f"{fingerprint([init, backbone, weights, planes, size, channels])}.npy"
