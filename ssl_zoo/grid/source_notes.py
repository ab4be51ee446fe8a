"""The sources that an experiment names, checked, and what they say of themselves, shown and kept in the run folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ssl_zoo.config import Experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import write_json
from ssl_zoo.planes.sources import SOURCES as PLANE_SOURCES
from ssl_zoo.scans.sources import SOURCES as SCAN_SOURCES
from ssl_zoo.scans.sources.facts import Facts
from ssl_zoo.scans.sources.specs import known_source

SOURCES_FILE = "sources.json"  # in `planes/` of a run folder


def check_sources(experiment: Experiment) -> None:
    """Refuse names of sources that no registry knows, and keys on an external source where there is none."""
    planes = experiment.planes
    for key, kind, source, known in (
        ("scans.source", "scan source", experiment.scans.source, SCAN_SOURCES),
        ("planes.source", "plane source", planes.source, PLANE_SOURCES),
        ("planes.external", "plane source", planes.external or "", PLANE_SOURCES),
    ):
        try:
            known_source(kind, source, known)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None
    if planes.external is None and planes.external_labels:
        raise UserError("planes.external_labels: is given, and planes.external is not")
    if planes.external == "phantom":
        raise UserError("planes.external: the phantom has an external cohort of its own (phantom.external_patients)")
    if planes.external is not None and planes.external == planes.source:
        raise UserError(f"planes.external: '{planes.external}' is planes.source too, whose patients are trained on")


def write_notes(experiment: Experiment, notes: dict[str, list[str]], file: Path, *, progress: bool) -> None:
    """Print what the sources say of themselves, and keep it beside the facts of published data sets.

    `notes`: sentences by section ("planes", "scans"). Where no source says anything and none is published, there is no
    file. The file holds, for `scans`, `planes` and `external`: `source` (its name, empty for a table or folder), the
    facts of a published one (title, paper, licence, split, patients, unit, unsure), and the notes.
    """
    planes = experiment.planes
    content = {
        section: {**_about(source, known), "notes": list(notes.get(section, []))}
        for section, source, known in (
            ("scans", experiment.scans.source if "scans" in notes else "", SCAN_SOURCES),
            ("planes", planes.source, PLANE_SOURCES),
            ("external", planes.external or "", PLANE_SOURCES),
        )
    }
    content = {section: about for section, about in content.items() if about["notes"] or "paper" in about}
    if content:
        write_json(file, content)
    else:
        file.unlink(missing_ok=True)
    if progress:
        for section, about in content.items():
            for note in about["notes"]:
                print(f"note: {section}: {note}", file=sys.stderr)


def _about(source: str, known: Any) -> dict[str, Any]:
    kind = "plane source" if known is PLANE_SOURCES else "scan source"
    name, _ = known_source(kind, source, known)
    if not name:
        return {"source": ""}
    facts: Facts = known[name].facts
    if not facts.paper:
        return {"source": name}
    keys = ("title", "paper", "licence", "split", "patients", "unit", "unsure")
    return {"source": name, **{key: getattr(facts, key) for key in keys}}
