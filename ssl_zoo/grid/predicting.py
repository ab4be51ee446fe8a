"""A finished cell as a predictor for whole scans, its thresholds set on the validation patients of its split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ssl_zoo.errors import UserError
from ssl_zoo.grid.classifiers import classifier_of
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.plane_images import as_seen_by
from ssl_zoo.grid.study import Study
from ssl_zoo.planes.splits import nested_subset
from ssl_zoo.transfer.predictor import FEWEST, Predictor, fit_predictor


def run_and_key(place: Path) -> tuple[Path, str]:
    """The run folder and the key (or "") that `RUN`, `RUN/cells/KEY` or `RUN/cells/KEY.json` name.

    Raises UserError when the folder is no run folder.
    """
    run, key = (place.parents[1], place.stem) if place.parent.name == "cells" else (place, "")
    if not (run / "planes" / "planes.json").is_file():
        raise UserError(f"{place}: neither a run folder nor a cell of one (runs/demo, runs/demo/cells/0123abcd.json)")
    return run, key


def predictor_of(
    study: Study,
    cell: Cell,
    device: str = "cpu",
    *,
    keep: float = 0.95,
    tell: Callable[[str], None] = lambda line: None,
) -> Predictor:
    """The cell's classifier with its temperature and thresholds; no test image is read.

    A split with too few validation images (none, in cross-validation by default) gives a predictor that names a plane
    for every frame; `tell` then says so.
    """
    classifier = classifier_of(study, cell, device, tell=tell)
    split = next(split for split in study.splits if split.fold == cell.fold)
    rows = nested_subset(study.planes, split.train, cell.fraction, cell.seed)
    images = as_seen_by(study, cell.init).images
    if len(split.val) < FEWEST:
        tell(
            f"{len(split.val)} validation images in this split, fewer than {FEWEST}: confidence is not scaled, and no "
            "frame is set aside (planes.val_fraction)"
        )
    return fit_predictor(
        classifier,
        images,
        study.planes.labels,
        train=rows,
        validation=split.val,
        keep=keep,
        sector=study.planes.sector,
    )
