"""The plane table: which images there are, what they show, and of whom.

`planes.csv` has one row per labelled image: `image` (path, relative to the table), `label`, `patient_id`; optional
`frame` (0-based index in presentation order, when `image` is a video), `split` (train, val or test), `cohort`
("internal" where empty; any other is only ever tested on) and `site`. Where patients are not known, the column
`patient_id` is left out and each image stands for itself, once that is declared (`planes.unit: image`). Errors count
rows from 1, the header not included, as those of the scan table do.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import fingerprint, fingerprint_file, inside
from ssl_zoo.planes.images import load_images
from ssl_zoo.scans.table import VIDEO_SUFFIXES

__all__ = ["Planes", "build_planes", "load_images", "read_planes", "refuse_outside"]

REQUIRED = ("image", "label", "patient_id")
OPTIONAL = ("frame", "split", "cohort", "site")
DECIDING = ["image", "label", "patient_id", "frame", "cohort"]  # numbers; `split` does by the rows of the splits alone
SPLITS = ("train", "val", "test")
INTERNAL = "internal"
ALLOW = "planes.allow_outside=true permits it"


@dataclass(frozen=True)
class Planes:
    """Labelled images. `table` has index 0..N-1 and the columns

    image (as in the source), path (absolute), label, patient_id (all str), frame (Int64, NA for still images),
    split ("" where none is given), cohort, site, where (opens an error's sentence); further columns of the
    source come after these.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    fingerprint: str  # changes with any label, patient, cohort or pixel, and with nothing that decides no number
    by_image: bool = False  # patients are unknown: every image stands for itself
    sector: str = "keep"  # or crop, mask: what becomes of what lies beside the ultrasound sector

    @property
    def pictures(self) -> str:
        """A fingerprint of the images as they are decoded; see `pictures_of`."""
        return pictures_of(self.fingerprint, self.sector)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def labels(self) -> np.ndarray:
        """int64 `[N]`: position of each row's label in `classes`."""
        codes = {name: code for code, name in enumerate(self.classes)}
        return self.table["label"].map(codes).to_numpy(dtype=np.int64)

    @property
    def patients(self) -> np.ndarray:
        """str objects `[N]`."""
        return self.table["patient_id"].to_numpy(dtype=object)

    @property
    def internal(self) -> np.ndarray:
        """bool `[N]`: rows that may be trained on."""
        return (self.table["cohort"] == INTERNAL).to_numpy(dtype=bool)


def pictures_of(table: str, sector: str) -> str:
    """A fingerprint of decoded planes, from that of their table and from what is cut off them."""
    return table if sector == "keep" else fingerprint([table, sector])


def read_planes(
    csv: Path | str, classes: Sequence[str] | None = None, *, by_image: bool = False, allow_outside: bool = False
) -> Planes:
    """Read and check a plane table; `classes` fixes the class list and its order (default: the labels, sorted).

    `by_image`: the table has no patients, and each file stands for itself (frames of one video stay together). No
    path may leave the table's folder, by `..` or by a link, unless `allow_outside`.

    Raises UserError, naming file and row, for a missing column, an empty or unknown label, a patient without
    a name, a file that is not there or leaves the folder, a video without frame number, an impossible split, or
    patients in a table that is said to have none.
    """
    csv = Path(csv)
    raw = _read_csv(csv)
    missing = [name for name in REQUIRED if name not in raw.columns and not (by_image and name == "patient_id")]
    if missing:
        columns = f"{csv.name}: no column '{missing[0]}' (the table has: {', '.join(map(str, raw.columns))})"
        hint = "; where patients are not known, planes.unit=image lets each image stand for itself"
        raise UserError(columns + (hint if missing == ["patient_id"] else ""))
    if raw.empty:
        raise UserError(f"{csv.name}: the table has no rows")
    where = [f"{csv.name}, row {row + 1}" for row in range(len(raw))]
    if by_image:
        raw = _without_patients(raw, csv.name)
    columns = [f"{place}, column 'image'" for place in where]
    if allow_outside:
        paths = [csv.parent / name for name in raw["image"]]
    else:
        paths = [_inside(csv.parent, name, place) for name, place in zip(raw["image"], columns, strict=True)]
        refuse_outside(paths, csv.parent, raw["image"], columns)
    raw = raw.assign(path=[str(path) for path in paths], where=where)
    return build_planes(raw, csv.name, classes, by_image=by_image)


def build_planes(
    raw: pd.DataFrame, name: str, classes: Sequence[str] | None = None, *, by_image: bool = False
) -> Planes:
    """Planes from a table of strings with the columns of a plane table plus `path` and `where`; `name` opens errors.

    Every source ends here, so that all are checked alike.
    """
    raw = raw.reset_index(drop=True)
    where = list(raw["where"])
    for column in REQUIRED:
        for place, value in zip(where, raw[column], strict=True):
            if not value:
                raise UserError(f"{place}: the column '{column}' is empty")
    table = pd.DataFrame({"image": raw["image"], "path": [os.path.abspath(path) for path in raw["path"]]})
    table["label"] = raw["label"]
    table["patient_id"] = raw["patient_id"]
    table["frame"] = pd.array(_frames(raw, where), dtype="Int64")
    table["cohort"] = _column(raw, "cohort").where(lambda values: values != "", INTERNAL)
    table["split"] = _splits(raw, table["cohort"], where)
    table["site"] = _column(raw, "site")
    table["where"] = where
    table = table[["image", "path", "label", "patient_id", "frame", "split", "cohort", "site", "where"]]
    table = pd.concat([table, raw.drop(columns=[name for name in raw if name in table.columns])], axis=1)
    known = _classes(table, name, classes)
    decides = table[DECIDING].astype(object)
    contents = [known, by_image, decides.where(decides.notna(), None).to_numpy().tolist(), _file_marks(table)]
    return Planes(table, known, fingerprint(contents), by_image)


def refuse_outside(paths: Iterable[Path | str], root: Path | str, names: Iterable[str], where: Iterable[str]) -> None:
    """Raise UserError for the first of `paths` that lies outside `root` once its links are followed.

    `names` and `where` (one for each path) say it in the error's words. A file is resolved only where it is a link
    itself; its folder is resolved once.
    """
    inner = Path(root).resolve()
    folders: dict[str, bool] = {}
    for path, name, place in zip(paths, names, where, strict=True):
        folder = os.path.dirname(path)
        if folder not in folders:
            folders[folder] = Path(folder).resolve().is_relative_to(inner)
        stays = Path(path).resolve().is_relative_to(inner) if os.path.islink(path) else folders[folder]
        if not stays:
            raise UserError(f"{place}: '{name}' leaves the folder '{root}' by a link; {ALLOW}")


def _inside(root: Path, relative: str, where: str) -> Path:
    try:
        return inside(root, relative, where)
    except UserError as error:
        raise UserError(f"{error} ({ALLOW})") from None


def _without_patients(raw: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with each file as its own patient; UserError where it does name patients."""
    if "patient_id" in raw.columns and (raw["patient_id"] != "").any():
        row = int(np.flatnonzero(raw["patient_id"] != "")[0])
        raise UserError(
            f"{name}, row {row + 1}: the table names the patient '{raw['patient_id'].iloc[row]}'; planes.unit=image "
            "would put images of one patient on both sides of a split, so leave it out"
        )
    return raw.assign(patient_id=[PurePosixPath(image).as_posix() if image else "" for image in raw["image"]])


def _read_csv(csv: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header
            raw = pd.read_csv(
                csv, dtype=str, keep_default_na=False, encoding="utf-8-sig", skip_blank_lines=False, index_col=False
            )
    except FileNotFoundError:
        raise UserError(f"{csv}: no such file") from None
    except IsADirectoryError:
        raise UserError(f"{csv}: is a folder, not a table") from None
    except pd.errors.EmptyDataError:
        raise UserError(f"{csv.name}: the table is empty") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise UserError(f"{csv.name}: not a CSV table in UTF-8 ({error})") from None
    raw.columns = [str(name).strip() for name in raw.columns]
    if raw.columns.has_duplicates:
        raise UserError(f"{csv.name}: the column '{raw.columns[raw.columns.duplicated()][0]}' is there twice")
    raw = raw.apply(lambda column: column.fillna("").str.strip())
    # Blank lines carry nothing, but later rows keep the numbers that a spreadsheet shows: only a blank tail is cut.
    filled = np.flatnonzero((raw != "").any(axis=1).to_numpy())
    return raw.iloc[: filled[-1] + 1] if len(filled) else raw.iloc[:0]


def _column(raw: pd.DataFrame, name: str) -> pd.Series:
    return raw[name] if name in raw.columns else pd.Series([""] * len(raw), index=raw.index, dtype=str)


def _frames(raw: pd.DataFrame, where: list[str]) -> list[Any]:
    frames: list[Any] = []
    for image, value, place in zip(raw["image"], _column(raw, "frame"), where, strict=True):
        video = Path(image).suffix.lower() in VIDEO_SUFFIXES
        if not value and video:
            raise UserError(f"{place}: '{image}' is a video, so the column 'frame' must say which image of it")
        if not value:
            frames.append(pd.NA)
            continue
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if number < 0 or not number.is_integer():
            raise UserError(f"{place}: frame '{value}' is not a whole number from 0 on")
        if not video:
            raise UserError(f"{place}: frame {value} is given, but '{image}' is not a video")
        frames.append(int(number))
    return frames


def _splits(raw: pd.DataFrame, cohorts: pd.Series, where: list[str]) -> list[str]:
    splits = [value.lower() for value in _column(raw, "split")]
    for value, place in zip(splits, where, strict=True):
        if value and value not in SPLITS:
            raise UserError(f"{place}: {unknown('split', value, SPLITS)}")
    rows = [row for row, cohort in enumerate(cohorts) if cohort == INTERNAL]
    empty = [row for row in rows if not splits[row]]
    if empty and len(empty) < len(rows):
        raise UserError(f"{where[empty[0]]}: the column 'split' is empty, though other rows have one")
    return splits


def _classes(table: pd.DataFrame, name: str, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = sorted(set(table["label"]))
    known = tuple(found if classes is None else [str(label) for label in classes])
    if len(set(known)) < len(known):
        raise UserError(f"{name}: the class list names a class twice: {', '.join(known)}")
    for label, place in zip(table["label"], table["where"], strict=True):
        if label not in known:
            same = [other for other in known if other.casefold() == label.casefold()]
            hint = f"unknown label '{label}'; did you mean '{same[0]}'?" if same else unknown("label", label, known)
            raise UserError(f"{place}: {hint}")
    for label in known:
        if label not in found:
            raise UserError(f"{name}: no image has the label '{label}' of the class list")
    if len(known) < 2:
        raise UserError(f"{name}: all images have the label '{found[0]}', and one class is nothing to tell apart")
    return known


def _file_marks(table: pd.DataFrame) -> list[Any]:
    """What tells each file from any other, in the order of the rows; a file that is not there is a UserError."""
    files = table.drop_duplicates("path")

    def mark(path: str, place: str, image: str) -> Any:
        try:
            return _video_mark(path) if Path(path).suffix.lower() in VIDEO_SUFFIXES else fingerprint_file(Path(path))
        except FileNotFoundError:
            raise UserError(f"{place}: no such file '{image}'") from None
        except OSError as error:
            raise UserError(f"{place}: '{image}' cannot be read ({error.strerror})") from None

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(mark, files["path"], files["where"], files["image"]))


def _video_mark(path: str, block: int = 1 << 14) -> list[Any]:
    """Size of a video, and a hash of its beginning, middle and end.

    All of it would take long to read. A video that is written anew differs in these, as its container lists the sizes
    of its frames; one whose uncompressed pixels are changed in place may not.
    """
    size = os.path.getsize(path)
    digest = hashlib.blake2b(digest_size=8)
    with open(path, "rb") as handle:
        for start in sorted({0, max(0, size // 2 - block // 2), max(0, size - block)}):
            handle.seek(start)
            digest.update(handle.read(block))
    return [size, digest.hexdigest()]
