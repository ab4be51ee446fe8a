"""The data of a run at a glance: planes of each class and patients on each side of the split, sources, the audit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.analysis.style import cohort_order
from ssl_zoo.analysis.tables import Table
from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json

# names as grid.audit, grid.source_notes and planes.saved_splits give them, which load far more than a page needs
AUDIT, SOURCES_FILE, SIDES = "audit.json", "sources.json", ("train", "val", "test")
SIDE_WORDS = {"train": "training", "val": "calibration", "test": "test"}
SHOWN = 12  # findings of the audit on the page; the rest are in its file


@dataclass(frozen=True)
class Source:
    """What a data source says of itself: facts as (word, text), and notes."""

    title: str
    facts: list[tuple[str, str]]
    notes: list[str]


@dataclass(frozen=True)
class Glance:
    """Parts of the data section; what a run does not hold is None or empty."""

    planes: Table | None = None
    note: str = ""
    sources: list[Source] = field(default_factory=list)
    audited: str = ""
    findings: list[tuple[str, str]] = field(default_factory=list)  # (leak | note, sentence)


def data_at_a_glance(run: Path) -> Glance:
    """Read `planes/table.parquet`, `splits.json`, `sources.json` and `audit.json` of a run folder, as far as they are
    there. Raises UserError for a file that is broken.
    """
    planes, note = _planes(Path(run) / "planes")
    audited, findings = _audit(Path(run) / AUDIT)
    return Glance(planes, note, _sources(Path(run) / "planes" / SOURCES_FILE), audited, findings)


def _planes(folder: Path) -> tuple[Table | None, str]:
    """A row per cohort and side: patients, planes, planes of each class; over folds as a range."""
    paths = [folder / name for name in ("table.parquet", "splits.json", "planes.json")]
    if not all(path.is_file() for path in paths):
        return None, ""
    try:
        table = pd.read_parquet(paths[0])
        labels, patients, cohorts = (table[name].to_numpy().astype(str) for name in ("label", "patient_id", "cohort"))
        folds = [{side: np.array(fold[side], dtype=int) for side in SIDES} for fold in read_json(paths[1])["splits"]]
        classes = [str(name) for name in read_json(paths[2])["classes"]]
        lines = []
        for cohort in cohort_order(cohorts):
            for side in SIDES:
                rows = [fold[side][cohorts[fold[side]] == cohort] for fold in folds]
                if any(len(own) for own in rows):
                    counts = [[len(set(patients[own])), len(own)] for own in rows]
                    counts = [
                        [*two, *(int((labels[own] == name).sum()) for name in classes)]
                        for two, own in zip(counts, rows, strict=True)
                    ]
                    lines.append([cohort, SIDE_WORDS[side], *map(_range, zip(*counts, strict=True))])
            own = cohorts == cohort
            whole = [len(set(patients[own])), int(own.sum()), *(int((labels[own] == name).sum()) for name in classes)]
            lines.append([cohort, "all", *map(str, whole)])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise UserError(f"{folder}: table.parquet, splits.json and planes.json do not fit together ({error})") from None
    note = (
        f"{len(folds)} folds; a range is over them." if len(folds) > 1 else "One division of the patients (hold-out)."
    )
    return Table(["cohort", "side", "patients", "planes", *classes], lines, 2), note


def _range(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else f"{min(values)}–{max(values)}"


_FACTS = ("title", "paper", "licence", "patients", "unit", "split")


def _sources(path: Path) -> list[Source]:
    if not path.is_file():
        return []
    found = []
    for section, about in read_json(path).items():
        facts = [(key, str(about[key])) for key in _FACTS if about.get(key)]
        name = f"{section}: {about['source']}" if about.get("source") else str(section)
        unsure = [f"Not sure: {text}" for text in _texts(about.get("unsure"))]
        found.append(Source(name, facts, [*_texts(about.get("notes")), *unsure]))
    return found


def _texts(value: Any) -> list[str]:
    if not value:
        return []
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def _audit(path: Path) -> tuple[str, list[tuple[str, str]]]:
    if not path.is_file():
        return "", []
    record = read_json(path)
    try:
        findings = [
            ("leak" if one["severity"] == "refuse" else "note", str(one["sentence"])) for one in record["findings"]
        ]
        compared = int(record["images"]["compared"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: no record of an audit ({error})") from None
    leaks = sum(kind == "leak" for kind, _ in findings)
    what = "no leak between patients was found" if not leaks else f"{leaks} leak{'s' if leaks > 1 else ''} found"
    told = f"The audit compared {compared} planes, the splits and the patients of pre-training: {what}."
    if leaks:
        told += " The study went on all the same, as it was told to."
    if len(findings) > SHOWN:
        told += f" The first {SHOWN} of {len(findings)} findings; all are in {path.name}."
    return told, findings[:SHOWN]
