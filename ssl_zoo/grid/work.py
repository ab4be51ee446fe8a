"""What a worker does: train one encoder, probe one encoder's features, or fine-tune one cell."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder, load_encoder
from ssl_zoo.encoders.imagenet import imagenet_encoder
from ssl_zoo.files import fingerprint, replacing
from ssl_zoo.grid.cells import as_scores, write_cell, write_failure
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.pretrain import Report, StopRequested, train
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.tuning import climb
from ssl_zoo.planes.splits import nested_subset
from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.transfer.features import extract_features
from ssl_zoo.transfer.finetune import FinetuneSettings, finetune
from ssl_zoo.transfer.metrics import scores
from ssl_zoo.transfer.probe import LAMBDAS, fit_probe


def do_job(study: Study, job: Job, device: str, report: Report, stop_requested: StopRequested) -> None:
    """Do one job. A cell that fails is recorded with its error while the others of the job go on.

    Raises Interrupted when a stop is asked for: a pre-training run has then saved its place, and cells are whole.
    """
    if job.rung is not None:
        climb(study, job.rung, device, report, stop_requested)
    elif job.training is not None:
        train(study, job.training, device, report, stop_requested)
    for done, cell in enumerate(job.cells):
        if stop_requested():
            raise Interrupted(f"{job.name}: stopped after {done} of {len(job.cells)} cells")
        report(done / len(job.cells), f"{len(job.cells)} cells" if len(job.cells) > 1 else "")
        try:
            run_cell(study, cell, device)
        except Exception as error:  # whatever it is, it is this cell's result, and told at the end
            write_failure(study.run, cell, f"{type(error).__name__}: {error}")


def run_cell(study: Study, cell: Cell, device: str) -> None:
    """Train on the cell's label subset, test on every cohort, write the result."""
    started = time.monotonic()
    table, classes = study.planes.table, study.planes.classes
    labels = table["label"].map({name: k for k, name in enumerate(classes)}).to_numpy()
    patients = table["patient_id"].to_numpy()
    split = next(split for split in study.splits if split.fold == cell.fold)
    rows = nested_subset(study.planes, split.train, cell.fraction, cell.seed)
    notes: dict[str, Any]
    if cell.mode == "linear":
        features = cached_features(study, cell.init, cell.seed, device)
        probe = fit_probe(
            features[rows],
            labels[rows],
            patients[rows],
            n_classes=len(classes),
            seed=cell.seed,
            lambdas=study.experiment.transfer.linear.lambdas or LAMBDAS,
        )
        probabilities = probe.predict(features[split.test])
        notes = {"lambda": probe.chosen_lambda, "lambda_by": probe.lambda_by}
    else:
        settings = finetune_settings(study)
        classifier = finetune(
            build_encoder(study, cell.init, cell.seed),
            study.images[rows],
            labels[rows],
            n_classes=len(classes),
            settings=settings,
            seed=cell.seed,
            device=device,
        )
        probabilities = classifier.predict(study.images[split.test])
        notes = {"steps": settings.steps}
    cohorts = {}
    for cohort in sorted(set(table["cohort"].iloc[split.test])):
        chosen = (table["cohort"].iloc[split.test] == cohort).to_numpy()
        tested = split.test[chosen]
        cohorts[cohort] = as_scores(scores(labels[tested], probabilities[chosen], classes)) | {
            "n_test_images": len(tested)
        }
    result = {
        "n_train_patients": len(set(patients[rows])),
        "n_train_images": len(rows),
        "seconds": round(time.monotonic() - started, 3),
        "cohorts": cohorts,
        "notes": notes,
    }
    write_cell(study.run, cell, result, split.test, probabilities)


def build_encoder(study: Study, init: Init, seed: int) -> Encoder:
    """The network that a cell starts from; for `random` its weights are drawn from the cell's seed."""
    frames = study.experiment.frames
    if init.name == "random":
        mean, std = _normalisation(study)
        card = Card(
            backbone=init.backbone,
            size=frames.size,
            channels=frames.channels,
            mean=[mean] * frames.channels,
            std=[std] * frames.channels,
            seed=seed,
        )
        backbone = build_backbone(init.backbone, channels=frames.channels, size=frames.size, seed=seed)
        return Encoder(backbone, card).eval()
    if init.name == "imagenet":
        return imagenet_encoder(init.backbone, size=frames.size, channels=frames.channels, file=init.path)
    assert init.path is not None
    return load_encoder(init.path)


def cached_features(study: Study, init: Init, seed: int, device: str) -> np.ndarray:
    """Features float32 `[N, D]` of all planes, computed once for each encoder and kept in `features/`."""
    frames = study.experiment.frames
    name = fingerprint(
        [
            init.name,
            init.backbone,
            init.fingerprint or [seed, *_normalisation(study)],
            study.planes.fingerprint,
            frames.size,
            frames.channels,
        ]
    )
    path = study.run / "features" / f"{name}.npy"
    if not path.is_file():
        features = extract_features(build_encoder(study, init, seed), study.images, device=device)
        with replacing(path) as part, open(part, "wb") as handle:
            np.save(handle, features)
    return np.load(path)


def _normalisation(study: Study) -> tuple[float, float]:
    """Mean and standard deviation of the pre-training frames, which untrained networks get as well; else plain ones."""
    return (study.store.mean, study.store.std) if study.store is not None else (0.25, 0.25)


def finetune_settings(study: Study) -> FinetuneSettings:
    """The experiment's fine-tuning keys as the transfer room takes them."""
    given = dataclasses.asdict(study.experiment.transfer.finetune)
    del given["fractions"], given["seeds"]  # they say which cells there are
    return FinetuneSettings(**given, precision=study.experiment.compute.precision)
