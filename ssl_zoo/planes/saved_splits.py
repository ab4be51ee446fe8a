"""Splits on disk: who is trained on and who is tested, with a hash, for another run on the same planes.

`splits.json` holds `splits` (one entry for each fold: row numbers of the plane table in `train`, `val` and `test`),
their `hash`, the fingerprint of the `planes` they belong to, the `protocol`, and `unit`: "patient", or "image" where
the planes have no patients, so that whoever reads the splits knows what they keep apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint, read_json
from ssl_zoo.planes.splits import Split, check_classes
from ssl_zoo.planes.table import Planes

SIDES = ("train", "val", "test")


def splits_record(planes: Planes, protocol: str, splits: Sequence[Split]) -> dict[str, Any]:
    """The contents of `splits.json`; its hash changes with any row of any side."""
    folds = [{"fold": int(split.fold), **{side: getattr(split, side).tolist() for side in SIDES}} for split in splits]
    return {
        "hash": fingerprint(folds),
        "planes": planes.fingerprint,
        "protocol": protocol,
        "unit": "image" if planes.by_image else "patient",
        "splits": folds,
    }


def splits_from(record: Mapping[str, Any]) -> list[Split]:
    """The splits of a record, as it was written."""
    return [
        Split(int(fold["fold"]), *(np.array(fold[side], dtype=np.int64) for side in SIDES)) for fold in record["splits"]
    ]


def read_splits(path: Path | str, planes: Planes, protocol: str) -> list[Split]:
    """The splits of another run, for exactly the same planes.

    Raises UserError where the file is missing or no splits, was changed, is of another protocol, belongs to
    another plane table (any label, patient, image or class list may differ), or puts a patient on two sides.
    """
    path = Path(path)
    record = read_json(path)
    try:
        splits = splits_from(record)
        said = record["hash"]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{path}: holds no splits; planes.splits is the planes/splits.json of a run folder") from None
    if said != fingerprint(record["splits"]):
        raise UserError(f"{path}: its hash does not fit its contents, so it was changed after it was written")
    belongs = record.get("planes") or _planes_beside(path)
    if belongs != planes.fingerprint:
        raise UserError(
            f"{path}: its splits belong to another plane table ({belongs or 'unknown'}, this one is "
            f"{planes.fingerprint}): a row, label, patient or image differs; leave planes.splits out to divide anew"
        )
    of = record.get("protocol") or ("holdout" if len(splits) == 1 else "cross_validation")
    if of != protocol:
        raise UserError(f"{path}: its splits are of the protocol '{of}'; set planes.protocol={of}")
    for split in splits:
        _check(planes, split, path)
        check_classes(planes, split)
    return splits


def _planes_beside(path: Path) -> str:
    """The planes' fingerprint in the file beside it, for splits that do not tell it themselves."""
    beside = path.parent / "planes.json"
    return read_json(beside).get("fingerprint", "") if beside.is_file() else ""


def _check(planes: Planes, split: Split, path: Path) -> None:
    rows = np.concatenate([getattr(split, side) for side in SIDES])
    where = f"{path}, fold {split.fold}"
    if len(rows) and (rows.min() < 0 or rows.max() >= len(planes)):
        raise UserError(f"{where}: names rows that the plane table does not have")
    side_of: dict[str, str] = {}
    for side in SIDES:
        for row in getattr(split, side).tolist():
            patient = str(planes.patients[row])
            if side_of.setdefault(patient, side) != side:
                raise UserError(f"{where}: patient '{patient}' is in '{side_of[patient]}' and '{side}'")
            if side != "test" and not planes.internal[row]:
                raise UserError(f"{where}: patient '{patient}' of another cohort is in '{side}'; it is only tested")
