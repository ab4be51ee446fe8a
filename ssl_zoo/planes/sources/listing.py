"""How a published data set becomes Planes: its images are listed, checked against what is published, and built."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.planes.table import Planes, build_planes
from ssl_zoo.scans.sources.facts import Facts, in_short

STILL_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"))


@dataclass(frozen=True, eq=False)
class Opened:
    """Planes and what a reader of results has to know about them, one sentence each."""

    planes: Planes
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Listing:
    """The images of a data set before they are built: `table` as `build_planes` takes it, all its values str."""

    table: pd.DataFrame
    name: str  # opens the sentences of errors
    by_image: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Where planes come from: `opens(path, classes, patient_pattern=...)`, and what is known about it."""

    opens: Callable[..., Opened]
    facts: Facts


def published(lists: Callable[[Path, str | None], Listing], facts: Facts) -> Source:
    """A source from a function that lists a folder, given the folder and the patient pattern (None: the data set's)."""

    def opens(path: Path, classes: Sequence[str] | None = None, *, patient_pattern: str | None = None) -> Opened:
        listing = lists(path, patient_pattern)
        if listing.table["label"].nunique() == 1:
            only = f"all that is there has the label '{listing.table['label'].iloc[0]}', one class alone"
            raise UserError("; ".join([f"{path}: {only}", *listing.notes]))
        planes = build_planes(listing.table, listing.name, classes, by_image=listing.by_image)
        return Opened(planes, listing.notes)

    return Source(opens, facts)


def present(table: pd.DataFrame, root: Path, facts: Facts) -> tuple[pd.DataFrame, list[str]]:
    """The rows whose file is there, and a sentence on the others. UserError where no file is there."""
    folders = {folder: _names(folder) for folder in {os.path.dirname(path) for path in table["path"]}}
    there = pd.Series([os.path.basename(path) in folders[os.path.dirname(path)] for path in table["path"]], table.index)
    if not there.any():
        raise facts.misfit(
            root, f"none of the {len(table)} images of its table is there, as '{table['image'].iloc[0]}'"
        )
    absent = table.loc[~there, "image"]
    if absent.empty:
        return table, []
    some = in_short(list(absent), 2)
    return table.loc[there], [
        f"{facts.title}: {len(absent)} of {len(table)} listed images are not there, left out ({some})"
    ]


def _names(folder: str) -> set[str]:
    """What lies in a folder; one look for all its files, of which a data set may have many thousands."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return set()


def checked_labels(labels: pd.Series, path: Path, facts: Facts) -> None:
    """UserError where no label is a published class."""
    if facts.counts and not set(labels) & set(facts.counts):
        found = in_short(sorted(set(labels)))
        raise facts.misfit(path, f"none of its labels ({found}) is a published class ({', '.join(facts.counts)})")


def class_folders(root: Path, classes: Mapping[str, str], facts: Facts) -> tuple[dict[Path, str], list[str]]:
    """Subfolders of `root` by the class that each shows, and a sentence on those that show none.

    `classes`: from a folder's name, as `plain` spells it, to the class.
    """
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith((".", "__")))
    known = {folder: classes[plain(folder.name)] for folder in folders if plain(folder.name) in classes}
    others = [folder.name for folder in folders if folder not in known]
    return known, [f"{facts.title}: folder(s) that are no class were left out: {in_short(others)}"] if others else []


def images_in(folder: Path) -> list[Path]:
    """The still images in a folder and below, sorted; hidden ones left out."""
    return [
        file
        for file in sorted(folder.glob("**/*"))
        if file.suffix.lower() in STILL_IMAGES
        and not any(part.startswith((".", "__MACOSX")) for part in file.relative_to(folder).parts)
    ]


def plain(name: str) -> str:
    """A folder's name without its case, and with blanks for `_` and `-`."""
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def compiled(pattern: str) -> re.Pattern[str]:
    """A patient pattern; UserError where it is no regular expression."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise UserError(f"the patient pattern '{pattern}' is not a regular expression ({error})") from None


def patient_in(name: str, pattern: re.Pattern[str], file: Path) -> str:
    """The pattern's group `patient`, or else its first group, or else the whole match, searched in `name`."""
    match = pattern.search(name)
    if not match:
        raise UserError(f"{file}: the patient pattern '{pattern.pattern}' does not match '{name}'")
    if "patient" in match.groupdict():
        return match.group("patient") or ""
    return (match.group(1) if match.groups() else match.group(0)) or ""


def unused_pattern(pattern: str | None, facts: Facts) -> list[str]:
    """A sentence where a patient pattern was given to a data set that tells its patients itself."""
    return [f"{facts.title} tells who the patients are; the patient pattern was not used"] if pattern else []
