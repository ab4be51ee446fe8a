"""Data sets in their published layouts, with small images of every colour mode and of different sizes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

MODES = ("L", "RGB", "RGBA", "P", "I;16", "LA", "1")
MODES_OF_JPEG = ("L", "RGB")
_turn = itertools.count()


def picture(path: Path, grey: int | None = None) -> None:
    """An image whose upper half is white and whose lower half is black, or of one grey; mode and size take turns."""
    turn = next(_turn)
    modes = MODES_OF_JPEG if path.suffix == ".jpg" else MODES
    mode, (width, height) = modes[turn % len(modes)], ((24, 16), (16, 24), (20, 20))[turn % 3]
    pixels = np.full((height, width), 0 if grey is None else grey, np.uint8)
    if grey is None:
        pixels[: height // 2] = 255
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    elif mode == "P":
        image = Image.fromarray(pixels).convert("RGB").convert("P")
    else:
        image = Image.fromarray(pixels).convert(mode)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def fetal_planes_db(root: Path, rows: list[tuple[str, str, str, str]] | None = None) -> Path:
    """(image name, plane, brain plane, train): by default two patients of each side for each plane."""
    if rows is None:
        rows, patient = [], 0
        for plane in ("Other", "Maternal cervix", "Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax"):
            for train in "1100":
                patient += 1
                brain = ("Trans-thalamic", "Trans-cerebellum")[patient % 2] if plane == "Fetal brain" else "Not A Brain"
                rows += [(f"Patient{patient:05d}_Plane1_{n}_of_2", plane, brain, train) for n in (1, 2)]
    lines = ["Image_name;Patient_num;Plane;Brain_plane;Operator;US_Machine;Train "]
    for name, plane, brain, train in rows:
        number = int(name[7:12])
        lines.append(f"{name};{number};{plane};{brain};Op. {number % 3 + 1};Voluson E6;{train} ")
        picture(root / "Images" / f"{name}.png")
    (root / "FETAL_PLANES_DB_data.csv").write_text("\n".join(lines) + "\n")
    return root


def african(root: Path, centers: Collection[str] = ("Algeria", "Egypt", "Ghana", "Malawi", "Uganda")) -> Path:
    """All 450 rows of the published cohort, Malawi having two patients more than the others."""
    suffixes = {"Algeria": "DZA", "Egypt": "EGY", "Ghana": "GHA", "Malawi": "MWI", "Uganda": "UGA"}
    planes = ("Fetal abdomen", "Fetal brain", "Fetal femur", "Fetal thorax")
    lines = ["Patient_num,Plane,Train,Center,Filename"]
    for center in centers:
        for patient, (number, plane) in itertools.product(range(1, 26), enumerate(planes)):
            if plane == "Fetal thorax" and center in ("Ghana", "Uganda"):
                continue
            if center == "Malawi" and number == 3:
                patient = {14: 26, 20: 30}.get(patient, patient)
            name = f"patient{patient:03d}_{suffixes[center]}_plane{number}"
            lines.append(f"{patient},{plane},{patient % 2},{center},{name}")
            picture(root / center / f"{name}.png")
    (root / "African_planes_database.csv").write_text("\n".join(lines) + "\n")
    return root


def feft(root: Path, splits: tuple[str, ...] = ("train", "valid", "test")) -> Path:
    """Three images of each class and split, in folders with blanks."""
    for split, name in itertools.product(splits, ("Aorta", "Flows", "Other", "V sign", "X sign")):
        for number in (1, 2, 10):
            picture(root / split / name / f"{name} {split} ({number}).jpg")
    return root


def cactus(root: Path) -> Path:
    """Four sweeps of each view, three frames each."""
    for place, view in enumerate(("A4C", "PL", "PSAV", "PSMV", "Random", "SC")):
        for sweep, frame in itertools.product((1, 2, 3, 4), (0, 30, 60)):
            picture(root / view / f"{10 * place + sweep}_frame_{frame}_v2.jpg")
    return root


NAMES = {"aul": "pathology", "butterfly": "class", "camus": "image_quality", "fatty_liver": "pathology"}
NAMES |= {"gbcu": "pathology", "pocus": "pathology"}  # MMOTU has only numbers
KEYS = {"butterfly": "patient", "camus": "patient", "fatty_liver": "patient"}


def ultrabench(root: Path, task: str, classes: tuple[str, ...], files: dict[str, int]) -> Path:
    """`files`: file -> images of each class in it. The keys are those that the program writes for the task."""
    number = 0
    for file, each in files.items():
        objects = []
        for (code, name), n in itertools.product(enumerate(classes), range(each)):
            number += 1
            image = f"images/{name.lower().replace(' ', '_')}_{number}.png"
            picture(root / image)
            entry: dict[str, object] = {
                "image": image,
                "scan_mask": image.replace("images", "masks/scan"),
                "label": code,
            }
            if task in NAMES:
                entry[NAMES[task]] = name
            if task in KEYS:
                entry["patient"] = number
            if task == "pocus":
                entry["source"] = f"{file}_{name}_{n // 2}.mp4"
            objects.append(entry)
        (root / file).write_text(json.dumps(objects, indent=4))
    (root / "version.txt").write_text("UltraBench Version: 1.0.1\n")
    return root
