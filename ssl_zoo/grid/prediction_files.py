"""The predictions of cells: a file for each of them, and one table of all that is never held in memory as a whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from ssl_zoo.errors import UserError
from ssl_zoo.files import replacing
from ssl_zoo.grid.ledger import PREDICTIONS

GROUP_ROWS = 1 << 18  # of the table, put together and written at a time
PLANE_COLUMNS = ("image", "patient_id", "cohort", "label")

Predictions = tuple[np.ndarray, np.ndarray]  # tested rows [M] of the plane table, probabilities float32 [M, K]


def write_predictions(run: Path, key: str, rows: np.ndarray, probabilities: np.ndarray) -> None:
    """Write a cell's tested rows `[M]` and their probabilities `[M, K]`."""
    with replacing(_file(run, key)) as part, open(part, "wb") as handle:
        np.savez(handle, rows=rows, probabilities=probabilities.astype(np.float32))


def read_predictions(run: Path, key: str) -> Predictions:
    """What `write_predictions` has written; UserError where the file is missing or broken."""
    path = _file(run, key)
    try:
        with np.load(path) as saved:
            return saved["rows"], saved["probabilities"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise UserError(f"{path}: broken, no predictions can be read from it") from None


def write_table(
    target: Path, run: Path, keys: Iterable[str], planes: pd.DataFrame, classes: Sequence[str]
) -> dict[str, str]:
    """Write one row for each test image of each cell; `planes` is the plane table.

    Returns the cells that are left out because their predictions cannot be read, with the reasons.
    """
    names = [*("cell", *PLANE_COLUMNS, "predicted"), *(f"p_{name}" for name in classes)]
    kinds = [pa.string()] * 6 + [pa.float32()] * len(classes)
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    images = {name: pa.array(planes[name].to_numpy(dtype=object), pa.string()) for name in PLANE_COLUMNS}
    lost: dict[str, str] = {}
    with parquet.ParquetWriter(target, schema) as writer:
        for group in _groups(run, keys, lost):
            rows = np.concatenate([rows for _, (rows, _) in group])
            probabilities = np.concatenate([probabilities for _, (_, probabilities) in group])
            cells = np.repeat(np.arange(len(group)), [len(rows) for _, (rows, _) in group])
            words = [
                pa.array([key for key, _ in group], pa.string()).take(pa.array(cells)),
                *(images[name].take(pa.array(rows)) for name in PLANE_COLUMNS),
                pa.array(list(classes), pa.string()).take(pa.array(probabilities.argmax(1))),
            ]
            numbers = [pa.array(np.ascontiguousarray(column), pa.float32()) for column in probabilities.T]
            writer.write_table(pa.Table.from_arrays([*words, *numbers], schema=schema))
    return lost


def _groups(run: Path, keys: Iterable[str], lost: dict[str, str]) -> Iterator[list[tuple[str, Predictions]]]:
    """Whole cells of GROUP_ROWS together, about; those that cannot be read go to `lost`."""
    group: list[tuple[str, Predictions]] = []
    size = 0
    for key in keys:
        try:
            found = read_predictions(run, key)
        except UserError as error:
            lost[key] = str(error)
            continue
        if group and size + len(found[0]) > GROUP_ROWS:
            yield group
            group, size = [], 0
        group.append((key, found))
        size += len(found[0])
    if group:
        yield group


def _file(run: Path, key: str) -> Path:
    return run / "cells" / f"{key}{PREDICTIONS}"
