"""CACTUS: six views of a cardiac phantom, as frames of sweeps.

Elmekki et al. 2025, arXiv 2503.05604. The frames of one sweep are near duplicates, so they stay together: the sweep is
the part of a file's name before `_frame_`. That naming (`{id}_frame_{n}_v2.jpg`) is as third parties read it; other
spellings of `frame` are taken too, and any other name is refused, because frames whose sweep is not known would stand
on both sides of every split. The grades of the images are not read: the format of their file is not published.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources.listing import Listing, class_folders, compiled, images_in, patient_in
from ssl_zoo.scans.sources.facts import Facts, root_of

CLASSES = {"a4c": "A4C", "pl": "PL", "psav": "PSAV", "psmv": "PSMV", "random": "Random", "sc": "SC"}
SWEEP = re.compile(r"^(?P<patient>.+?)[ _-]?frame[ _-]?\d+", re.IGNORECASE)

FACTS = Facts(
    title="CACTUS",
    shows="views of a cardiac phantom: A4C, PL, PSAV, PSMV, SC, and random images",
    layout="the folders A4C, PL, PSAV, PSMV, Random and SC of images {id}_frame_{n}_v2.jpg",
    paper="Elmekki et al. 2025, arXiv 2503.05604",
    licence="as its page states; read it before use",
    where="users.encs.concordia.ca/~kadem/cactus",
    patients="a sweep, by the id before _frame_; all sweeps are of one phantom, so none is a patient",
    unit="recording",
    counts={"A4C": 7422, "PL": 6102, "PSAV": 5832, "PSMV": 6014, "Random": 6021, "SC": 6345},
    total=37736,
    unsure="file names are from third parties; that the id is a sweep is inferred from them",
)


def planes(path: Path, patient_pattern: str | None = None) -> Listing:
    """All images, without a split. `patient_pattern`, searched in `{class}/{file}`, replaces the rule for sweeps."""
    root = root_of(path, "A4C/*.*", FACTS)
    pattern = compiled(patient_pattern) if patient_pattern else None
    folders, notes = class_folders(root, CLASSES, FACTS)
    rows = []
    for folder, label in folders.items():
        for file in images_in(folder):
            name = file.relative_to(root).as_posix()
            sweep = _sweep(file) if pattern is None else patient_in(name, pattern, file)
            rows.append((name, str(file), label, sweep, name))
    table = pd.DataFrame(rows, columns=["image", "path", "label", "patient_id", "where"])
    if table.empty:
        raise FACTS.misfit(root, "holds no images in folders of these names")
    notes += FACTS.deviations(table["label"].value_counts().to_dict())
    sweeps = table["patient_id"].nunique()
    notes.append(f"{FACTS.title}: {len(table)} images in {sweeps} sweeps of one phantom; a sweep stands for a patient")
    return Listing(table, root.name, notes=tuple(notes))


def _sweep(file: Path) -> str:
    match = SWEEP.match(file.name)
    if not match:
        raise UserError(
            f"{file}: the name does not tell of which sweep this frame is (expected '{{id}}_frame_{{n}}'); "
            "say it with planes.patient_pattern"
        )
    return match["patient"]
