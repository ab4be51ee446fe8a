"""What a study may choose by: the labelled planes of training patients, or frames without labels.

No function here is handed a row of a validation or test patient: `training_planes` picks the rows first, and all
that follows sees only those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ssl_zoo.config import Experiment
from ssl_zoo.encoders.files import Encoder
from ssl_zoo.errors import UserError
from ssl_zoo.grid.entrants import entrants
from ssl_zoo.planes.splits import Split
from ssl_zoo.planes.table import Planes
from ssl_zoo.pretraining.monitor import feature_health
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.transfer.features import extract_features
from ssl_zoo.transfer.metrics import scores
from ssl_zoo.transfer.probe import fit_probe, inner_folds

FRAMES = 2048  # of the store, evenly spaced; more than the features of most backbones have dimensions
FOLDS_SEED = 0  # of the division of the training patients: the same for every rung of every ladder


@dataclass(frozen=True, eq=False)
class TrainingPlanes:
    """The labelled planes of a hold-out's training patients."""

    images: np.ndarray  # uint8 [N, size, size] or [N, size, size, 3]
    labels: np.ndarray  # int64 [N], 0..K-1
    patients: np.ndarray  # str [N]
    classes: tuple[str, ...]


def training_planes(planes: Planes, images: np.ndarray, split: Split) -> TrainingPlanes:
    """The training side of a split, copied out of the planes and their `images`, of which no other row is read."""
    table = planes.table.iloc[split.train]
    codes = {name: code for code, name in enumerate(planes.classes)}
    return TrainingPlanes(
        np.asarray(images[split.train]),
        table["label"].map(codes).to_numpy(dtype=np.int64),
        table["patient_id"].to_numpy(dtype=object).astype(str),
        tuple(planes.classes),
    )


def probe_score(encoder: Encoder, planes: TrainingPlanes, device: str) -> float:
    """Macro-F1, 0..1, of a linear probe by cross-validation among the training patients, who are kept apart.

    Every image is predicted by a probe that saw no image of its patient. Raises FloatingPointError for an encoder whose
    features are not finite.
    """
    features = extract_features(encoder, planes.images, device=device)
    probabilities = np.zeros((len(features), len(planes.classes)))
    predicted = np.zeros(len(features), dtype=bool)
    for train, held in inner_folds(planes.labels, planes.patients, seed=FOLDS_SEED):
        own = planes.patients[train]
        probe = fit_probe(features[train], planes.labels[train], own, n_classes=len(planes.classes))
        probabilities[held], predicted[held] = probe.predict(features[held]), True
    return float(scores(planes.labels[predicted], probabilities[predicted], planes.classes)["f1_macro"])


def rankme_score(encoder: Encoder, store: FrameStore, device: str) -> float:
    """RankMe of the features of unlabelled frames: their effective rank, 1 to their number of dimensions.

    Garrido et al., arXiv 2210.02885: chooses hyperparameters of one method on one backbone; it compares no methods.
    """
    rows = np.linspace(0, len(store) - 1, min(FRAMES, len(store))).round().astype(np.int64)
    features = extract_features(encoder, store.batch(rows), device=device)
    return feature_health(torch.from_numpy(features))["rankme"]


def check_criteria(experiment: Experiment, planes: Planes, splits: list[Split]) -> None:
    """Refuse `tuning.by: probe` where too few training patients show a class to leave some out."""
    wanting = [e for e in entrants(experiment) if e.pretrain.recipe == "tuned" and e.pretrain.tuning.by == "probe"]
    if not wanting:
        return
    train = splits[0].train
    if not inner_folds(planes.labels[train], planes.patients[train].astype(str), seed=FOLDS_SEED):
        raise UserError(
            f"{wanting[0].key}tuning.by: 'probe' leaves some training patients out at a time, and a class is shown by "
            "one training patient only; choose by=rankme"
        )
