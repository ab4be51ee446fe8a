"""EchoNet-Dynamic and EchoNet-Pediatric: apical (and short-axis) echocardiogram videos, 112 x 112.

Ouyang et al. 2020, doi 10.1038/s41586-020-2145-8; Reddy et al. 2023, doi 10.1016/j.echo.2023.01.015. Both are under a
data use agreement. Pre-training uses the videos of all splits; their column `Split` is kept as `split`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.scans.sources.facts import Facts, root_of
from ssl_zoo.scans.sources.listing import beside, listed, read_table
from ssl_zoo.scans.table import Scans

DYNAMIC = Facts(
    title="EchoNet-Dynamic",
    shows="apical four-chamber videos, 112 x 112",
    layout="FileList.csv and Videos/*.avi",
    paper="Ouyang et al. 2020, Nature 580:252, doi 10.1038/s41586-020-2145-8",
    licence="Stanford University's research use agreement",
    where="echonet.github.io/dynamic, on signing its agreement",
    split="the column Split (TRAIN, VAL, TEST) is kept; pre-training uses all",
    patients="each video is of another patient",
    total=10030,
)
PEDIATRIC = Facts(
    title="EchoNet-Pediatric",
    shows="apical four-chamber (A4C) and parasternal short-axis (PSAX) videos of children",
    layout="A4C/ and PSAX/, each with FileList.csv and Videos/*.avi",
    paper="Reddy et al. 2023, J Am Soc Echocardiogr 36:482, doi 10.1016/j.echo.2023.01.015",
    licence="Stanford University's research use agreement",
    where="echonet.github.io/pediatric, on signing its agreement",
    split="the column Split (0 to 9: 0-6 train, 7 val, 8-9 test) is kept; pre-training uses all",
    patients="the part of a file's name before its first hyphen, the video itself where there is none",
    unit="recording",
    counts={"A4C": 3284, "PSAX": 4526},
    total=7810,
    unsure="that names begin with the patient is inferred; 3176 and 4424 videos are given elsewhere, after filtering",
)
FILTERED = {"A4C": 3176, "PSAX": 4424}


def dynamic(path: Path) -> Scans:
    """All videos of `FileList.csv`, whose names have no suffix there."""
    root = root_of(path, "FileList.csv", DYNAMIC)
    raw = read_table(root / "FileList.csv", ("FileName", "Split"), DYNAMIC)
    stems = raw["FileName"].str.removesuffix(".avi")
    if twice := list(stems[stems.duplicated()]):
        raise UserError(f"{root / 'FileList.csv'}: the video '{twice[0]}' is there twice")
    rows = pd.DataFrame({"scan": "Videos/" + stems + ".avi", "scan_id": stems, "patient_id": stems})
    rows = rows.assign(split=raw["Split"].str.lower(), fps=_rates(raw))
    notes = DYNAMIC.deviations({"videos": len(rows)}, what="videos")
    return listed(root, rows, DYNAMIC, notes + beside(root / "Videos", ".avi", set(stems + ".avi"), DYNAMIC))


def pediatric(path: Path) -> Scans:
    """All videos of the two views, whose names have their suffix in the tables."""
    root = root_of(path, "A4C/FileList.csv", PEDIATRIC)
    parts, notes, counts = [], [], {}
    for view in PEDIATRIC.counts:
        file = root / view / "FileList.csv"
        if not file.is_file():
            notes.append(f"{PEDIATRIC.title}: no {view}/FileList.csv; its videos are left out")
            continue
        raw = read_table(file, ("FileName", "Split"), PEDIATRIC)
        stems = raw["FileName"].str.removesuffix(".avi")
        if twice := list(stems[stems.duplicated()]):
            raise UserError(f"{file}: the video '{twice[0]}' is there twice")
        part = pd.DataFrame({"scan": f"{view}/Videos/" + stems + ".avi", "scan_id": f"{view}/" + stems})
        parts.append(
            part.assign(patient_id=stems.str.partition("-")[0], split=raw["Split"], view=view, fps=_rates(raw))
        )
        counts[view] = len(part)
        notes += beside(root / view / "Videos", ".avi", set(stems + ".avi"), PEDIATRIC)
    if counts != FILTERED:
        notes += PEDIATRIC.deviations(counts, what="videos")
    notes.append(f"{PEDIATRIC.title}: no patient ids were published; patients: {PEDIATRIC.patients}")
    return listed(root, pd.concat(parts, ignore_index=True), PEDIATRIC, notes)


def _rates(raw: pd.DataFrame) -> pd.Series:
    """Frames a second as the table gives them, NaN where it does not; files tell theirs themselves."""
    if "FPS" not in raw:
        return pd.Series(float("nan"), index=raw.index)
    rates = raw["FPS"].str.extract(r"^(\d+(?:\.\d+)?)$")[0].astype(float)
    return rates.mask(rates == 0)
