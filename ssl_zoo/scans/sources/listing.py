"""How a published data set becomes Scans: its files are listed, those that are not there are left out, and said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.scans.search import ALLOW, leaves
from ssl_zoo.scans.sources.facts import Facts, in_short
from ssl_zoo.scans.table import Scans

COLUMNS = ("scan", "scan_id", "patient_id")


@dataclass(frozen=True)
class Source:
    """Where scans come from: `opens(path, patient_pattern, fps=..., allow_outside=...)`, and what is known about it."""

    opens: Callable[..., Scans]
    facts: Facts


def published(lists: Callable[[Path], Scans], facts: Facts) -> Source:
    """A source from a function that lists a folder. What it says of patients and frame rates is the data set's own."""

    def opens(
        path: Path, patient_pattern: str | None = None, *, fps: float = 25.0, allow_outside: bool = False
    ) -> Scans:
        scans = lists(path)
        if patient_pattern:
            scans.warnings.append(f"{facts.title} tells who the patients are; the patient pattern was not used")
        if not allow_outside:
            root = scans.root.resolve()
            for scan, file in zip(scans.table["scan"], scans.table["path"], strict=True):
                if leaves(file, root):
                    raise UserError(f"{path}: '{scan}' leaves the folder by a link ({ALLOW})")
        unknown = scans.table["fps"].isna()
        return Scans(scans.root, scans.table.assign(fps=scans.table["fps"].where(~unknown, fps)), scans.warnings)

    return Source(opens, facts)


def listed(root: Path, rows: pd.DataFrame, facts: Facts, notes: list[str]) -> Scans:
    """Scans of `rows` (scan, scan_id, patient_id; optional device, site, fps and others) whose files are there.

    UserError where none is.
    """
    paths = [root / scan for scan in rows["scan"]]
    there = pd.Series([path.is_file() for path in paths], index=rows.index)
    if not there.any():
        raise facts.misfit(root, f"none of its {len(rows)} scans is there, as '{rows['scan'].iloc[0]}'")
    if absent := list(rows.loc[~there, "scan"]):
        notes = [*notes, f"{facts.title}: {len(absent)} scans are not there, left out ({in_short(absent, 2)})"]
    table = rows.assign(path=paths).loc[there].sort_values("scan").reset_index(drop=True)
    defaults: dict[str, str | float] = {"site": "", "device": "", "fps": float("nan"), "spacing_mm": float("nan")}
    table = table.assign(**{name: value for name, value in defaults.items() if name not in table})
    order = ["scan", "path", "scan_id", "patient_id", "site", "device", "fps", "spacing_mm"]
    return Scans(root, table[[*order, *(name for name in table if name not in order)]], notes)


def read_table(file: Path, columns: tuple[str, ...], facts: Facts) -> pd.DataFrame:
    """A published CSV table, all text without blanks; UserError where a column is missing."""
    try:
        raw = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not a CSV table in UTF-8 ({error})") from None
    raw.columns = [str(name).strip() for name in raw.columns]
    if missing := [name for name in columns if name not in raw.columns]:
        raise facts.misfit(file, f"the table has no column '{missing[0]}'")
    if raw.empty:
        raise facts.misfit(file, "the table has no rows")
    return raw.fillna("").apply(lambda column: column.str.strip())


def beside(folder: Path, suffix: str, known: set[str], facts: Facts) -> list[str]:
    """A sentence on files in `folder` that the data set's table does not name."""
    more = sorted(file.name for file in folder.glob(f"*{suffix}") if not file.name.startswith("."))
    more = [name for name in more if name not in known]
    return [f"{facts.title}: {len(more)} videos are in no table, left out ({in_short(more, 2)})"] if more else []
