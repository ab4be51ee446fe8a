"""UltraBench: seven classification tasks in one format, made by its authors' program from the original data sets.

Tupper and Gagné 2025, arXiv 2501.13193. The program (`pip install ultrabench`; `ultrabench pocus RAW OUT`) writes a
folder for each task, `OUT/pocus_v1.0.1`: images, masks, and the arrays `train.json`, `validation.json` and `test.json`
(`train_val.json` and `test.json` before version 1), one object an image. A source of ours is given that folder, or OUT.
The format is that of version 1.0.1 and, for `train_val.json`, of the splits in the program's repository.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_zoo.errors import UserError
from ssl_zoo.files import inside, read_json
from ssl_zoo.planes.sources.listing import Listing, checked_labels, present, unused_pattern
from ssl_zoo.scans.sources.facts import Facts, in_short

PAPER = "Tupper and Gagné 2025, Transactions on Machine Learning Research, arXiv 2501.13193"
FILES = {"train.json": "train", "train_val.json": "train", "validation.json": "val", "test.json": "test"}
NAMES = ("class", "pathology", "image_quality")  # keys under which the tasks write a class's name
NO_PATIENTS = "none: no ids were published, each image counts for itself; train and validation may share patients"


@dataclass(frozen=True)
class Task:
    """One task: its facts, the folder that the program writes, its classes by their number, and who a patient is."""

    facts: Facts
    folder: str
    classes: tuple[str, ...]
    patient: str = ""  # the key of the patient or recording; empty: the image
    patient_form: str = "{}"


def _facts(title: str, shows: str, task: str, **known: Any) -> Facts:
    return Facts(
        title=f"UltraBench {title}",
        shows=shows,
        layout="train.json, validation.json (or train_val.json) and test.json, and the images they name",
        paper=PAPER,
        where=f"{known.pop('origin')}; then pip install ultrabench and 'ultrabench {task} RAW OUT'",
        split="UltraBench's own, " + known.pop("split"),
        **known,
    )


MMOTU_CLASSES = (
    "Chocolate cyst",
    "Serous cystadenoma",
    "Teratoma",
    "Theca cell tumor",
    "Simple cyst",
    "Normal ovary",
    "Mucinous cystadenoma",
    "High grade serous",
)

# Where the counts are from. AUL, Butterfly: UltraBench's documentation. Fatty liver: its program, of 55 patients with
# ten images each; that 17 of them are normal is not confirmed. GBCU: 1255 images of 218 patients, as its authors state.
# MMOTU: its authors state 1469 images, of whose classes only third parties' copies of the paper's table were seen.
# POCUS: 1645 images to train on and 457 to test on. CAMUS: all frames of its half sequences.
TASKS: dict[str, Task] = {
    "aul": Task(
        _facts(
            "AUL",
            "liver masses: normal, benign, malignant",
            "aul",
            origin="Annotated Ultrasound Liver, Zenodo, record 7272660",
            licence="that of the original on Zenodo",
            split="7:1:2",
            patients="each image is of another patient",
            counts={"Normal": 100, "Benign": 200, "Malignant": 435},
            total=735,
            n_patients=735,
        ),
        "aul_mass",
        ("Normal", "Benign", "Malignant"),
    ),
    "butterfly": Task(
        _facts(
            "Butterfly",
            "nine regions of the body",
            "butterfly",
            origin="github.com/ButterflyNetwork/MITGrandHack2018",
            licence="that of the original's repository",
            split="the original test patients; 8:2 of the others by patient",
            patients="the key patient",
            total=41076,
            n_patients=31,
        ),
        "butterfly",
        ("carotid", "2ch", "lungs", "ivc", "4ch", "bladder", "thyroid", "plax", "morisons_pouch"),
        "patient",
    ),
    "camus": Task(
        _facts(
            "CAMUS",
            "the quality of apical views: poor, medium, good",
            "camus",
            origin="CAMUS, humanheart-project.creatis.insa-lyon.fr/database",
            licence="that of the original; registration",
            split="7:1:2 by patient",
            patients="the key patient, written as CAMUS does",
            total=19232,
            n_patients=500,
        ),
        "camus",
        ("Poor", "Medium", "Good"),
        "patient",
        "patient{:04d}",  # as the scans of CAMUS are called, so that patients in both are found
    ),
    "fatty_liver": Task(
        _facts(
            "fatty liver",
            "fatty liver: normal, NFLD",
            "fatty_liver",
            origin="Dataset of B-mode fatty liver ultrasound images, Zenodo, record 1009146",
            licence="that of the original on Zenodo",
            split="7:1:2 by patient",
            patients="the key patient",
            counts={"Normal": 170, "NFLD": 380},
            total=550,
            n_patients=55,
            unconfirmed=True,
            unsure="how many of the patients are normal (17) and have a fatty liver (38) is not confirmed",
        ),
        "fatty_liver",
        ("Normal", "NFLD"),
        "patient",
    ),
    "gbcu": Task(
        _facts(
            "GBCU",
            "gallbladder: normal, benign, malignant",
            "gbcu",
            origin="Gallbladder Cancer Ultrasound, gbc-iitd.github.io/data/gbcu",
            licence="that of the original; on request",
            split="the original test images, of other patients than the rest; 9:1 of the rest, by image",
            patients=NO_PATIENTS,
            unit="image",
            counts={"normal": 432, "benign": 558, "malignant": 265},
            total=1255,
        ),
        "gbcu",
        ("normal", "benign", "malignant"),
    ),
    "mmotu": Task(
        _facts(
            "MMOTU",
            "eight kinds of ovary and ovarian tumour",
            "mmotu",
            origin="MMOTU (OTU_2d), github.com/cv516Buaa/MMOTU_DS2Net",
            licence="that of the original's repository",
            split="the original test images, of other patients than the rest; 8:2 of the rest, by image",
            patients=NO_PATIENTS,
            unit="image",
            counts=dict(zip(MMOTU_CLASSES, (336, 219, 336, 88, 66, 267, 104, 53), strict=True)),
            total=1469,
            unconfirmed=True,
            unsure="the task numbers its classes without naming them; the names follow the colours of its masks, and "
            "the images of each class are as third parties quote the paper",
        ),
        "mmotu",
        MMOTU_CLASSES,
    ),
    "pocus": Task(
        _facts(
            "POCUS",
            "lung: regular, pneumonia, covid",
            "pocus",
            origin="POCUS, github.com/jannisborn/covid19_ultrasound",
            licence="that of each original recording",
            split="7:1:2 by recording",
            patients="unknown: videos and images are grouped by recording (the key source), not by patient, so that "
            "recordings of one patient may stand on both sides",
            unit="recording",
            total=2102,
        ),
        "pocus",
        ("regular", "pneumonia", "covid"),
        "source",
    ),
}


def listing(task: Task, path: Path, patient_pattern: str | None = None) -> Listing:
    """All images of a task in UltraBench's split. Folders of version 0 have no validation side."""
    root, notes = _root(task, path)
    rows = []
    found = [name for name in FILES if (root / name).is_file()]
    if "train.json" in found and "train_val.json" in found:
        raise UserError(f"{root}: holds train.json and train_val.json, of two versions of UltraBench; remove one")
    if missing := [need for need in ("train", "test") if need not in {FILES[name] for name in found}]:
        raise task.facts.misfit(root, f"holds no {missing[0]}.json")
    for name in found:
        objects = read_json(root / name)
        if not isinstance(objects, list) or not all(isinstance(entry, dict) for entry in objects):
            raise task.facts.misfit(root / name, "is not an array of objects")
        rows += [_row(task, root, entry, FILES[name], f"{name}, object {n}") for n, entry in enumerate(objects, 1)]
    table = pd.DataFrame(rows, columns=["image", "path", "label", "patient_id", "split", "where"])
    if table.empty:
        raise task.facts.misfit(root, "lists no image")
    facts = task.facts
    checked_labels(table["label"], root, facts)
    notes += unused_pattern(patient_pattern, facts)
    absent_classes = [name for name in task.classes if name not in set(table["label"])]
    if absent_classes and not facts.counts:
        notes.append(f"{facts.title}: no image of {in_short(absent_classes)}")
    notes += facts.deviations(table["label"].value_counts().to_dict(), table["patient_id"].nunique())
    if facts.unit != "patient":
        notes.append(f"{facts.title}: patients: {facts.patients}")
    table, absent = present(table, root, facts)
    by_image = facts.unit == "image"
    return Listing(table.reset_index(drop=True), root.name, by_image=by_image, notes=(*notes, *absent))


def _root(task: Task, path: Path) -> tuple[Path, list[str]]:
    """The folder of the task: `path`, or in it the one of the newest version."""
    if (path / "test.json").is_file():
        return path, []
    found = {_version(place): place for place in path.glob(f"{task.folder}_v*") if (place / "test.json").is_file()}
    if not found:
        raise task.facts.misfit(path, f"holds no test.json and no folder {task.folder}_v*")
    newest = found[max(found)]
    other = sorted(place.name for place in found.values() if place != newest)
    return newest, [f"{task.facts.title}: read {newest.name}, not {in_short(other)}"] if other else []


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name.rpartition("_v")[2]))


def _row(task: Task, root: Path, entry: dict[str, Any], split: str, place: str) -> tuple[str, ...]:
    """One image; UserError where its object lacks a key, or names another class than its number."""
    for key in filter(None, ("image", "label", task.patient)):
        if entry.get(key) in (None, ""):
            raise task.facts.misfit(root, f"{place}: no '{key}' in {json.dumps(entry)[:120]}")
    code = entry["label"]
    if not isinstance(code, int) or not 0 <= code < len(task.classes):
        raise task.facts.misfit(root, f"{place}: label {code!r} is not a number from 0 to {len(task.classes) - 1}")
    label = task.classes[code]
    for name in (str(entry[key]) for key in NAMES if key in entry):
        if name.casefold() != label.casefold():
            raise task.facts.misfit(root, f"{place}: label {code} is '{label}', and the object names '{name}'")
    image = str(entry["image"]).replace("\\", "/")
    path = inside(root, image, f"{place}, 'image'")
    return image, str(path), label, _patient(task, entry, image, place), split, place


def _patient(task: Task, entry: dict[str, Any], image: str, place: str) -> str:
    if not task.patient:
        return image
    try:
        return task.patient_form.format(entry[task.patient])
    except ValueError:
        raise UserError(f"{place}: the patient {entry[task.patient]!r} is not a number") from None


READERS = {f"ultrabench/{name}": (partial(listing, task), task.facts) for name, task in TASKS.items()}
