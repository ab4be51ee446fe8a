"""The classifier behind a cell, made again from what decides the cell and then kept in the run folder.

Cells keep their scores and predictions, not their networks: a grid has hundreds of cells, and few are ever looked
into. A linear cell is refitted from the cached features; a fine-tuned one is trained again from its seed, which on
the same machine gives the same weights. Either way the new classifier is compared with the cell's own predictions,
and `classifiers/<cell>/` is where it is found the next time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.grid.audit import name_space
from ssl_zoo.grid.cells import describe, finished, read_cell
from ssl_zoo.grid.finetuning import train_classifier
from ssl_zoo.grid.plan import Cell, make_plan
from ssl_zoo.grid.plane_images import as_seen_by
from ssl_zoo.grid.prediction_files import read_predictions
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.work import build_encoder, cached_features
from ssl_zoo.planes.splits import nested_subset
from ssl_zoo.transfer.classifier import ABOUT, Classifier, load_classifier
from ssl_zoo.transfer.probe import LAMBDAS, fit_probe

FOLDER = "classifiers"  # in the run folder
MODES = ("linear", "finetune")  # those with a linear head on an encoder
CHECKED = 128  # test images on which a classifier is compared with its cell's predictions
SAME = 0.02  # differences between probabilities up to here are those of another machine's arithmetic


def choose_cells(
    study: Study,
    *,
    keys: Sequence[str] = (),
    inits: Sequence[str] = (),
    modes: Sequence[str] = (),
    backbone: str | None = None,
    fraction: float | None = None,
    fold: int | None = None,
    seed: int | None = None,
) -> list[Cell]:
    """Finished cells of a run: those of `keys` (or their beginnings), or one for each init and mode.

    Without more said these are the cells with most labels of the first fold and seed, of every encoder (the first
    pre-training seed). Raises UserError for a name that the run does not have, and where no cell is finished.
    """
    cells = make_plan(study).cells
    keys_done, _ = finished(study.run, cells)
    done = [cell for cell in cells if cell.key in keys_done]
    if not done:
        raise UserError(f"{study.run}: no cell is finished; run the experiment first")
    if keys:
        found = [cell for key in keys for cell in _of_key(done, key)]
        for cell in found:
            if cell.mode not in MODES:
                raise UserError(f"cell {cell.key}: mode '{cell.mode}' has no classifier of its own to look into")
        return found
    done = [cell for cell in done if cell.mode in MODES]
    if not done:
        raise UserError(f"{study.run}: no finished cell has a classifier (only those of {' and '.join(MODES)} have)")
    for kind, wanted, names in (
        ("init", inits, {cell.init.name for cell in done}),
        ("mode", modes, {cell.mode for cell in done}),
        ("backbone", [backbone] if backbone else [], {cell.init.backbone for cell in done}),
    ):
        for name in wanted:
            if name not in names:
                raise unknown(kind, name, names)
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in done:
        if (
            (not inits or cell.init.name in inits)
            and (not modes or cell.mode in modes)
            and (not backbone or cell.init.backbone == backbone)
        ):
            groups.setdefault((cell.init.name, cell.init.backbone, cell.mode), []).append(cell)
    if not groups:
        there = ", ".join(dict.fromkeys(named(cell) for cell in done))
        raise UserError(f"{study.run}: no finished cell is of this init, mode and backbone (there are {there})")
    chosen = []
    for cells in groups.values():
        for name, value in (("fraction", fraction), ("fold", fold), ("seed", seed)):
            given = sorted({getattr(cell, name) for cell in cells})
            if value is not None and value not in given:
                raise UserError(f"{name}: {cells[0].init.name}, {cells[0].mode} has no {value} (it has {given})")
            kept = value if value is not None else given[-1] if name == "fraction" else given[0]
            cells = [cell for cell in cells if getattr(cell, name) == kept]
        chosen.append(cells[0])  # of several pre-training seeds the first
    return chosen


def classifier_of(
    study: Study, cell: Cell, device: str = "cpu", *, tell: Callable[[str], None] = lambda line: None
) -> Classifier:
    """The classifier of a finished cell, from `classifiers/<cell>/`, or refitted and kept there."""
    folder = study.run / FOLDER / cell.key
    if (folder / ABOUT).is_file():
        return load_classifier(folder).to(device)
    record = read_cell(study.run, cell.key) or {}
    if cell.mode == "finetune":
        tell(f"{named(cell)}: trained again from its seed (took {record.get('seconds', 0):.0f} s)")
    classifier = refit(study, cell, device)
    apart = disagreement(study, cell, classifier)
    if apart > SAME:
        tell(f"{named(cell)}: the refitted classifier differs from the cell's predictions by up to {apart:.2f}")
    classifier.about["largest_difference"] = apart
    classifier.save(folder)
    return classifier


def refit(study: Study, cell: Cell, device: str = "cpu") -> Classifier:
    """Train a cell's classifier again, from the same rows and the same seed; reads no test image.

    Raises UserError for a mode without a linear head on an encoder.
    """
    if cell.mode not in MODES:
        raise UserError(f"mode '{cell.mode}' has no classifier that could be refitted (only {' and '.join(MODES)})")
    study, planes = as_seen_by(study, cell.init), study.planes
    split = next(split for split in study.splits if split.fold == cell.fold)
    rows = nested_subset(planes, split.train, cell.fraction, cell.seed)
    about = {"experiment": study.experiment.name, **describe(cell), "n_train_images": len(rows)}
    if cell.mode == "linear":
        encoder = build_encoder(study, cell.init, cell.seed)
        features = cached_features(study, cell.init, cell.seed, device)
        probe = fit_probe(
            features[rows],
            planes.labels[rows],
            planes.patients[rows],
            n_classes=len(planes.classes),
            lambdas=_lambdas(study, cell),
        )
        return Classifier.on_standardised(
            encoder, probe.coefficients, probe.intercepts, probe.mean, probe.scale, planes.classes, about
        ).to(device)
    tuned, notes = train_classifier(study, cell, rows, lambda: build_encoder(study, cell.init, cell.seed), device)
    about["notes"] = notes
    card = tuned.encoder.card
    tuned.encoder.card = dataclasses.replace(
        card,
        patients=sorted({*card.patients, *map(str, planes.patients[rows])}),
        finetuned=sorted({*card.finetuned, name_space(study.experiment.planes.source) or "own"}),
    )
    return Classifier(tuned.encoder, tuned.head.weight, tuned.head.bias, planes.classes, about).to(device)


def disagreement(study: Study, cell: Cell, classifier: Classifier) -> float:
    """The largest difference to the cell's own probabilities over some test images."""
    rows, probabilities = read_predictions(study.run, cell.key)
    images = as_seen_by(study, cell.init).images
    some = np.unique(np.linspace(0, len(rows) - 1, min(CHECKED, len(rows))).round().astype(int))
    return float(np.abs(classifier.predict(images[rows[some]]) - probabilities[some]).max())


def _lambdas(study: Study, cell: Cell) -> Sequence[float]:
    """The penalty that the cell has chosen, where its record tells; else those that it could choose from."""
    chosen = (read_cell(study.run, cell.key) or {}).get("notes", {}).get("lambda")
    return [chosen] if chosen is not None else study.experiment.transfer.linear.lambdas or LAMBDAS


def device_for(study: Study) -> str:
    """The processor for work on one classifier: a GPU where there is one and the experiment may use it."""
    return "cuda" if torch.cuda.is_available() and study.experiment.compute.device != "cpu" else "cpu"


def named(cell: Cell) -> str:
    """A cell in words, for people: "byol, linear"."""
    return f"{cell.init.name} ({cell.init.backbone}), {cell.mode}"


def _of_key(cells: list[Cell], key: str) -> list[Cell]:
    found = [cell for cell in cells if cell.key.startswith(key)]
    if len(found) != 1:
        raise UserError(
            f"cell '{key}': {'no finished cell has' if not found else 'several finished cells have'} this key"
        )
    return found
