"""One classifier looked into: a map of every case with what the map is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.analysis.explain.cams import WITHOUT_CLASS, class_map
from ssl_zoo.analysis.explain.cases import Cases
from ssl_zoo.analysis.explain.deletion import deletion
from ssl_zoo.analysis.explain.layers import MapLayer, choose_layer
from ssl_zoo.analysis.explain.randomised import rank_correlation, with_shuffled_weights
from ssl_zoo.analysis.explain.truth import middle_blob, on_target, target_area
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.plane_images import as_seen_by
from ssl_zoo.grid.study import Study
from ssl_zoo.transfer.classifier import Classifier

SHUFFLED = 1  # the seed of the randomised network: one network for all images of a classifier


@dataclass(frozen=True)
class Seen:
    """One case of one classifier. Maps float32 `[size, size]` by technique."""

    row: int
    image: np.ndarray  # uint8 [H, W] or [H, W, 3]
    label: int
    predicted: int
    probabilities: np.ndarray  # [K]
    for_label: dict[str, np.ndarray]  # what speaks for the class that it is
    for_predicted: dict[str, np.ndarray]  # for the class it was taken for, where that is another; not WITHOUT_CLASS
    when_shuffled: dict[str, np.ndarray]  # `for_label` with randomised weights
    target: np.ndarray | None  # where the defining structures are, on the phantom


def look_into(
    study: Study,
    init: Init,
    classifier: Classifier,
    cases: Cases,
    *,
    techniques: list[str],
    layer: str | None = None,
    truth: Path | None = None,
    seed: int = 0,
    step: Callable[[], object] = lambda: None,
) -> tuple[list[Seen], list[dict[str, Any]], MapLayer]:
    """The cases to show, and one record per measured image and technique (columns as in summary.py).

    `step` is called after every image. Measures are of the map of the class that the image has, so that they mean the
    same for a classifier that is right and for one that is wrong.
    """
    images = as_seen_by(study, init).images
    place, shuffled = choose_layer(classifier.encoder, layer), with_shuffled_weights(classifier, SHUFFLED)
    place_shuffled = choose_layer(shuffled.encoder, place.name)
    measured, seen, records = set(cases.measured.tolist()), [], []
    shown = set(cases.shown)
    for row in sorted(measured | shown):
        image, label = np.array(images[row]), int(study.planes.labels[row])
        probabilities = classifier.predict(image[None])[0]
        predicted = int(probabilities.argmax())
        maps = {name: class_map(classifier, place, image, label, name) for name in techniques}
        others = {name: class_map(shuffled, place_shuffled, image, label, name) for name in techniques}
        own = study.planes.table.iloc[row]
        size = classifier.encoder.card.size
        target = target_area(truth, own["image"], own["label"], size) if truth is not None else None
        if row in measured:
            for name in techniques:
                record = {"technique": name, "image": own["image"], "patient_id": own["patient_id"]}
                record |= {"label": own["label"], "predicted": classifier.classes[predicted]}
                record |= {"probability": float(probabilities[label]), "empty": float(maps[name].max() <= 0)}
                record |= {"correlation": rank_correlation(maps[name], others[name])}
                gone = deletion(classifier, image, label, maps[name], place.grid, seed=seed * 1_000_003 + row)
                record |= {"deletion": gone.area, "deletion_random": gone.area_at_random, "gain": gone.gain}
                if target is not None:
                    record |= _held_to(target, maps[name], others[name])
                records.append(record)
        if row in shown:
            asked = [] if predicted == label else [name for name in techniques if name not in WITHOUT_CLASS]
            wrong = {name: class_map(classifier, place, image, predicted, name) for name in asked}
            seen.append(Seen(row, image, label, predicted, probabilities, maps, wrong, others, target))
        step()
    return seen, records, place


def _held_to(target: np.ndarray, found: np.ndarray, shuffled: np.ndarray) -> dict[str, float]:
    """Where the map falls, and where a map that knows nothing does: a blob in the middle, and randomised weights."""
    own, blob, forgot = (on_target(each, target) for each in (found, middle_blob(len(found)), shuffled))
    return {
        "area": own.area,
        "energy": own.energy,
        "pointing": own.pointing,
        "energy_middle": blob.energy,
        "pointing_middle": blob.pointing,
        "energy_shuffled": forgot.energy,
        "pointing_shuffled": forgot.pointing,
    }
