"""Full fine-tuning: the encoder and a linear head learn together, for a fixed number of steps.

AdamW with timm's layer-wise learning-rate decay, warm-up and a cosine per step, a class-balanced loss whose
weights come from the training subset alone, mild ultrasound views. No epoch is chosen and nothing stops early,
so no validation or test image can leak into the choice: none is handed in. The learning rate is given, or chosen
by patients held out within the subset.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ssl_zoo.encoders.backbones import is_transformer
from ssl_zoo.encoders.files import Encoder
from ssl_zoo.planes.images import ImageRows, Images
from ssl_zoo.training.precision import autocast
from ssl_zoo.training.view_recipes import MILD, ViewRecipe
from ssl_zoo.training.views import augment
from ssl_zoo.transfer.features import images_at_once, to_batch
from ssl_zoo.transfer.finetune_settings import FinetuneSettings, lr_factor, parameter_groups, view_recipe
from ssl_zoo.transfer.probe import GIVEN, INNER_SPLIT, TOO_FEW, class_weights, inner_folds

__all__ = ["Classifier", "FinetuneSettings", "batches", "choose_lr", "finetune", "mild_view"]

# uint8 images [B, H, W] or [B, H, W, 3] and a generator on their device, to normalised float images [B, C, size, size].
View = Callable[[Tensor, torch.Generator], Tensor]

LR_FOLDS = 3  # one of so many parts of the subset's patients is held out to choose the learning rate
LOOK_EVERY = 20  # steps: a GPU would have to stop for each look at the loss


class Classifier(nn.Module):
    """A fine-tuned encoder with its linear head. `losses` has the training loss of every step.

    With `batchnorm` the head learns on standardised features, through BatchNorm without parameters, as the linear
    classifier of MAE does (arXiv 2111.06377, appendix A.1). Features after pooling are nearly the same for all images:
    of small and untrained networks their mean is 20 to 50 times as large as their variance, and a head on plain
    features first learns what does not tell the classes apart. A finished classifier is plain, see `fold`.
    """

    def __init__(
        self, encoder: Encoder, n_classes: int, *, dropout: float, generator: torch.Generator, batchnorm: bool = False
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.BatchNorm1d(encoder.num_features, affine=False) if batchnorm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.num_features, n_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.01, generator=generator)
        nn.init.zeros_(self.head.bias)
        self.losses: list[float] = []

    def forward(self, normalised: Tensor) -> Tensor:
        """Normalised images `[B, C, size, size]` to logits `[B, K]`."""
        return self.head(self.dropout(self.norm(self.encoder.backbone(normalised).float())))

    @torch.no_grad()
    def fold(self) -> None:
        """Take the running statistics of the features into the head, which then reads plain features."""
        norm = self.norm
        if isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None:
            self.head.weight.div_((norm.running_var + norm.eps).sqrt())
            self.head.bias.sub_(self.head.weight @ norm.running_mean)
            self.norm = nn.Identity()

    @torch.no_grad()
    def predict(self, images: Images, batch_size: int | None = None) -> np.ndarray:
        """uint8 images `[N, H, W]` or `[N, H, W, 3]` to probabilities float32 `[N, K]`, in evaluation mode."""
        self.eval()
        batch_size = batch_size or images_at_once(self.encoder)
        device = self.head.weight.device
        probabilities = np.empty((len(images), self.head.out_features), dtype=np.float32)
        for start in range(0, len(images), batch_size):
            batch = self.encoder.normalise(to_batch(images[start : start + batch_size], device))
            probabilities[start : start + batch_size] = torch.softmax(self(batch), 1).cpu().numpy()
        return probabilities


def finetune(
    encoder: Encoder,
    images: Images,
    labels: np.ndarray,
    *,
    n_classes: int,
    settings: FinetuneSettings | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
    view: View | None = None,
) -> Classifier:
    """Fine-tune a copy of `encoder` on uint8 images `[N, H, W]` or `[N, H, W, 3]` with labels `[N]` in 0..n_classes-1.

    `images` may be a memory map or rows of one; one batch at a time is read from it. `view` augments (default: the
    mild ultrasound views of `settings`). The learning rate is `settings.lr`; to choose it, see `choose_lr`. On the CPU
    the same seed gives the same weights bit for bit, whatever ran before; the global random state is left as it was.
    Raises FloatingPointError when the loss is not finite.
    """
    settings = settings or FinetuneSettings()
    device = torch.device(device)
    view = view or mild_view(encoder, view_recipe(settings.views))
    labels = np.asarray(labels, dtype=np.int64)
    with _seeded(seed, device):
        model = Classifier(
            copy.deepcopy(encoder),
            n_classes,
            dropout=settings.dropout,
            generator=torch.Generator().manual_seed(seed),
            batchnorm=settings.head_batchnorm,
        ).to(device)
        if not is_transformer(encoder.card.backbone):
            model = model.to(memory_format=torch.channels_last)  # convolutions are faster this way
        groups = parameter_groups(model.encoder.backbone, model.head, settings)
        optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=True)  # one pass over each tensor instead of six
        peaks = [group["lr"] for group in optimizer.param_groups]
        lossfunction = _loss(labels, n_classes, settings).to(device)
        targets = torch.from_numpy(labels).to(device)
        draws = torch.Generator(device).manual_seed(seed + 1)
        model.train()
        losses: list[Tensor] = []
        look_every = LOOK_EVERY if device.type == "cuda" else 1
        for step, rows in enumerate(batches(len(images), settings.batch_size, settings.steps, seed)):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * lr_factor(settings, step)
            batch = view(torch.from_numpy(images[rows]).to(device), draws)  # [B, C, size, size]
            with autocast(device, settings.precision):
                logits = model(batch)
            loss = lossfunction(logits.float(), targets[torch.from_numpy(rows).to(device)])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if settings.clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
            optimizer.step()
            losses.append(loss.detach())
            if len(losses) % look_every == 0 or len(losses) == settings.steps:
                _refuse_infinite(losses[-look_every:], len(losses), settings.steps)
    model.losses = torch.stack(losses).cpu().tolist()
    model.fold()
    return model.eval()


def choose_lr(
    encoder: Encoder,
    images: Images,
    labels: np.ndarray,
    patients: np.ndarray,
    *,
    n_classes: int,
    settings: FinetuneSettings,
    seed: int = 0,
    device: str | torch.device = "cpu",
    view: View | None = None,
) -> tuple[float, str]:
    """The learning rate for a training subset, and where it comes from ("given", "inner split" or "fixed: ...").

    Each of `settings.lr_choices` trains on two thirds of the subset's patients, all steps of it, and is scored on the
    others by class-balanced log-loss; the best is taken, the smaller of equals. A rate that diverges has lost. Images
    are those of `finetune`, with patients `[N]`: no row outside of the subset is handed in. Where there are no choices,
    the rate is `settings.lr`, and so it is where a class of the subset has one patient only.
    """
    if settings.lr_choices is None:
        return settings.lr, GIVEN
    labels = np.asarray(labels, dtype=np.int64)
    folds = inner_folds(labels, np.asarray(patients), seed=seed, folds=LR_FOLDS)
    if not folds:
        return settings.lr, TOO_FEW
    train, held = folds[0]
    held = held[np.isin(labels[held], labels[train])]  # a class that training lacks cannot be scored
    if len(settings.lr_choices) == 1 or not len(held):
        return min(settings.lr_choices), GIVEN
    found: list[tuple[float, float]] = []
    for rate in sorted(settings.lr_choices):
        own = dataclasses.replace(settings, lr=rate, lr_choices=None)
        try:
            classifier = finetune(
                encoder,
                ImageRows(images, train),
                labels[train],
                n_classes=n_classes,
                settings=own,
                seed=seed,
                device=device,
                view=view,
            )
        except FloatingPointError:
            found.append((math.inf, rate))
            continue
        found.append((balanced_log_loss(classifier.predict(ImageRows(images, held)), labels[held]), rate))
    loss, rate = min(found)
    if loss == math.inf:
        raise FloatingPointError(f"fine-tuning: every rate of lr_choices diverges: {sorted(settings.lr_choices)}")
    return rate, INNER_SPLIT


def balanced_log_loss(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes present of -log of the right class's probability; `[M, K]` and `[M]`."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    weights = class_weights(labels, probabilities.shape[1])[labels]
    return float((-np.log(np.maximum(right, np.finfo(np.float32).tiny)) * weights).sum() / weights.sum())


def mild_view(encoder: Encoder, recipe: ViewRecipe = MILD) -> View:
    """The fine-tuning view of training/view_recipes.py, with the size and normalisation that the encoder wants."""
    card = encoder.card

    def view(images: Tensor, generator: torch.Generator) -> Tensor:
        if images.ndim == 3 and card.channels == 3:
            images = images.unsqueeze(-1).expand(-1, -1, -1, 3)
        elif images.ndim == 4 and card.channels == 1:
            images = images.float().mean(-1).round().to(torch.uint8)
        return augment(images, size=card.size, mean=card.mean, std=card.std, generator=generator, recipe=recipe)

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


def _loss(labels: np.ndarray, n_classes: int, settings: FinetuneSettings) -> nn.CrossEntropyLoss:
    """Cross-entropy over the subset's classes, weighted by n / (classes present x n_c) where that is wanted."""
    weights = None
    if settings.class_weights:
        weights = torch.as_tensor(class_weights(labels, n_classes), dtype=torch.float32)
    return nn.CrossEntropyLoss(weights, label_smoothing=settings.label_smoothing)


def _refuse_infinite(losses: list[Tensor], done: int, steps: int) -> None:
    """FloatingPointError that names the first step whose loss is no number; `losses` are those of the last steps."""
    values = torch.stack(losses).cpu()
    bad = (~torch.isfinite(values)).nonzero().flatten()
    if len(bad):
        step = done - len(losses) + int(bad[0]) + 1
        raise FloatingPointError(f"fine-tuning: the loss is {values[bad[0]].item()} at step {step} of {steps}")


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout and stochastic depth draw from torch's global state: seed it for a while, and put it back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
