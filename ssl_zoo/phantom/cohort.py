"""A cohort on disk, in the files that a hospital would send: scans, planes and their tables; the truth beside them.

Scans and planes come from different patients. Every patient has a random stream of its own, so that neither the
number of workers nor the size of the cohort changes a patient.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image as Pillow
from tqdm import tqdm

from ssl_zoo.errors import UserError
from ssl_zoo.files import inside, read_json, replacing, write_json
from ssl_zoo.phantom.acoustics import make_scatterers
from ssl_zoo.phantom.patients import CohortSettings, Row, Task, write_patient
from ssl_zoo.phantom.tissue import TISSUES

VERSION = 1  # raise it when the same seed would give other pixels
NOTE = "synthetic; no clinical evidence"
SCAN_COLUMNS = ["scan", "patient_id", "scan_id", "site", "device"]
PLANE_COLUMNS = ["image", "label", "patient_id", "cohort", "site"]


def write_cohort(
    out: Path,
    *,
    scans: int = 100,
    patients: int = 100,
    external_patients: int = 40,
    seed: int = 0,
    frames: int = 60,
    size: int = 256,
    images_per_plane: int = 2,
    crf: int = 20,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Write a synthetic cohort into the folder `out`, whole or not at all, and return `out`.

    `scans`: sweeps of as many patients, of about `frames` frames (+-20 %) at 25 per second, H.264 with quality `crf`;
    `patients` and `external_patients`: labelled patients of the two sites, `images_per_plane` images for each of
    the five planes; `size`: image side in pixels, even. `workers`: processes, by default one per core; they do
    not change a pixel. A cohort with the same settings is left as it is.

    Raises UserError for an impossible setting, or when `out` holds anything else.
    """
    out = Path(out)
    settings = CohortSettings(scans, patients, external_patients, seed, frames, size, images_per_plane, crf)
    _check(settings, workers)
    card = {"version": VERSION, "note": NOTE, "seed": seed, "settings": asdict(settings)}
    if _exists(out, card):
        return out
    counts = {"S": scans, "P": patients, "E": external_patients}
    tasks = [(pool, number) for pool, count in counts.items() for number in range(count)]
    with replacing(out) as part:
        for folder in ("scans", "planes", "truth/scans", "truth/structures"):
            (part / folder).mkdir(parents=True)
        done = _patients(partial(write_patient, part, settings), tasks, seed, workers)
        rows = list(tqdm(done, total=len(tasks), desc="phantom", unit="patient", disable=None if progress else True))
        scan_rows = [row for found in rows[:scans] for row in found]
        plane_rows = [row for found in rows[scans:] for row in found]
        pd.DataFrame(scan_rows, columns=SCAN_COLUMNS).to_csv(part / "scans.csv", index=False)
        pd.DataFrame(plane_rows, columns=PLANE_COLUMNS).to_csv(part / "planes.csv", index=False)
        legend = {str(code): tissue.name for code, tissue in enumerate(TISSUES)}
        write_json(part / "truth" / "structures.json", legend)
        write_json(part / "phantom.json", card)
    return out


def structure_mask(cohort: Path, image: str) -> tuple[np.ndarray, dict[int, str]]:
    """The true tissue of every pixel of a plane image: codes uint8 [size, size], and the name of each code.

    `image` is the path in planes.csv. Code 0 lies outside the sector.
    """
    name = inside(Path(cohort), image, f"{cohort}, structure mask").name
    path = Path(cohort) / "truth" / "structures" / name
    if not path.is_file():
        raise UserError(f"{path}: no structure mask for '{image}'")
    legend = {int(code): tissue for code, tissue in read_json(Path(cohort) / "truth" / "structures.json").items()}
    with Pillow.open(path) as mask:
        return np.array(mask), legend


def _check(settings: CohortSettings, workers: int | None) -> None:
    lowest = dict.fromkeys(asdict(settings), 0) | {"frames": 8, "size": 32, "images_per_plane": 1}
    for name, low in lowest.items():
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            raise UserError(f"phantom setting '{name}' is {value!r}; it must be a whole number of at least {low}")
    if settings.size % 2:
        raise UserError(f"phantom setting 'size' is {settings.size}; H.264 video needs an even number of pixels")
    if settings.crf > 51:
        raise UserError(f"phantom setting 'crf' is {settings.crf}; it must lie between 0 (best) and 51")
    if workers is not None and workers < 1:
        raise UserError(f"phantom workers are {workers}; at least one is needed")
    if settings.scans + settings.patients + settings.external_patients == 0:
        raise UserError("a phantom cohort needs at least one scan or one labelled patient")


def _exists(out: Path, card: dict[str, Any]) -> bool:
    """Whether the very cohort is there already; anything else in `out` is an error."""
    if out.is_file():
        raise UserError(f"{out}: is a file, not a folder for a phantom cohort")
    if not out.is_dir() or not any(out.iterdir()):
        return False
    if not (out / "phantom.json").is_file():
        raise UserError(f"{out}: holds files that are no phantom cohort; choose another folder")
    found = read_json(out / "phantom.json")
    if found == card:
        return True
    old = {**found.get("settings", {}), "version": found.get("version")}
    new = {**card["settings"], "version": card["version"]}
    differ = [f"{name} {old.get(name)} instead of {value}" for name, value in new.items() if old.get(name) != value]
    raise UserError(f"{out}: holds another phantom cohort ({', '.join(differ)}); choose another folder or delete it")


def _patients(
    write: Callable[[Task], list[Row]], tasks: list[Task], seed: int, workers: int | None
) -> Iterator[list[Row]]:
    """Write all patients and give their table rows in the order of `tasks`, in this process or in several."""
    workers = min(workers or min(_cores(), 16), len(tasks))
    if workers == 1:
        yield from map(write, tasks)
        return
    # Spawned, not forked: a fork of a process that already runs torch threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=make_scatterers, initargs=(seed,))
    try:
        yield from pool.map(write, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
