"""Full fine-tuning: the encoder and a linear head learn together, for a fixed number of steps.

AdamW with timm's layer-wise learning-rate decay, warm-up and a cosine per step, a class-balanced loss whose
weights come from the training subset alone, mild ultrasound views. No epoch is chosen and nothing stops early,
so no validation or test image can leak into the choice.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from ssl_zoo.encoders.backbones import is_transformer
from ssl_zoo.encoders.files import Encoder
from ssl_zoo.errors import UserError
from ssl_zoo.training.precision import autocast
from ssl_zoo.training.views import augment
from ssl_zoo.transfer.features import to_batch
from ssl_zoo.transfer.probe import class_weights

# uint8 images [B, H, W] or [B, H, W, 3] and a generator on their device, to normalised float images [B, C, size, size].
View = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class FinetuneSettings:
    """What fine-tuning is told. A cell's key holds all of it."""

    steps: int = 300
    batch_size: int = 32
    lr: float = 1e-3  # of the head; arXiv 2407.21738 fine-tunes with AdamW and 1e-3
    layer_decay: float = 0.75  # factor on the learning rate per layer below the head (MAE, arXiv 2111.06377, table 9)
    weight_decay: float = 0.05  # same table
    warmup: float = 0.1  # fraction of the steps
    final_lr: float = 0.0  # fraction of lr at the last step
    dropout: float = 0.0  # before the head
    label_smoothing: float = 0.0
    clip_norm: float | None = 1.0
    precision: str = "auto"  # see training/precision.py

    def __post_init__(self) -> None:
        checks = {
            "steps": self.steps >= 1,
            "batch_size": self.batch_size >= 2,  # BatchNorm has no variance of one image
            "lr": self.lr > 0,
            "layer_decay": 0 < self.layer_decay <= 1,
            "weight_decay": self.weight_decay >= 0,
            "warmup": 0 <= self.warmup < 1,
            "final_lr": 0 <= self.final_lr <= 1,
            "dropout": 0 <= self.dropout < 1,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "clip_norm": self.clip_norm is None or self.clip_norm > 0,
        }
        for name, good in checks.items():
            if not good:
                raise UserError(f"fine-tuning: {name} cannot be {getattr(self, name)}")


class Classifier(nn.Module):
    """A fine-tuned encoder with its linear head. `losses` has the training loss of every step."""

    def __init__(self, encoder: Encoder, n_classes: int, *, dropout: float, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.num_features, n_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.head.bias)
        self.losses: list[float] = []

    def forward(self, normalised: Tensor) -> Tensor:
        """Normalised images `[B, C, size, size]` to logits `[B, K]`."""
        return self.head(self.dropout(self.encoder.backbone(normalised)).float())

    @torch.no_grad()
    def predict(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """uint8 images `[N, H, W]` or `[N, H, W, 3]` to probabilities float32 `[N, K]`, in evaluation mode."""
        self.eval()
        device = self.head.weight.device
        probabilities = np.empty((len(images), self.head.out_features), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            batch = self.encoder.normalise(to_batch(images[start : start + batch_size], device))
            probabilities[start : start + batch_size] = torch.softmax(self(batch), 1).cpu().numpy()
        return probabilities


def finetune(
    encoder: Encoder,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    n_classes: int,
    settings: FinetuneSettings | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    view: View | None = None,
) -> Classifier:
    """Fine-tune a copy of `encoder` on uint8 images `[N, H, W]` or `[N, H, W, 3]` with labels `[N]` in 0..n_classes-1.

    `images` may be a memory map; one batch at a time is read from it. `view` augments (default: the mild ultrasound
    views). On the CPU the same seed gives the same weights bit for bit; the global random state is
    left as it was. Raises FloatingPointError when the loss is not finite.
    """
    settings = settings or FinetuneSettings()
    device = torch.device(device)
    view = view or mild_view(encoder)
    labels = np.asarray(labels, dtype=np.int64)
    with _seeded(seed, device):
        model = Classifier(
            copy.deepcopy(encoder), n_classes, dropout=settings.dropout, generator=torch.Generator().manual_seed(seed)
        ).to(device)
        if not is_transformer(encoder.card.backbone):
            model = model.to(memory_format=torch.channels_last)  # convolutions are faster this way
        optimizer = torch.optim.AdamW(_parameter_groups(model, settings), lr=settings.lr)
        peaks = [group["lr"] for group in optimizer.param_groups]
        weights = torch.as_tensor(class_weights(labels, n_classes), dtype=torch.float32, device=device)
        lossfunction = nn.CrossEntropyLoss(weights, label_smoothing=settings.label_smoothing)
        draws = torch.Generator(device).manual_seed(seed + 1)
        model.train()
        losses = []
        for step, rows in enumerate(batches(len(images), settings.batch_size, settings.steps, seed)):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * lr_factor(settings, step)
            batch = view(torch.from_numpy(images[rows]).to(device), draws)  # [B, C, size, size]
            with autocast(device, settings.precision):
                logits = model(batch)
            loss = lossfunction(logits.float(), torch.from_numpy(labels[rows]).to(device))
            if not torch.isfinite(loss):
                raise FloatingPointError(
                    f"fine-tuning: the loss is {loss.item()} at step {step + 1} of {settings.steps}"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            losses.append(loss.detach())
    model.losses = torch.stack(losses).cpu().tolist()
    return model.eval()


def mild_view(encoder: Encoder) -> View:
    """The fine-tuning view of training/views.py, with the size and normalisation that the encoder wants."""
    card = encoder.card

    def view(images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim == 3 and card.channels == 3:
            images = images.unsqueeze(-1).expand(-1, -1, -1, 3)
        elif images.ndim == 4 and card.channels == 1:
            images = images.float().mean(-1).round().to(torch.uint8)
        return augment(images, size=card.size, mean=card.mean, std=card.std, generator=generator)

    return view


def batches(n_images: int, batch_size: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Row numbers of `steps` batches of exactly `batch_size`: epoch after epoch, each in a new order, without a gap.

    A subset smaller than the batch appears several times in it, each time in another view.
    """
    generator = np.random.default_rng(seed)
    queue = np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(queue) < batch_size:
            queue = np.concatenate([queue, generator.permutation(n_images)])
        yield queue[:batch_size]
        queue = queue[batch_size:]


def lr_factor(settings: FinetuneSettings, step: int) -> float:
    """Share of the peak learning rate at a step in 0..steps-1: linear warm-up, then half a cosine to `final_lr`."""
    warmup = round(settings.warmup * settings.steps)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, settings.steps - 1 - warmup)
    return settings.final_lr + (1 - settings.final_lr) * (1 + math.cos(math.pi * progress)) / 2


def _parameter_groups(model: Classifier, settings: FinetuneSettings) -> list[dict]:
    """timm's layer-decay groups for the backbone, and the head at the full rate; biases and norms are not decayed."""
    backbone = model.encoder.backbone
    undecayed: Any = getattr(backbone, "no_weight_decay", tuple)  # tokens and position tables
    groups = param_groups_layer_decay(
        backbone,
        weight_decay=settings.weight_decay,
        no_weight_decay_list=tuple(undecayed()),
        layer_decay=settings.layer_decay,
    )
    return [
        *({**group, "lr": settings.lr * group["lr_scale"]} for group in groups),
        {"params": [model.head.weight], "lr": settings.lr, "weight_decay": settings.weight_decay},
        {"params": [model.head.bias], "lr": settings.lr, "weight_decay": 0.0},
    ]


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout and stochastic depth draw from torch's global state: seed it for a while, and put it back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
