"""One pre-training run of a study: in this process, or shared by several that it starts or belongs to."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ssl_zoo.encoders.files import CARD, read_card
from ssl_zoo.grid.criteria import training_planes
from ssl_zoo.grid.entrants import STORE
from ssl_zoo.grid.launch import share_out
from ssl_zoo.grid.study import Study
from ssl_zoo.pretraining.probe_monitor import LabelledImages
from ssl_zoo.pretraining.processes import launch_of
from ssl_zoo.pretraining.settings import PretrainSettings
from ssl_zoo.pretraining.trainer import pretrain

WATCHED = 1000  # labelled images, at most, that an encoder is watched by

Report = Callable[[float, str], None]  # (share done 0..1, a few words)
StopRequested = Callable[[], bool]


@dataclasses.dataclass(frozen=True)
class Training:
    """One encoder to train: by which settings, on which frames, and into which folder."""

    settings: PretrainSettings
    folder: Path
    on_collapse: str = "warn"
    store: str = STORE  # folder of the frame store

    def fingerprint(self, study: Study) -> str:
        """Changes when anything that decides the weights changes."""
        return self.settings.fingerprint(study.stores[self.store].fingerprint)


def is_trained(study: Study, training: Training) -> bool:
    """Whether the encoder is there, made with just these settings and frames."""
    return has_encoder(training.folder, training.fingerprint(study))


def has_encoder(folder: Path, wanted: str) -> bool:
    """Whether an encoder of this fingerprint is in the folder."""
    return (folder / CARD).is_file() and read_card(folder).config_fingerprint == wanted


def train(study: Study, training: Training, device: str, report: Report, stop_requested: StopRequested) -> None:
    """Train an encoder, or go on with it; one that is there already is left as it is.

    `compute.devices` processes share the run, unless this process is one of several that run together already.
    """
    make_way(study, training)
    if is_trained(study, training):
        return
    if study.experiment.compute.devices > 1 and launch_of().size == 1:
        share_out(study.run, training, study.experiment.compute.devices, device, report, stop_requested)
    else:
        train_here(study, training, device, report, stop_requested)


def train_here(study: Study, training: Training, device: str, report: Report, stop_requested: StopRequested) -> None:
    """Train an encoder in this process, or as one of the group that it belongs to."""
    pretrain(
        training.settings,
        study.stores[training.store],
        training.folder,
        device=device,
        labelled=watched(study),
        on_collapse=training.on_collapse,
        checkpoint_every_s=study.experiment.compute.checkpoint_every_s,
        events=study.run / "tensorboard" / training.folder.name,
        report=report,
        stop_requested=stop_requested,
    )


def watched(study: Study) -> LabelledImages | None:
    """Labelled planes of training patients to watch encoders by; None in cross-validation, and where not wanted."""
    wanted = study.experiment.pretrain.monitor_knn
    if wanted is False or study.experiment.planes.protocol != "holdout":
        return None
    split = study.splits[0]
    places = np.linspace(0, len(split.train) - 1, min(WATCHED, len(split.train))).round().astype(np.int64)
    planes = training_planes(study.planes, study.images, dataclasses.replace(split, train=split.train[places]))
    if len(set(planes.patients.tolist())) < 2:
        return None
    return LabelledImages(planes.images, planes.labels, planes.patients)


def make_way(study: Study, training: Training) -> None:
    """Set an encoder made with other settings aside in `replaced`, or bring the wanted one back from there."""
    folder, wanted = training.folder, training.fingerprint(study)
    replaced = folder.parent / "replaced"
    if (folder / CARD).is_file() and (old := read_card(folder).config_fingerprint) != wanted:
        replaced.mkdir(exist_ok=True)
        shutil.move(folder, replaced / f"{folder.name}-{old}")
    back = replaced / f"{folder.name}-{wanted}"
    if back.is_dir() and not folder.exists():
        shutil.move(back, folder)
