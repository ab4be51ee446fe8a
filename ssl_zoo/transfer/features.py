"""Features of a frozen encoder: computed once, in evaluation mode, changing nothing in it."""

from __future__ import annotations

import numpy as np
import torch

from ssl_zoo.encoders.files import Encoder
from ssl_zoo.encoders.samvit import attention_floats

AT_ONCE = 256  # images in a batch that is not for training
FLOATS = 12 * 4096**2  # 0.8 GB: the attention of UltraSam for one image of its 1024 pixels, 256 images of 512 in colour


def images_at_once(encoder: Encoder, most: int = AT_ONCE) -> int:
    """How many images a network is given at a time: `most`, or what FLOATS leave room for in pixels or attention."""
    card = encoder.card
    return max(1, min(most, FLOATS // max(card.channels * card.size**2, attention_floats(encoder.backbone))))


@torch.no_grad()
def extract_features(
    encoder: Encoder,
    images: np.ndarray,
    batch_size: int | None = None,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """uint8 images `[N, H, W]` or `[N, H, W, 3]` (in memory or a memory map) to float32 features `[N, D]`.

    The encoder runs in evaluation mode, so that BatchNorm uses its own statistics and no buffer moves; its
    mode and device are put back afterwards. Always float32, so that a feature is worth the same on every machine.
    `batch_size`: that of `images_at_once` where it is not given.

    Raises FloatingPointError when a feature is not finite.
    """
    modes = {module: module.training for module in encoder.modules()}
    home = next(encoder.parameters()).device
    batch_size = batch_size or images_at_once(encoder)
    features = np.empty((len(images), encoder.num_features), dtype=np.float32)
    try:
        encoder.eval().to(device)
        for start in range(0, len(images), batch_size):
            batch = to_batch(images[start : start + batch_size], device)
            features[start : start + batch_size] = encoder(batch).float().cpu().numpy()  # [B, D]
    finally:
        encoder.to(home)
        for module, training in modes.items():
            module.training = training
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise FloatingPointError(f"the encoder gives NaN or infinity for image {row}: its weights are not usable")
    return features


def to_batch(images: np.ndarray, device: str | torch.device) -> torch.Tensor:
    """uint8 `[B, H, W]` or `[B, H, W, 3]` to a uint8 tensor `[B, H, W]` or `[B, 3, H, W]` on the device."""
    batch = torch.from_numpy(np.array(images)).to(device)  # a copy: a memory map may be read-only
    return batch.permute(0, 3, 1, 2) if batch.ndim == 4 else batch
