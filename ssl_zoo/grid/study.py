"""A study made ready: its scans as a frame store, its planes as one array, its splits, all in one run folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ssl_zoo.config import Experiment, PhantomConfig, dump, load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint, read_json, replacing, write_json, write_text
from ssl_zoo.grid.criteria import check_criteria
from ssl_zoo.grid.entrants import STORE, entrants, stores
from ssl_zoo.grid.inits import given_inits
from ssl_zoo.grid.settings import check_names
from ssl_zoo.grid.stores import make_store
from ssl_zoo.phantom import write_cohort
from ssl_zoo.planes.sources import open_planes
from ssl_zoo.planes.splits import Split, make_splits, nested_subset
from ssl_zoo.planes.table import Planes, load_images
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import Scans, read_scans

CHUNK = 512  # planes decoded at a time


@dataclass(frozen=True)
class Study:
    """Everything that a cell or a pre-training run reads, and where it writes."""

    experiment: Experiment
    run: Path
    stores: dict[str, FrameStore]  # by folder, see `entrants.stores`; empty where nothing is pre-trained
    planes: Planes
    images: np.ndarray  # uint8 [N, size, size] or [N, size, size, 3], a memory map, one row per plane
    splits: list[Split]

    @property
    def store(self) -> FrameStore | None:
        """The frames that variants without frames of their own share; None where nothing is pre-trained."""
        return self.stores.get(STORE)


def check_inputs(experiment: Experiment) -> None:
    """Find what is wrong with what the user gave, before anything is written or computed."""
    if experiment.folder is not None and not Path(experiment.folder).is_dir():
        hint = f" {experiment.folder_hint}" if experiment.folder_hint else ""
        raise UserError(f"folder: '{experiment.folder}' does not exist.{hint}")
    check_names(experiment)
    given_inits(experiment)
    if "phantom" not in (experiment.scans.source, experiment.planes.source):
        _checked_tables(experiment, None)


def prepare(experiment: Experiment, *, progress: bool = True) -> Study:
    """Make what is missing in the run folder: frame store, planes, splits. Finished parts are left as they are.

    The caller has called `check_inputs`.
    """
    run = experiment.run_folder
    write_text(run / "experiment.yaml", dump(experiment))
    phantom = None
    if "phantom" in (experiment.scans.source, experiment.planes.source):
        phantom = phantom_folder(experiment)
        write_phantom(experiment.phantom, phantom, workers=experiment.compute.workers, progress=progress)
    scans, planes, splits = _checked_tables(experiment, phantom)
    _write_planes(experiment, planes, splits)
    if scans is not None:
        for folder, frames in stores(experiment).items():
            make_store(scans, run / folder, frames, workers=experiment.compute.workers, progress=progress)
    return open_study(run)


def open_study(run: Path) -> Study:
    """Open a prepared run folder; cheap, for each worker."""
    experiment = load_experiment(run / "experiment.yaml")
    folder = run / "planes"
    meta = read_json(folder / "planes.json")
    planes = Planes(
        table=pd.read_parquet(folder / "table.parquet"),
        classes=tuple(meta["classes"]),
        fingerprint=meta["fingerprint"],
        by_image=meta["by_image"],
    )
    splits = [
        Split(split["fold"], *(np.array(split[side], dtype=np.int64) for side in ("train", "val", "test")))
        for split in read_json(folder / "splits.json")["splits"]
    ]
    return Study(
        experiment=experiment,
        run=run,
        stores={name: FrameStore.open(run / name) for name in stores(experiment)} if entrants(experiment) else {},
        planes=planes,
        images=np.load(folder / "images.npy", mmap_mode="r"),
        splits=splits,
    )


def splits_of(experiment: Experiment, planes: Planes) -> list[Split]:
    """The experiment's division of patients; one split for a hold-out, one for each fold otherwise."""
    config = experiment.planes
    return make_splits(
        planes,
        config.protocol,
        folds=config.folds,
        seed=config.seed,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
    )


def check_subsets(experiment: Experiment, planes: Planes, splits: list[Split]) -> None:
    """Refuse a label fraction for which a subset cannot be drawn, before any work."""
    transfer = experiment.transfer
    fractions = {*transfer.fractions, *(transfer.finetune.fractions or [])}
    for split in splits:
        for fraction in sorted(fractions):
            nested_subset(planes, split.train, fraction, transfer.seeds[0])


def phantom_folder(experiment: Experiment) -> Path:
    """Where the phantom's files go: one folder for each set of its settings, shared by experiments."""
    return Path(experiment.data) / f"phantom-{fingerprint(dataclasses.asdict(experiment.phantom))[:8]}"


def write_phantom(config: PhantomConfig, folder: Path, *, workers: int | None, progress: bool) -> None:
    """Write the phantom cohort of an experiment, unless it is there already."""
    write_cohort(folder, **dataclasses.asdict(config), workers=workers, progress=progress)


def _checked_tables(experiment: Experiment, phantom: Path | None) -> tuple[Scans | None, Planes, list[Split]]:
    """The scan table (None where nothing is pre-trained), the labelled planes and their splits, found to be sound."""

    def place(source: str, table: str) -> str:
        return str(phantom / table) if source == "phantom" and phantom is not None else source

    planes = open_planes(
        place(experiment.planes.source, "planes.csv"),
        classes=experiment.planes.classes,
        patient_pattern=experiment.planes.patient_pattern,
    )
    splits = splits_of(experiment, planes)
    check_subsets(experiment, planes, splits)
    if not entrants(experiment):
        return None, planes, splits
    check_criteria(experiment, planes, splits)
    given = experiment.scans
    table = Path(place(given.source, "scans.csv"))
    scans = read_scans(table, given.patient_pattern, fps=given.fps, allow_outside=given.allow_outside)
    _refuse_shared_patients(scans.table, planes)
    return scans, planes, splits


def _refuse_shared_patients(scans: pd.DataFrame, planes: Planes) -> None:
    shared = sorted(set(scans["patient_id"]) & set(planes.table["patient_id"]))
    if shared:
        some = ", ".join(shared[:5]) + (", ..." if len(shared) > 5 else "")
        raise UserError(
            f"{len(shared)} patient(s) have both pre-training scans and labelled planes ({some}); "
            "take their scans out of the scan table, or pre-training sees test patients"
        )


def _write_planes(experiment: Experiment, planes: Planes, splits: list[Split]) -> None:
    """Decode the planes once into the run folder; left alone when they are there already."""
    frames = experiment.frames
    folder = experiment.run_folder / "planes"
    sides = [
        {
            "fold": int(split.fold),
            **{side: getattr(split, side).tolist() for side in ("train", "val", "test")},
        }
        for split in splits
    ]
    meta = {
        "fingerprint": planes.fingerprint,
        "classes": list(planes.classes),
        "size": frames.size,
        "channels": frames.channels,
        "splits": fingerprint(sides),
        "by_image": planes.by_image,
    }
    if (folder / "planes.json").is_file() and read_json(folder / "planes.json") == meta:
        return
    shape = (len(planes), frames.size, frames.size, *([] if frames.channels == 1 else [3]))
    with replacing(folder) as part:
        part.mkdir()
        images = np.lib.format.open_memmap(part / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        for first in range(0, len(planes), CHUNK):  # so that memory is bounded, however many planes there are
            rows = np.arange(first, min(first + CHUNK, len(planes)))
            images[rows] = load_images(planes, frames.size, frames.channels, rows=rows)
        images.flush()
        planes.table.assign(path=planes.table["path"].astype(str)).to_parquet(part / "table.parquet")
        write_json(part / "splits.json", {"hash": fingerprint(sides), "splits": sides})
        write_json(part / "planes.json", meta)
