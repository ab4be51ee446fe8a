"""FEFT: views of the fetal heart in the first trimester, as frames in the authors' train, valid and test folders.

Stoean et al. 2022. No patient ids were published, and neighbouring frames look almost alike, so only the given folders
divide them; whether these folders are disjoint by patient is not known. The folders' names are those that third
parties read, and so is the size of the test folder; other spellings of the same names are taken too.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssl_zoo.planes.sources.listing import Listing, class_folders, compiled, images_in, patient_in, plain
from ssl_zoo.scans.sources.facts import Facts, root_of

SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "val",
    "val": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
CLASSES = {
    "aorta": "Aorta",
    "flows": "Flows",
    "atrioventricular flows": "Flows",
    "other": "Other",
    "others": "Other",
    "v sign": "V sign",
    "x sign": "X sign",
}
TEST_IMAGES, TEST_X_SIGN = 1379, 79

FACTS = Facts(
    title="FEFT (first-trimester fetal heart)",
    shows="aorta, atrioventricular flows, V sign, X sign, other",
    layout="train/, valid/ and test/, each with the folders Aorta, Flows, Other, V sign and X sign",
    paper="Stoean et al. 2022; protocol: BMC Pregnancy and Childbirth 2023, 23:20",
    licence="CC BY 4.0, as third parties state it",
    where="figshare, article 21215492 (file 37624184)",
    split="the folders train, valid and test; whether they are disjoint by patient is not published",
    patients="none: no ids were published, each image counts for itself, and neighbouring frames are near duplicates",
    unit="image",
    total=6720,
    unsure="folder names and licence are from third parties; images of each class and split were not published",
)


def planes(path: Path, patient_pattern: str | None = None) -> Listing:
    """All images in the given split. `patient_pattern` is for those who know more of the names than is published."""
    root = root_of(path, "[tT]est*/*/*.*", FACTS)
    sides = {folder: SPLITS[plain(folder.name)] for folder in sorted(root.iterdir()) if plain(folder.name) in SPLITS}
    if absent := [side for side in ("train", "test") if side not in sides.values()]:
        raise FACTS.misfit(root, f"has no folder '{absent[0]}'")
    pattern = compiled(patient_pattern) if patient_pattern else None
    rows, notes = [], []
    for side, split in sides.items():
        folders, others = class_folders(side, CLASSES, FACTS)
        notes += [note for note in others if note not in notes]
        for folder, label in folders.items():
            for file in images_in(folder):
                name = file.relative_to(root).as_posix()
                patient = name if pattern is None else patient_in(name, pattern, file)
                rows.append((name, str(file), label, patient, split, name))
    table = pd.DataFrame(rows, columns=["image", "path", "label", "patient_id", "split", "where"])
    if table.empty:
        raise FACTS.misfit(root, "holds no images in folders of these names")
    notes += FACTS.deviations(table["label"].value_counts().to_dict()) + _test_folder(table)
    if pattern is None:
        notes.append(f"{FACTS.title}: {FACTS.patients}")
    return Listing(table, root.name, by_image=pattern is None, notes=tuple(notes))


def _test_folder(table: pd.DataFrame) -> list[str]:
    """What third parties have counted in the test folder, and what is there."""
    test = table[table["split"] == "test"]
    counts = {"in all": (len(test), TEST_IMAGES), "of the X sign": ((test["label"] == "X sign").sum(), TEST_X_SIGN)}
    wrong = [
        f"{found} {what}, where {others} were counted" for what, (found, others) in counts.items() if found != others
    ]
    missing = sorted(set(CLASSES.values()) - set(table["label"]))
    said = [f"test images that differ in number: {'; '.join(wrong)}"] if wrong else []
    said += [f"no image of {', '.join(missing)}"] if missing else []
    return [f"{FACTS.title}: {sentence}" for sentence in said]
