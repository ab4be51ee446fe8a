"""Where labelled planes come from: your own table or folder, or a data set in its published layout.

A source is known by the prefix of `name:/path`. A new one is a file with a function that lists a folder and the data
set's facts, and a line below.
"""

from __future__ import annotations

from collections.abc import Sequence

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources import african, cactus, feft, fetal_planes_db, own, ultrabench
from ssl_zoo.planes.sources.cohorts import Labels, relabelled, with_external
from ssl_zoo.planes.sources.listing import Listing, Opened, Source, published
from ssl_zoo.planes.table import Planes, refuse_outside
from ssl_zoo.scans.sources.specs import known_source, named_source

__all__ = ["SOURCES", "Listing", "Opened", "Source", "named_source", "open_cohorts", "open_planes", "open_source"]

SOURCES: dict[str, Source] = {
    "csv": Source(own.csv, own.CSV),
    "image_folder": Source(own.image_folder, own.IMAGE_FOLDER),
    "fetal_planes_db": published(fetal_planes_db.planes, fetal_planes_db.PLANES),
    "fetal_planes_db/brain": published(fetal_planes_db.brain_planes, fetal_planes_db.BRAIN_PLANES),
    "african": published(african.planes, african.FACTS),
    "feft": published(feft.planes, feft.FACTS),
    "cactus": published(cactus.planes, cactus.FACTS),
    **{name: published(lists, facts) for name, (lists, facts) in ultrabench.READERS.items()},
}


def open_source(
    source: str,
    classes: Sequence[str] | None = None,
    *,
    patient_pattern: str | None = None,
    by_image: bool = False,
    allow_outside: bool = False,
) -> Opened:
    """Planes and notes from a plane table, a folder with `planes.csv`, or `name:/path` with a name in SOURCES.

    `by_image`: the source has no patients, and each image stands for itself; UserError where it names some. No file
    may lie outside the source's folder, its links followed, unless `allow_outside`.
    """
    name, path = known_source("plane source", source, SOURCES)
    if name in ("", "csv"):
        if not path.exists():
            names = ", ".join(SOURCES)
            raise UserError(
                f"planes source '{source}': no such file or folder (or write one of {names} as 'name:/path')"
            )
        return own.csv(path, classes, by_image=by_image, allow_outside=allow_outside)
    opened = SOURCES[name].opens(path, classes, patient_pattern=patient_pattern)
    if by_image and not opened.planes.by_image:
        raise UserError(
            f"{source}: its patients are known ({SOURCES[name].facts.patients}); planes.unit=image would put images "
            "of one patient on both sides of a split"
        )
    if not allow_outside:
        table = opened.planes.table
        root = path if path.is_dir() else path.parent
        refuse_outside(table["path"], root, table["image"], table["where"])
    return opened


def open_planes(
    source: str,
    classes: Sequence[str] | None = None,
    *,
    patient_pattern: str | None = None,
    by_image: bool = False,
    allow_outside: bool = False,
) -> Planes:
    """`open_source` without the notes."""
    return open_source(
        source, classes, patient_pattern=patient_pattern, by_image=by_image, allow_outside=allow_outside
    ).planes


def open_cohorts(
    source: str,
    classes: Sequence[str] | None = None,
    *,
    patient_pattern: str | None = None,
    by_image: bool = False,
    allow_outside: bool = False,
    labels: Labels | None = None,
    external: str | None = None,
    external_labels: Labels | None = None,
) -> Opened:
    """The planes of an experiment: `source`, its labels mapped by `labels`, and with `external` a second source beside.

    `external_labels` maps the labels of the external source; None: as `labels`, where it has the same ones.
    See `relabelled` and `with_external`.
    """
    opened = open_source(
        source,
        None if labels else classes,
        patient_pattern=patient_pattern,
        by_image=by_image,
        allow_outside=allow_outside,
    )
    if labels:
        opened = relabelled(opened, labels, classes)
    if external is None:
        return opened
    theirs = open_source(external, allow_outside=allow_outside)
    if not external_labels:
        external_labels = {label: name for label, name in (labels or {}).items() if label in theirs.planes.classes}
    return with_external(opened, theirs, external_labels)
