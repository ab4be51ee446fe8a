"""What a worker does: train one encoder, probe one encoder's features in all frozen modes, or fine-tune one cell."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder, load_encoder
from ssl_zoo.encoders.imagenet import imagenet_encoder
from ssl_zoo.encoders.published import load_published
from ssl_zoo.files import replacing
from ssl_zoo.grid.cells import as_scores, write_cell, write_failure
from ssl_zoo.grid.feature_files import features_file
from ssl_zoo.grid.finetuning import finetune_cell
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.plane_images import as_seen_by
from ssl_zoo.grid.pretrain import Report, StopRequested, train
from ssl_zoo.grid.probing import FROZEN, Probed, probe_cells
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.tuning import climb
from ssl_zoo.planes.splits import nested_subset
from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.training.hardware import computed_on
from ssl_zoo.transfer.features import extract_features
from ssl_zoo.transfer.metrics import scores


def do_job(study: Study, job: Job, device: str, report: Report, stop_requested: StopRequested) -> None:
    """Do one job. A cell that fails is recorded with its error while the others of the job go on.

    Raises Interrupted when a stop is asked for: a pre-training run has then saved its place, and cells are whole.
    """
    if job.rung is not None:
        climb(study, job.rung, device, report, stop_requested)
    elif job.training is not None:
        train(study, job.training, device, report, stop_requested)
    done = 0

    def go_on() -> None:
        if stop_requested():
            raise Interrupted(f"{job.name}: stopped after {done} of {len(job.cells)} cells")
        report(done / len(job.cells), f"{len(job.cells)} cells" if len(job.cells) > 1 else "")

    frozen = [cell for cell in job.cells if cell.mode in FROZEN]
    batches = probe_cells(study, frozen, lambda init, seed: cached_features(study, init, seed, device), device)
    while done < len(frozen):
        go_on()
        for probed in next(batches):
            _write(study, probed.cell, lambda probed=probed: _write_probed(study, probed, device))
            done += 1
    for cell in job.cells:
        if cell.mode not in FROZEN:
            go_on()
            _write(study, cell, lambda cell=cell: run_cell(study, cell, device))
            done += 1


def run_cell(study: Study, cell: Cell, device: str) -> None:
    """Fine-tune on the cell's label subset, test on every cohort, write the result."""
    started = time.monotonic()
    study = as_seen_by(study, cell.init)
    split = next(split for split in study.splits if split.fold == cell.fold)
    rows = nested_subset(study.planes, split.train, cell.fraction, cell.seed)
    probabilities, notes = finetune_cell(
        study, cell, rows, split.test, lambda: build_encoder(study, cell.init, cell.seed), device
    )
    on = computed_on(device, study.experiment.compute.precision)
    _write_scores(study, cell, rows, split.test, probabilities, notes, time.monotonic() - started, on)


def _write(study: Study, cell: Cell, write: Callable[[], None]) -> None:
    try:
        write()
    except Exception as error:  # whatever it is, it is this cell's result, and told at the end
        write_failure(study.run, cell, f"{type(error).__name__}: {error}")


def _write_probed(study: Study, probed: Probed, device: str) -> None:
    if probed.probabilities is None:
        write_failure(study.run, probed.cell, probed.error)
    else:
        cell, notes, seconds, on = probed.cell, probed.notes, probed.seconds, computed_on(device)
        _write_scores(study, cell, probed.rows, probed.tested, probed.probabilities, notes, seconds, on)


def _write_scores(
    study: Study,
    cell: Cell,
    rows: np.ndarray,
    tested: np.ndarray,
    probabilities: np.ndarray,
    notes: dict[str, Any],
    seconds: float,
    on: dict[str, Any],
) -> None:
    """A cell's result: what it learned from (`rows`), the scores of its predictions on every cohort, and where it was
    computed (`on`).
    """
    table, classes = study.planes.table, study.planes.classes
    labels, patients = study.planes.labels, study.planes.patients
    cohorts = {}
    for cohort in sorted(set(table["cohort"].iloc[tested])):
        chosen = (table["cohort"].iloc[tested] == cohort).to_numpy()
        cohorts[cohort] = as_scores(scores(labels[tested[chosen]], probabilities[chosen], classes)) | {
            "n_test_images": int(chosen.sum())
        }
    result = {
        "n_train_patients": len(set(patients[rows])),
        "n_train_images": len(rows),
        "seconds": round(seconds, 3),
        "cohorts": cohorts,
        "notes": notes,
        "computed": on,
    }
    write_cell(study.run, cell, result, tested, probabilities)


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
    if init.published:
        return load_published(init.path, tell=lambda _: None)  # told when the experiment was checked
    return load_encoder(init.path)


def cached_features(study: Study, init: Init, seed: int, device: str) -> np.ndarray:
    """Features float32 `[N, D]` of all planes, computed once for each encoder and kept in `features/`."""
    frames = study.experiment.frames
    weights = init.fingerprint or [seed, *_normalisation(study)]
    path = features_file(
        study.run, init.name, init.backbone, weights, study.planes.pictures, frames.size, frames.channels
    )
    if not path.is_file():
        images = as_seen_by(study, init).images
        features = extract_features(build_encoder(study, init, seed), images, device=device)
        with replacing(path) as part, open(part, "wb") as handle:
            np.save(handle, features)
    return np.load(path)


def _normalisation(study: Study) -> tuple[float, float]:
    """Mean and standard deviation of the pre-training frames, which untrained networks get as well; else plain ones."""
    return (study.store.mean, study.store.std) if study.store is not None else (0.25, 0.25)
