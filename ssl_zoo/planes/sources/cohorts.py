"""Classes other than a source's labels, and a second source as the external cohort, which is only ever tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.planes.sources.listing import Opened
from ssl_zoo.planes.table import INTERNAL, Planes, build_planes
from ssl_zoo.scans.sources.facts import in_short

EXTERNAL = "external"
Labels = Mapping[str, str | None]  # label of a source -> class; None: its images are left out


def relabelled(opened: Opened, labels: Labels, classes: Sequence[str] | None = None) -> Opened:
    """The planes with labels merged, renamed or left out; labels that the mapping does not name stay as they are.

    Raises UserError for a label in the mapping that no image has.
    """
    planes = opened.planes
    for label in labels:
        if label not in planes.classes:
            raise UserError(f"planes.labels: {unknown('label', label, planes.classes)}")
    raw = _raw(planes)
    mapped = raw["label"].map(lambda label: labels.get(label, label))
    gone = mapped.isna()
    raw = raw.assign(label=mapped).loc[~gone]
    if raw.empty:
        raise UserError("planes.labels: leaves out every image")
    built = build_planes(raw, "planes", classes, by_image=planes.by_image)
    out = sorted(set(planes.table["label"][gone.to_numpy()]))
    note = f"{int(gone.sum())} images were left out by planes.labels: {in_short(out)}"
    return Opened(built, (*opened.notes, *([note] if out else [])))


def with_external(internal: Opened, external: Opened, labels: Labels) -> Opened:
    """Both sources as one, the second as the cohort `external` (or the cohorts that its table names).

    `labels`: label of the external source -> class of the internal one, None to leave its images out; labels that it
    does not name are classes as they are, whatever their case. Patients keep their names, so that one in both is
    refused when they are divided; images without patients are named after their cohort.

    Raises UserError for an external label that is no class, or a mapping that names a label or a class nobody has.
    """
    classes = internal.planes.classes
    target = _targets(external.planes.classes, classes, labels)
    theirs = _raw(external.planes)
    mapped = theirs["label"].map(lambda label: target[label])
    gone = int(mapped.isna().sum())
    theirs = theirs.assign(label=mapped, split="", cohort=theirs["cohort"].replace({INTERNAL: EXTERNAL}))
    theirs = theirs.loc[mapped.notna()]
    if theirs.empty:
        raise UserError("planes.external_labels: leaves out every external image")
    if external.planes.by_image:
        theirs = theirs.assign(patient_id=theirs["cohort"] + "/" + theirs["patient_id"])
    raw = pd.concat([_raw(internal.planes), theirs], ignore_index=True).fillna("")
    by_image = internal.planes.by_image or external.planes.by_image
    planes = build_planes(raw, "planes", classes, by_image=by_image)
    notes = [*internal.notes, *(f"external cohort: {note}" for note in external.notes)]
    if gone:
        dropped = sorted(label for label, name in target.items() if name is None)
        notes.append(f"external cohort: {gone} images were left out by planes.external_labels: {in_short(dropped)}")
    if absent := [name for name in classes if name not in set(theirs["label"])]:
        notes.append(
            f"external cohort: shows {len(classes) - len(absent)} of {len(classes)} classes, none of "
            f"{', '.join(absent)}; its scores are over those it shows"
        )
    if external.planes.by_image != internal.planes.by_image:
        which = "the external" if external.planes.by_image else "the internal"
        notes.append(f"only {which} cohort has no patients; its images count for themselves")
    return Opened(planes, tuple(notes))


def _targets(given: Sequence[str], classes: Sequence[str], labels: Labels) -> dict[str, str | None]:
    """The class of each external label, None for one that is left out."""
    for label, name in labels.items():
        if label not in given:
            raise UserError(f"planes.external_labels: {unknown('label', label, given)}")
        if name is not None and name not in classes:
            raise UserError(f"planes.external_labels.{label}: {unknown('class', name, classes)}")
    same = {name.casefold(): name for name in classes}
    target: dict[str, str | None] = {}
    for label in given:
        name = labels[label] if label in labels else same.get(label.casefold(), "")
        if name == "":
            raise UserError(
                f"planes.external: its label '{label}' is no class of the internal cohort ({', '.join(classes)}); "
                f"name its class in planes.external_labels, or null there to leave its images out"
            )
        target[label] = name
    return target


def _raw(planes: Planes) -> pd.DataFrame:
    """The table as `build_planes` takes it, with text in every column of the plane table."""
    table = planes.table
    frames = ["" if value is pd.NA else str(int(value)) for value in table["frame"].astype(object)]
    return table.assign(frame=frames)
