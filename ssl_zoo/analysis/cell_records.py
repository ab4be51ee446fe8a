"""What the records of cells say beside their scores: why some failed, what the others were computed on, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ssl_zoo.errors import UserError
from ssl_zoo.grid.ledger import RECORD, read_record


class Computed(NamedTuple):
    """What numbers were computed on: device, processor, number format, and versions as (package, version)."""

    device: str
    processor: str
    precision: str
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CellRecords:
    """The records of a run folder's cells."""

    failures: list[dict[str, Any]] = field(default_factory=list)
    computed: Counter[tuple[str, Computed]] = field(default_factory=Counter)  # cells by mode; of older runs, none
    unconverged: int = 0  # cells whose solver stopped short of its end


def read_cell_records(folder: Path, done: Collection[str]) -> CellRecords:
    """Read the records in the folder `cells`, of which broken ones have failed; `done` are the keys with results."""
    found = CellRecords()
    unconverged = 0
    for path in sorted(folder.glob(f"*{RECORD}")) if folder.is_dir() else []:
        cell: dict[str, Any]
        try:
            cell = read_record(str(path))
        except UserError as error:
            cell = {"error": str(error)}
        if cell.get("error"):
            found.failures.append(_failure(cell, path.stem))
        elif path.stem in done:
            if (computed := computed_of(cell)) is not None:
                found.computed[str(cell.get("mode", "")), computed] += 1
            unconverged += not cell.get("notes", {}).get("converged", True)
    return CellRecords(found.failures, found.computed, unconverged)


def computed_of(record: Mapping[str, Any]) -> Computed | None:
    """What a cell, or an encoder's budget, was computed on; None in records of before this was kept."""
    told = record.get("computed")
    if not isinstance(told, dict):
        return None
    device, processor, precision = (str(told.get(name, "")) for name in ("device", "processor", "precision"))
    versions = tuple((str(name), str(value)) for name, value in told.get("versions", {}).items())
    return Computed(device, processor, precision, versions)


def _failure(cell: dict[str, Any], key: str) -> dict[str, Any]:
    """A cell that ended with an error, with what is known of it at the top level or one level below."""
    flat: dict[str, Any] = {}
    for name, value in cell.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    lines = str(cell["error"]).strip().splitlines()
    names = ("init", "backbone", "mode", "fraction", "fold", "seed")
    return {name: flat.get(name, "") for name in names} | {"error": lines[-1][:500], "cell": key}
