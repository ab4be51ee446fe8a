"""Which scans there are and whose they are: a scan table, or a bare folder."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from ssl_zoo import files
from ssl_zoo.errors import UserError
from ssl_zoo.scans.base import DEFAULT_FPS, UnreadableScan
from ssl_zoo.scans.dicom import dicom_patient
from ssl_zoo.scans.search import ALLOW, VIDEO_SUFFIXES, find_scans, leaves
from ssl_zoo.scans.signatures import kind_of

__all__ = ["VIDEO_SUFFIXES", "Scans", "read_scans"]

TABLE_NAME = "scans.csv"


@dataclass(frozen=True, eq=False)
class Scans:
    """The scans of a study, one row each, and what the user should know about how they were read.

    `table` columns: `scan` (path relative to `root`, with forward slashes), `path` (Path that opens it), `scan_id`
    (unique), `patient_id`, `site`, `device` (all str but `path`, empty where unknown); `fps` (float, frames a second
    of a scan that does not tell) and `spacing_mm` (float, millimetres per pixel as shown, NaN where the table does not
    give it).
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


def read_scans(
    source: Path, patient_pattern: str | None = None, *, fps: float = DEFAULT_FPS, allow_outside: bool = False
) -> Scans:
    """The scans of a table or a folder.

    A table is a `.csv` with the columns `scan` (path relative to the table) and `patient_id`, and optionally
    `scan_id`, `site`, `device`, `fps`, `spacing_mm`. Every other value is text: `007` stays `007`. Where the table has
    no `patient_id`, `patient_pattern` may supply it. Rows in messages count from 1, the header not included.

    A folder that holds a `scans.csv` is read through it. Any other folder, or one given with a
    `patient_pattern`, is searched with its subfolders (see `find_scans`). The pattern is a regular expression searched
    in the relative path; its group `patient`, or else its first group, is the patient. Where neither table nor pattern
    tells, the patient of a DICOM file is its PatientID, and any other scan of a folder counts as a patient of its own;
    a warning says so.

    `scan_id` defaults to the relative path without suffix, and keeps the suffix where two would be alike. `fps`: frames
    a second of scans that do not tell themselves (image folders, stacks), where the table does not either. No path
    may leave the folder, by `..` or by a link, unless `allow_outside`.

    Raises UserError for a missing source, column or file, an empty table or folder, a scan or scan_id that
    occurs twice, a row without patient, a path that leaves the folder, or a pattern that does not fit.
    """
    source = Path(source)
    if not 0 < fps < float("inf"):
        raise UserError(f"scans.fps is {fps}; it must be a positive number of frames a second")
    if source.is_dir():
        if patient_pattern is None and (source / TABLE_NAME).is_file():
            return _read_table(source / TABLE_NAME, None, fps, allow_outside)
        return _read_folder(source, patient_pattern, fps, allow_outside)
    if not source.exists():
        raise UserError(f"{source}: no such scan table or folder")
    if source.suffix.lower() != ".csv":
        raise UserError(f"{source}: neither a .csv table of scans nor a folder of scans")
    return _read_table(source, patient_pattern, fps, allow_outside)


def _read_table(source: Path, patient_pattern: str | None, fps: float, allow_outside: bool) -> Scans:
    given = _read_csv(source)
    scans, paths = _paths(given["scan"], source, allow_outside)
    warnings = []
    if "patient_id" in given:
        patients = given["patient_id"].tolist()
        if patient_pattern is not None:
            warnings.append(f"{source} has a column patient_id; the patient pattern was not used")
    elif patient_pattern is not None:
        patients = patients_by_pattern(scans, patient_pattern, source)
    else:
        patients = [""] * len(scans)
    if not all(patients):
        told = [patient or _dicom_patient(path) for patient, path in zip(patients, paths, strict=True)]
        if "patient_id" not in given and not any(told):
            raise _missing("patient_id", given, source)
        warnings += _say_dicom(source, sum(new != old for new, old in zip(told, patients, strict=True)))
        patients = told
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
    extra: dict[str, list] = {name: given[name].tolist() for name in ("site", "device") if name in given}
    extra["fps"] = _numbers(given, "fps", fps, source)
    extra["spacing_mm"] = _numbers(given, "spacing_mm", float("nan"), source)
    return _scans(source.parent, scans, paths, scan_ids, patients, warnings, **extra)


def _read_csv(source: Path) -> pd.DataFrame:
    """The rows of a scan table, all text without blanks around it."""
    try:
        given = pd.read_csv(source, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{source}: not a readable .csv table ({str(error).strip()})") from None
    given.columns = given.columns.str.strip()
    if "scan" not in given:
        raise _missing("scan", given, source)
    if given.empty:
        raise UserError(f"{source}: the table has no rows")
    return given.fillna("").apply(lambda column: column.str.strip())  # a short row leaves gaps


def _missing(column: str, given: pd.DataFrame, source: Path) -> UserError:
    return UserError(f"{source}: column '{column}' is missing (columns there: {', '.join(given.columns)})")


def _paths(given: pd.Series, source: Path, allow_outside: bool) -> tuple[list[str], list[Path]]:
    """The column `scan` with forward slashes, and the file or folder that each row means."""
    root = source.parent.resolve()
    scans, paths = [], []
    first_row: dict[str, int] = {}
    for row, text in enumerate(given, start=1):
        where = f"{source}, row {row}, column 'scan'"
        if not text:
            raise UserError(f"{where}: the path is empty")
        scan = PurePosixPath(text.replace("\\", "/")).as_posix()
        path = source.parent / scan if allow_outside else _inside(source.parent, scan, where)
        if scan in first_row:
            raise UserError(f"{where}: '{scan}' is already in row {first_row[scan]}")
        if not path.exists():
            raise UserError(f"{where}: there is no file '{path}'")
        if not allow_outside and leaves(path, root):
            raise UserError(
                f"{where}: '{scan}' leaves the table's folder by a link; scans.allow_outside=true allows it"
            )
        first_row[scan] = row
        scans.append(scan)
        paths.append(path)
    return scans, paths


def _inside(root: Path, relative: str, where: str) -> Path:
    try:
        return files.inside(root, relative, where)
    except UserError as error:
        raise UserError(f"{error} ({ALLOW})") from None


def _numbers(given: pd.DataFrame, column: str, default: float, source: Path) -> list[float]:
    """A column of positive numbers, with `default` where a row has none."""
    values = []
    for row, text in enumerate(given[column] if column in given else [""] * len(given), start=1):
        try:
            value = float(text) if text else default
        except ValueError:
            value = 0.0
        if text and not 0 < value < float("inf"):
            raise UserError(f"{source}, row {row}: {column} '{text}' is not a positive number")
        values.append(value)
    return values


def _read_folder(source: Path, patient_pattern: str | None, fps: float, allow_outside: bool) -> Scans:
    search = find_scans(source, allow_outside=allow_outside)
    found = search.scans
    warnings = [f"{source}: {sentence}" for sentence in search.warnings]
    if not found:
        kinds = "videos, DICOM files, .npy and .h5 stacks, .nii and .mhd volumes, folders of images"
        raise UserError("; ".join([f"{source}: no scans in this folder (looked for {kinds})", *search.warnings]))
    paths = [source / scan for scan in found]
    if patient_pattern is None:
        told = [_dicom_patient(path) for path in paths]
        patients = [patient or scan for patient, scan in zip(told, found, strict=True)]
        warnings += _say_dicom(source, sum(map(bool, told)))
        if alone := len(found) - sum(map(bool, told)):
            each = f"each of its {alone} files" if alone == len(found) else f"each of the other {alone} scans"
            warnings.append(
                f"{source} has no patient table: {each} counts as a patient of its own; "
                "give a patient pattern or a scans.csv if patients have several scans"
            )
    else:
        patients = patients_by_pattern(found, patient_pattern, source)
    many = len(found)
    scan_ids = [source.resolve().name] if found == ["."] else _scan_ids(found)
    return _scans(
        source, found, paths, scan_ids, patients, warnings, fps=[fps] * many, spacing_mm=[float("nan")] * many
    )


def _dicom_patient(path: Path) -> str:
    """PatientID of a DICOM file; empty for anything else."""
    try:
        return dicom_patient(path) if path.is_file() and kind_of(path) == "dicom" else ""
    except UnreadableScan:
        return ""


def _say_dicom(source: Path, count: int) -> list[str]:
    if not count:
        return []
    return [f"{source}: the patients of {count} DICOM file(s) are their PatientID, which the frame store will hold too"]


def _scans(
    root: Path,
    scans: list[str],
    paths: list[Path],
    scan_ids: list[str],
    patients: list[str],
    warnings: list[str],
    *,
    fps: list[float],
    spacing_mm: list[float],
    site: str | list[str] = "",
    device: str | list[str] = "",
) -> Scans:
    table = pd.DataFrame({"scan": scans, "path": paths, "scan_id": scan_ids, "patient_id": patients})
    return Scans(root, table.assign(site=site, device=device, fps=fps, spacing_mm=spacing_mm), warnings)


def _scan_ids(scans: list[str]) -> list[str]:
    """Relative paths without suffix; where `a.mp4` and `a.avi` would share one, both keep their suffix.

    What follows the last dot of a DICOM UID is no suffix.
    """
    names = [PurePosixPath(scan) for scan in scans]
    stems = [name if name.suffix[1:].isdigit() else name.with_suffix("") for name in names]
    count = Counter(stems)
    return [(stem if count[stem] == 1 else name).as_posix() for stem, name in zip(stems, names, strict=True)]


def patients_by_pattern(scans: list[str], pattern: str, source: Path) -> list[str]:
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
