"""Your own planes: a plane table, or a folder with one subfolder of images per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources.listing import STILL_IMAGES, Opened, compiled, patient_in
from ssl_zoo.planes.table import build_planes, read_planes
from ssl_zoo.scans.sources.facts import Facts

TABLE = "planes.csv"

CSV = Facts(
    title="a plane table",
    shows="your own labelled images",
    layout="image, label and patient_id in each row; optional: frame, split, cohort, site",
    split="the column split, where there is one",
    patients="the column patient_id",
)
IMAGE_FOLDER = Facts(
    title="an image folder",
    shows="your own labelled images",
    layout="one subfolder of images for each class",
    patients="planes.patient_pattern, searched in the path; each image for itself without one",
    unit="image",
)


def csv(
    path: Path,
    classes: Sequence[str] | None = None,
    *,
    patient_pattern: str | None = None,
    by_image: bool = False,
    allow_outside: bool = False,
) -> Opened:
    """A plane table, or a folder that holds `planes.csv`. Patients come from its column, not from a pattern."""
    del patient_pattern
    if path.is_dir() and not (path / TABLE).is_file():
        raise UserError(
            f"{path}: no {TABLE} in this folder; for a folder with one subfolder per class, write 'image_folder:{path}'"
        )
    table = path / TABLE if path.is_dir() else path
    return Opened(read_planes(table, classes, by_image=by_image, allow_outside=allow_outside))


def image_folder(path: Path, classes: Sequence[str] | None = None, *, patient_pattern: str | None = None) -> Opened:
    """A folder with one subfolder of images per class.

    `patient_pattern` is a regular expression searched in the path relative to the folder; its group
    `patient`, or else its first group, or else the whole match, is the patient. Without one every image stands for
    itself, and the Planes say so (`by_image`).
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    pattern = compiled(patient_pattern) if patient_pattern else None
    rows = []
    for file in sorted(path.glob("*/**/*")):
        name = file.relative_to(path).as_posix()
        if file.suffix.lower() not in STILL_IMAGES or any(part.startswith(".") for part in name.split("/")):
            continue
        patient = name if pattern is None else patient_in(name, pattern, file)
        rows.append(
            {"image": name, "path": str(file), "label": name.split("/")[0], "patient_id": patient, "where": name}
        )
    if not rows:
        raise UserError(
            f"{path}: no images in subfolders, one per class (looked for: {', '.join(sorted(STILL_IMAGES))})"
        )
    return Opened(build_planes(pd.DataFrame(rows), str(path), classes, by_image=pattern is None))
