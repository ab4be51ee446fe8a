"""Where labelled planes come from: a plane table, or a data set in its published layout.

A source is a function from a folder to Planes, known by the prefix of `prefix:/path`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.planes.table import Planes, build_planes, read_planes

TABLE = "planes.csv"
STILL_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"))


def csv(path: Path, classes: Sequence[str] | None = None, *, patient_pattern: str | None = None) -> Planes:
    """A plane table, or a folder that holds `planes.csv`. Patients come from its column, not from a pattern."""
    del patient_pattern
    if path.is_dir() and not (path / TABLE).is_file():
        raise UserError(
            f"{path}: no {TABLE} in this folder; for a folder with one subfolder per class, write 'image_folder:{path}'"
        )
    return read_planes(path / TABLE if path.is_dir() else path, classes)


def image_folder(path: Path, classes: Sequence[str] | None = None, *, patient_pattern: str | None = None) -> Planes:
    """A folder with one subfolder of images per class.

    `patient_pattern` is a regular expression searched in the path relative to the folder; its group
    `patient`, or else its first group, or else the whole match, is the patient. Without one every image stands for
    itself, and the Planes say so (`by_image`).
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    pattern = _compiled(patient_pattern)
    rows = []
    for file in sorted(path.glob("*/**/*")):
        name = file.relative_to(path).as_posix()
        if file.suffix.lower() not in STILL_IMAGES or any(part.startswith(".") for part in name.split("/")):
            continue
        match = pattern.search(name) if pattern else None
        if pattern and not match:
            raise UserError(f"{file}: the patient pattern '{patient_pattern}' does not match '{name}'")
        patient = name if match is None else _patient(match)
        rows.append(
            {"image": name, "path": str(file), "label": name.split("/")[0], "patient_id": patient, "where": name}
        )
    if not rows:
        raise UserError(
            f"{path}: no images in subfolders, one per class (looked for: {', '.join(sorted(STILL_IMAGES))})"
        )
    return build_planes(pd.DataFrame(rows), str(path), classes, by_image=pattern is None)


SOURCES: dict[str, Callable[..., Planes]] = {"csv": csv, "image_folder": image_folder}


def open_planes(source: str, classes: Sequence[str] | None = None, *, patient_pattern: str | None = None) -> Planes:
    """Planes from a plane table, a folder with `planes.csv`, or `name:/path` with a name in SOURCES."""
    prefix, colon, rest = source.partition(":")
    if colon and len(prefix) > 1 and not Path(source).exists():  # one letter is a drive
        if prefix not in SOURCES:
            raise unknown("plane source", prefix, SOURCES)
        return SOURCES[prefix](Path(rest).expanduser(), classes, patient_pattern=patient_pattern)
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(
            f"planes source '{source}': no such file or folder (or write one of {', '.join(SOURCES)} as 'name:/path')"
        )
    return csv(path, classes)


def _patient(match: re.Match[str]) -> str:
    if "patient" in match.groupdict():
        return match.group("patient") or ""
    return (match.group(1) if match.groups() else match.group(0)) or ""


def _compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        raise UserError(f"the patient pattern '{pattern}' is not a regular expression ({error})") from None
