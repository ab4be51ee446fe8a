"""What a paper states of its results, as a table beside the experiment file, checked and kept in the run folder.

One row is one number: `init,mode,fraction,cohort,measure,value,relative_to,source`. An init is named as in the results,
with its backbone in brackets where the name alone would not tell: `imagenet (resnet18)`. A row with `relative_to` is a
difference, to that init or to the best of the `other methods`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssl_zoo.config import Experiment
from ssl_zoo.config.check import MODES
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import write_text

PUBLISHED_FILE = "published.csv"  # in a run folder
COLUMNS = ("init", "mode", "fraction", "cohort", "measure", "value", "relative_to", "source")
MEASURES = (
    *("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro"),
    *("precision_weighted", "recall_weighted", "f1_weighted", "auroc_macro"),
)
OTHER_METHODS = "other methods"


@dataclass(frozen=True)
class Who:
    """An init on a backbone; "" stands for whatever backbone it has."""

    init: str
    backbone: str = ""

    def __str__(self) -> str:
        return f"{self.init} ({self.backbone})" if self.backbone else self.init


@dataclass(frozen=True)
class PublishedNumber:
    """One row. `value` lies in 0..1, or in -1..1 where it is a difference to `relative_to`."""

    who: Who
    mode: str
    fraction: float
    cohort: str
    measure: str
    value: float
    relative_to: Who | None  # `Who(OTHER_METHODS)`: the best of them
    source: str  # the paper and the place in it; what is inferred


def read_published(path: Path) -> list[PublishedNumber]:
    """The rows of a table of published numbers, in its order.

    Raises UserError that names the file, and the row and column where there is one: for a file that is missing or no
    table, a column that is missing or unknown, a value that cannot be, and a number that stands there twice.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False).fillna("")  # of rows that end early
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable table ({' '.join(str(error).split())})") from None
    for column in COLUMNS:
        if column not in table:
            raise UserError(f"{path}: column '{column}' is missing (needed: {','.join(COLUMNS)})")
    for column in table.columns:
        if column not in COLUMNS:
            raise UserError(f"{path}: {unknown('column', str(column), COLUMNS)}")
    if table.empty:
        raise UserError(f"{path}: the table has no rows")
    found: list[PublishedNumber] = []
    seen: dict[tuple[object, ...], int] = {}
    for row, cells in enumerate(table.to_dict("records"), 1):
        number = _number({str(name): str(text).strip() for name, text in cells.items()}, f"{path}, row {row}")
        key = (number.who, number.mode, number.fraction, number.cohort, number.measure, number.relative_to)
        if key in seen:
            raise UserError(
                f"{path}, row {row}: gives the same number as row {seen[key]} again; numbers of another task or "
                "protocol belong into a table of their own"
            )
        seen[key] = row
        found.append(number)
    return found


def _number(cells: dict[str, str], where: str) -> PublishedNumber:
    for column in COLUMNS:
        if not cells[column] and column != "relative_to":
            raise UserError(f"{where}, column '{column}': is empty")
    for column, known in (("mode", MODES), ("measure", MEASURES)):
        if cells[column] not in known:
            raise UserError(f"{where}, column '{column}': {unknown(column, cells[column], known)}")
    relative = _who(cells["relative_to"], f"{where}, column 'relative_to'") if cells["relative_to"] else None
    fraction, value = (_real(cells[column], f"{where}, column '{column}'") for column in ("fraction", "value"))
    if not 0 < fraction <= 1:
        raise UserError(f"{where}, column 'fraction': {fraction:g} is not above 0 and at most 1")
    lowest = 0 if relative is None else -1
    if not lowest <= value <= 1:
        raise UserError(f"{where}, column 'value': {value:g} is not between {lowest} and 1 (90.57 % is 0.9057)")
    return PublishedNumber(
        _who(cells["init"], f"{where}, column 'init'"),
        cells["mode"],
        fraction,
        cells["cohort"],
        cells["measure"],
        value,
        relative,
        cells["source"],
    )


def _who(text: str, where: str) -> Who:
    match = re.fullmatch(r"([^()]*[^() ])(?: \(([^() ]+)\))?", text)
    if match is None:
        raise UserError(f"{where}: '{text}' is no init, nor one with its backbone, as in 'imagenet (resnet18)'")
    return Who(match[1], match[2] or "")


def _real(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: '{text}' is no number")
    return value


def published_table(experiment: Experiment) -> Path | None:
    """The file with the experiment's published numbers: its own, or the run folder's copy where that has gone."""
    if experiment.published is None:
        return None
    given, kept = Path(experiment.published), experiment.run_folder / PUBLISHED_FILE
    return kept if kept.is_file() and not given.is_file() else given


def check_published_numbers(experiment: Experiment) -> None:
    """Refuse a table of published numbers that is missing or wrong."""
    if (path := published_table(experiment)) is not None:
        try:
            read_published(path)
        except UserError as error:
            raise UserError(f"published: {error}") from None


def keep_published_numbers(experiment: Experiment) -> None:
    """Copy the table into the run folder, so that the folder can be read elsewhere; remove one of earlier settings."""
    path, kept = published_table(experiment), experiment.run_folder / PUBLISHED_FILE
    if path is None:
        kept.unlink(missing_ok=True)
    elif path != kept:
        write_text(kept, path.read_text(encoding="utf-8"))
