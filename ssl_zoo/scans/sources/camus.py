"""CAMUS: two- and four-chamber sequences of 500 patients, as volumes.

Leclerc et al. 2019, doi 10.1109/TMI.2019.2900516. The current layout is `database_nifti/patient0001/` with NIfTI half
sequences (end diastole to end systole); older copies have MetaImage sequences, in `training/` and `testing/`. Masks
(`_gt`) and the single ED and ES images, which are frames of the sequences, are left alone.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from ssl_zoo.scans.sources.facts import Facts, in_short
from ssl_zoo.scans.sources.listing import listed
from ssl_zoo.scans.table import Scans

FACTS = Facts(
    title="CAMUS",
    shows="apical two- and four-chamber sequences",
    layout="database_nifti/patient0001/patient0001_{2CH,4CH}_half_sequence.nii.gz (older: .mhd, _sequence)",
    paper="Leclerc et al. 2019, IEEE TMI 38:2198, doi 10.1109/TMI.2019.2900516",
    licence="that of its site, for research, on registration; read it before use",
    where="humanheart-project.creatis.insa-lyon.fr/database",
    split="database_split/ is not read; pre-training uses all",
    patients="the folder, patient0001 to patient0500",
    counts={"2CH": 500, "4CH": 500},
    total=1000,
    n_patients=500,
)
SEQUENCE = re.compile(r"^(?P<patient>patient\d+)_(?P<view>2CH|4CH)_(?:half_)?sequence\.(?:nii|nii\.gz|mhd)$")
GLOBS = ("patient*", "*/patient*", "*/*/patient*")


def sequences(path: Path) -> Scans:
    """One sequence of each patient and view; frame rates are those of `Info_2CH.cfg` and `Info_4CH.cfg`."""
    if not path.is_dir():
        raise FACTS.misfit(path, "no such folder")
    folders = sorted({place for pattern in GLOBS for place in path.glob(pattern) if place.is_dir()})
    found: dict[tuple[str, str], Path] = {}
    doubles = 0
    for folder in folders:
        for file in sorted(folder.iterdir()):  # of two, half_sequence comes first
            if match := SEQUENCE.match(file.name):
                key = match["patient"], match["view"]
                doubles += key in found
                found.setdefault(key, file)
    if not found:
        raise FACTS.misfit(path, "holds no sequence of a patient")
    rows = pd.DataFrame(
        [
            (file.relative_to(path).as_posix(), f"{patient}_{view}", patient, view, _rate(file.parent, view))
            for (patient, view), file in found.items()
        ],
        columns=["scan", "scan_id", "patient_id", "view", "fps"],
    )
    notes = FACTS.deviations(rows["view"].value_counts().to_dict(), rows["patient_id"].nunique(), what="sequences")
    without = [folder.name for folder in folders if not any(patient == folder.name for patient, _ in found)]
    if without:
        notes.append(f"{FACTS.title}: no sequence in the folder(s) {in_short(without)}")
    if doubles:
        notes.append(f"{FACTS.title}: {doubles} sequences are there in two files, one of which was read")
    return listed(path, rows, FACTS, notes)


def _rate(folder: Path, view: str) -> float:
    """Frames a second by `Info_<view>.cfg` ("Key: value"); NaN where it does not tell."""
    info = folder / f"Info_{view}.cfg"
    if not info.is_file():
        return float("nan")
    match = re.search(r"^FrameRate\s*:\s*([\d.]+)\s*$", info.read_text(encoding="latin-1"), re.MULTILINE)
    rate = float(match[1]) if match else 0.0
    return rate if rate > 0 else float("nan")
