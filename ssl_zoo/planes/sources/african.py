"""The African cohort: four fetal planes from five countries, published to test models of FETAL_PLANES_DB elsewhere.

Sendra-Balcells et al. 2023, doi 10.1038/s41598-023-29490-3. `Patient_num` begins anew in each country, so a patient
is country and number. What the values of the column `Train` mean is not documented, so it is not used: as an external
cohort all images are tested on, and as a source of its own patients are divided as those of any table.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources.listing import Listing, checked_labels, present, unused_pattern
from ssl_zoo.scans.sources.facts import Facts, root_of

TABLE = "African_planes_database.csv"
COLUMNS = ("Patient_num", "Plane", "Center", "Filename")
PER_COUNTRY = {"Algeria": 100, "Egypt": 100, "Ghana": 75, "Malawi": 100, "Uganda": 75}

FACTS = Facts(
    title="the African cohort",
    shows="fetal abdomen, brain, femur and (not in Ghana and Uganda) thorax in five African countries",
    layout=f"{TABLE} and one folder of PNG for each country (Algeria, Egypt, Ghana, Malawi, Uganda)",
    paper="Sendra-Balcells et al. 2023, Scientific Reports 13:2728, doi 10.1038/s41598-023-29490-3",
    licence="CC BY 4.0",
    where="Zenodo, record 7540448 (Zenodo_dataset.tar.xz, 41 MB)",
    split="none used: what its column Train means is not documented",
    patients="country and Patient_num, which begins anew in each country",
    counts={"Fetal abdomen": 125, "Fetal brain": 125, "Fetal femur": 125, "Fetal thorax": 75},
    total=450,
    n_patients=127,  # ids; 125 patients nominally, two from Malawi being completed by another's images
)


def planes(path: Path, patient_pattern: str | None = None) -> Listing:
    """All 450 images, without a split; `site` is the country."""
    root = root_of(path, TABLE, FACTS)
    try:
        raw = pd.read_csv(root / TABLE, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{root / TABLE}: not a CSV table in UTF-8 ({error})") from None
    raw.columns = [str(name).strip() for name in raw.columns]
    if missing := [name for name in COLUMNS if name not in raw.columns]:
        raise FACTS.misfit(root / TABLE, f"the table has no column '{missing[0]}'")
    raw = raw.fillna("").apply(lambda column: column.str.strip())
    table = pd.DataFrame(
        {
            "image": raw["Center"] + "/" + raw["Filename"].str.removesuffix(".png") + ".png",
            "label": raw["Plane"],
            "patient_id": raw["Center"] + " " + raw["Patient_num"],
            "site": raw["Center"],
            "where": [f"{TABLE}, row {row + 1}" for row in range(len(raw))],
        }
    )
    for column in ("Center", "Patient_num"):
        if (empty := raw[column] == "").any():
            raise UserError(f"{table['where'][int(empty.to_numpy().argmax())]}: the column '{column}' is empty")
    table["path"] = [str(root / image) for image in table["image"]]
    checked_labels(table["label"], root / TABLE, FACTS)
    notes = unused_pattern(patient_pattern, FACTS)
    notes += FACTS.deviations(table["label"].value_counts().to_dict(), table["patient_id"].nunique())
    sites = table["site"].value_counts().to_dict()
    if wrong := [f"{name} {sites.get(name, 0)} of {n}" for name, n in PER_COUNTRY.items() if sites.get(name, 0) != n]:
        notes.append(f"{FACTS.title}: images that differ in number from those published: {', '.join(wrong)}")
    table, absent = present(table, root, FACTS)
    return Listing(table.reset_index(drop=True), TABLE, notes=(*notes, *absent))
