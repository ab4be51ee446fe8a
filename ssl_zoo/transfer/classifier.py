"""A classifier that can be used and kept: an encoder with a linear head, in a folder without pickle.

The folder holds `encoder/` (an encoder folder like any other), `classifier.safetensors` (the head) and
`classifier.json` (class names, and where the classifier comes from).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ssl_zoo.encoders.files import Encoder, load_encoder, save_encoder
from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json, replacing, write_json
from ssl_zoo.transfer.features import images_at_once, to_batch

HEAD, ABOUT, ENCODER = "classifier.safetensors", "classifier.json", "encoder"


class Classifier(nn.Module):
    """An encoder and a linear head on its features, in evaluation mode.

    `weight` `[K, D]` and `bias` `[K]` belong to the features as the encoder gives them; a class without a training
    image has a bias so low that its probability is 0. `about` says where the classifier comes from.
    """

    def __init__(
        self,
        encoder: Encoder,
        weight: np.ndarray | Tensor,
        bias: np.ndarray | Tensor,
        classes: Sequence[str],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.weight: Tensor
        self.bias: Tensor
        # float64, as the probe was solved: with many correlated features float32 would lose digits
        self.register_buffer("weight", torch.as_tensor(weight).detach().double().cpu().contiguous())
        self.register_buffer("bias", torch.as_tensor(bias).detach().double().cpu().contiguous())
        self.classes = tuple(str(name) for name in classes)
        self.about = dict(about or {})
        wanted = (len(self.classes), encoder.num_features)
        if tuple(self.weight.shape) != wanted or tuple(self.bias.shape) != wanted[:1]:
            raise UserError(
                f"classifier: a head of shape {list(self.weight.shape)} with {len(self.bias)} biases does not fit "
                f"{wanted[0]} classes on {wanted[1]} features"
            )
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def on_standardised(
        cls,
        encoder: Encoder,
        coefficients: np.ndarray,
        intercepts: np.ndarray,
        mean: np.ndarray,
        scale: np.ndarray,
        classes: Sequence[str],
        about: Mapping[str, Any] | None = None,
    ) -> Classifier:
        """From a head `[D, K]`, `[K]` on features standardised by `mean` and `scale` `[D]`, folded into it."""
        weight = (np.asarray(coefficients, np.float64) / np.asarray(scale, np.float64)[:, None]).T  # [K, D]
        return cls(encoder, weight, intercepts - weight @ np.asarray(mean, np.float64), classes, about)

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def head(self, features: Tensor) -> Tensor:
        """Features `[B, D]` to logits float64 `[B, K]`."""
        return features.double() @ self.weight.T + self.bias

    def forward(self, normalised: Tensor) -> Tensor:
        """Images as `encoder.normalise` gives them, `[B, C, size, size]`, to logits float64 `[B, K]`."""
        return self.head(self.encoder.backbone(normalised))

    @torch.no_grad()
    def predict(self, images: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        """uint8 images `[N, H, W]` or `[N, H, W, 3]` (a memory map is read in batches) to probabilities `[N, K]`.

        Any size is taken: images are scaled to what the encoder wants. `batch_size`: that of `images_at_once` where it
        is not given. Raises FloatingPointError when a probability is not finite.
        """
        batch_size = batch_size or images_at_once(self.encoder)
        probabilities = np.empty((len(images), len(self.classes)), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            batch = self.encoder.normalise(to_batch(images[start : start + batch_size], self.device))
            probabilities[start : start + batch_size] = torch.softmax(self(batch), 1).cpu().numpy()
        if not np.isfinite(probabilities).all():
            raise FloatingPointError("the classifier gives NaN or infinity: its weights are not usable")
        return probabilities

    def save(self, folder: Path | str) -> Path:
        """Write the classifier's folder, whole or not at all."""
        with replacing(Path(folder)) as part:
            part.mkdir()
            save_encoder(part / ENCODER, self.encoder.backbone, self.encoder.card)
            save_file({"weight": self.weight.cpu(), "bias": self.bias.cpu()}, part / HEAD)
            write_json(part / ABOUT, {"classes": list(self.classes), "about": self.about})
        return Path(folder)


def load_classifier(folder: Path | str) -> Classifier:
    """Load a classifier's folder, in evaluation mode, on the CPU. No code from the file is run.

    Raises UserError when the folder or a file in it is missing or broken, or head and encoder do not fit.
    """
    folder = Path(folder)
    if not (folder / ABOUT).is_file():
        raise UserError(f"{folder}: not a classifier folder (it holds {HEAD}, {ABOUT} and {ENCODER}/)")
    told = read_json(folder / ABOUT)
    if not isinstance(told, dict) or not isinstance(told.get("classes"), list):
        raise UserError(f"{folder / ABOUT}: not a classifier's description (it has no 'classes')")
    try:
        head = cast(dict[str, Tensor], load_file(folder / HEAD))
    except FileNotFoundError:
        raise UserError(f"{folder / HEAD}: no such file") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder / HEAD}: not a whole safetensors file ({error})") from None
    if set(head) != {"weight", "bias"}:
        raise UserError(f"{folder / HEAD}: holds {', '.join(sorted(head)) or 'nothing'} instead of weight and bias")
    return Classifier(load_encoder(folder / ENCODER), head["weight"], head["bias"], told["classes"], told.get("about"))
