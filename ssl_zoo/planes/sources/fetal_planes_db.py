"""FETAL_PLANES_DB: six classes of screening planes of 1,792 pregnancies, and what kind of plane a brain image shows.

Burgos-Artizzu et al. 2020, doi 10.1038/s41598-020-67076-5. The layout is that of the archive on Zenodo; the counts are
those of its table, row by row.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources.listing import Listing, checked_labels, present, unused_pattern
from ssl_zoo.scans.sources.facts import Facts, root_of

TABLE = "FETAL_PLANES_DB_data.csv"
BRAIN = "Fetal brain"
COLUMNS = ("Image_name", "Patient_num", "Plane", "Brain_plane", "Train")
SPLITS = {"1": "train", "0": "test"}

PLANES = Facts(
    title="FETAL_PLANES_DB",
    shows="second- and third-trimester planes: abdomen, brain, femur, thorax, cervix, other",
    layout=f"{TABLE} (columns divided by ';') and Images/*.png",
    paper="Burgos-Artizzu et al. 2020, Scientific Reports 10:10200, doi 10.1038/s41598-020-67076-5",
    licence="CC BY 4.0",
    where="Zenodo, record 3904280 (FETAL_PLANES_ZENODO.zip, 1.9 GB)",
    split="the column Train, 896 patients each: 1 train, 0 test; no validation side",
    patients="Patient_num",
    counts={
        "Other": 4213,
        "Maternal cervix": 1626,
        "Fetal abdomen": 711,
        BRAIN: 3092,
        "Fetal femur": 1040,
        "Fetal thorax": 1718,
    },
    total=12400,
    n_patients=1792,
)
BRAIN_PLANES = dataclasses.replace(
    PLANES,
    title="FETAL_PLANES_DB (brain)",
    shows="its brain images: trans-thalamic, trans-cerebellum, trans-ventricular, other",
    counts={"Trans-thalamic": 1638, "Trans-cerebellum": 714, "Trans-ventricular": 597, "Other": 143},
    total=3092,
    n_patients=None,  # how many patients have a brain image is in no publication
)


def planes(path: Path, patient_pattern: str | None = None) -> Listing:
    """All images; the label is the plane."""
    return _listing(path, PLANES, patient_pattern)


def brain_planes(path: Path, patient_pattern: str | None = None) -> Listing:
    """The images of the brain; the label is `Brain_plane`."""
    return _listing(path, BRAIN_PLANES, patient_pattern)


def _listing(path: Path, facts: Facts, patient_pattern: str | None) -> Listing:
    root = root_of(path, TABLE, facts)
    raw = _read(root / TABLE, facts)
    where = pd.Series([f"{TABLE}, row {row + 1}" for row in range(len(raw))])
    table = pd.DataFrame(
        {
            "image": "Images/" + raw["Image_name"].str.removesuffix(".png") + ".png",
            "label": raw["Plane"],
            "patient_id": _patients(raw, where),
            "split": raw["Train"].map(SPLITS),
            "where": where,
            "brain_plane": raw["Brain_plane"],
            "operator": raw.get("Operator", ""),
            "device": raw.get("US_Machine", ""),
        }
    )
    table["path"] = [str(root / image) for image in table["image"]]
    if (unknown := table["split"].isna()).any():
        row = int(unknown.to_numpy().argmax())
        raise UserError(f"{where[row]}: Train is '{raw['Train'][row]}', and neither 1 (train) nor 0 (test)")
    if facts is BRAIN_PLANES:
        table = table[table["label"] == BRAIN]
        table = table.assign(label=table["brain_plane"])
    checked_labels(table["label"], root / TABLE, facts)
    counts = table["label"].value_counts().to_dict()
    notes = unused_pattern(patient_pattern, facts) + facts.deviations(counts, table["patient_id"].nunique())
    table, absent = present(table, root, facts)
    return Listing(table.reset_index(drop=True), TABLE, notes=(*notes, *absent))


def _read(file: Path, facts: Facts) -> pd.DataFrame:
    """The table, all values text without blanks; the last published header, `Train `, ends in one."""
    try:
        separator = ";" if ";" in file.read_text(encoding="utf-8-sig").partition("\n")[0] else ","
        raw = pd.read_csv(file, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not a CSV table in UTF-8 ({error})") from None
    raw.columns = [str(name).strip() for name in raw.columns]
    if missing := [name for name in COLUMNS if name not in raw.columns]:
        raise facts.misfit(file, f"the table has no column '{missing[0]}'")
    if raw.empty:
        raise facts.misfit(file, "the table has no rows")
    return raw.fillna("").apply(lambda column: column.str.strip())


def _patients(raw: pd.DataFrame, where: pd.Series) -> pd.Series:
    """`Patient00001`, as image names begin; UserError where a name and Patient_num contradict each other."""
    patients = "Patient" + raw["Patient_num"].str.zfill(5)
    wrong = raw["Image_name"].str.partition("_")[0] != patients
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise UserError(f"{where[row]}: '{raw['Image_name'][row]}' is not of Patient_num {raw['Patient_num'][row]}")
    return patients
