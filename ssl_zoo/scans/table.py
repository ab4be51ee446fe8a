"""Which scans there are and whose they are: a scan table, or a bare folder of videos."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from ssl_zoo import files
from ssl_zoo.errors import UserError

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpeg", ".mpg", ".gif", ".m4v")
TABLE_NAME = "scans.csv"


@dataclass(frozen=True, eq=False)
class Scans:
    """The scans of a study, one row each, and what the user should know about how they were read.

    `table` columns, all str except `path`: `scan` (path relative to `root`, with forward slashes), `path`
    (Path that opens it), `scan_id` (unique), `patient_id`, `site`, `device` (empty where unknown).
    """

    root: Path
    table: pd.DataFrame
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def patients(self) -> list[str]:
        """The patients, sorted."""
        return sorted(self.table["patient_id"].unique())


def read_scans(source: Path, patient_pattern: str | None = None) -> Scans:
    """The scans of a table or a folder.

    A table is a `.csv` with the columns `scan` (path relative to the table) and `patient_id`, and optionally
    `scan_id`, `site`, `device`. Every value is text: `007` stays `007`. Where the table has no `patient_id`,
    `patient_pattern` may supply it. Rows in messages count from 1, the header not included.

    A folder that holds a `scans.csv` is read through it. Any other folder, or one given with a
    `patient_pattern`, is searched with its subfolders for video files (hidden ones left out). The pattern is a
    regular expression searched in the relative path; its group `patient`, or else its first group, is the
    patient. Without a pattern each file counts as a patient of its own, with a warning.

    `scan_id` defaults to the relative path without suffix, and keeps the suffix where two would be alike.

    Raises UserError for a missing source, column or file, an empty table or folder, a scan or scan_id that
    occurs twice, a row without patient, a path that leaves the folder, or a pattern that does not fit.
    """
    source = Path(source)
    if source.is_dir():
        if patient_pattern is None and (source / TABLE_NAME).is_file():
            return _read_table(source / TABLE_NAME, None)
        return _read_folder(source, patient_pattern)
    if not source.exists():
        raise UserError(f"{source}: no such scan table or folder")
    if source.suffix.lower() != ".csv":
        raise UserError(f"{source}: neither a .csv table of scans nor a folder of videos")
    return _read_table(source, patient_pattern)


def _read_table(source: Path, patient_pattern: str | None) -> Scans:
    try:
        given = pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not a readable .csv table ({str(error).strip()})") from None
    given.columns = given.columns.str.strip()
    needed = ["scan", "patient_id"] if patient_pattern is None else ["scan"]
    for column in needed:
        if column not in given:
            raise UserError(f"{source}: column '{column}' is missing (columns there: {', '.join(given.columns)})")
    if given.empty:
        raise UserError(f"{source}: the table has no rows")
    given = given.fillna("").apply(lambda column: column.str.strip())  # a short row leaves gaps

    scans, paths = [], []
    first_row: dict[str, int] = {}
    for row, text in enumerate(given["scan"], start=1):
        where = f"{source}, row {row}, column 'scan'"
        if not text:
            raise UserError(f"{where}: the path is empty")
        scan = PurePosixPath(text.replace("\\", "/")).as_posix()
        path = files.inside(source.parent, scan, where)
        if scan in first_row:
            raise UserError(f"{where}: '{scan}' is already in row {first_row[scan]}")
        if not path.is_file():
            raise UserError(f"{where}: there is no file '{path}'")
        first_row[scan] = row
        scans.append(scan)
        paths.append(path)

    warnings = []
    if "patient_id" in given:
        patients = given["patient_id"].tolist()
        if patient_pattern is not None:
            warnings.append(f"{source} has a column patient_id; the patient pattern was not used")
    else:
        patients = _patients_by_pattern(scans, patient_pattern or "", source)
    for row, patient in enumerate(patients, start=1):
        if not patient:
            raise UserError(f"{source}, row {row}: patient_id is empty")
    scan_ids = given["scan_id"].tolist() if "scan_id" in given else [""] * len(scans)
    scan_ids = [chosen or default for chosen, default in zip(scan_ids, _scan_ids(scans), strict=True)]
    seen: dict[str, int] = {}
    for row, scan_id in enumerate(scan_ids, start=1):
        if scan_id in seen:
            raise UserError(f"{source}, row {row}: scan_id '{scan_id}' is already in row {seen[scan_id]}")
        seen[scan_id] = row
    extra = {name: given[name].tolist() if name in given else "" for name in ("site", "device")}
    return _scans(source.parent, scans, paths, scan_ids, patients, warnings, **extra)


def _read_folder(source: Path, patient_pattern: str | None) -> Scans:
    found = sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.suffix.lower() in VIDEO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
    )
    if not found:
        raise UserError(f"{source}: no scans in this folder (looked for {', '.join(VIDEO_SUFFIXES)})")
    warnings = []
    if patient_pattern is None:
        patients = found
        warnings.append(
            f"{source} has no patient table: each of its {len(found)} files counts as a patient of its own; "
            "give a patient pattern or a scans.csv if patients have several scans"
        )
    else:
        patients = _patients_by_pattern(found, patient_pattern, source)
    return _scans(source, found, [source / scan for scan in found], _scan_ids(found), patients, warnings)


def _scans(
    root: Path,
    scans: list[str],
    paths: list[Path],
    scan_ids: list[str],
    patients: list[str],
    warnings: list[str],
    site: str | list[str] = "",
    device: str | list[str] = "",
) -> Scans:
    table = pd.DataFrame({"scan": scans, "path": paths, "scan_id": scan_ids, "patient_id": patients})
    return Scans(root, table.assign(site=site, device=device), warnings)


def _scan_ids(scans: list[str]) -> list[str]:
    """Relative paths without suffix; where `a.mp4` and `a.avi` would share one, both keep their suffix."""
    stems = [PurePosixPath(scan).with_suffix("").as_posix() for scan in scans]
    count = Counter(stems)
    return [stem if count[stem] == 1 else scan for stem, scan in zip(stems, scans, strict=True)]


def _patients_by_pattern(scans: list[str], pattern: str, source: Path) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"patient pattern '{pattern}' is not a regular expression ({error})") from None
    if not compiled.groups:
        raise UserError(f"patient pattern '{pattern}' has no group; bracket the patient, as in 'patient_(\\d+)'")
    group = "patient" if "patient" in compiled.groupindex else 1
    matches = [compiled.search(scan) for scan in scans]
    patients = [(match[group] or "") if match else "" for match in matches]
    misfits = [scan for scan, patient in zip(scans, patients, strict=True) if not patient]
    if misfits:
        raise UserError(
            f"{source}: patient pattern '{pattern}' finds no patient in '{misfits[0]}' "
            f"({len(misfits)} of {len(scans)} scans)"
        )
    return patients
