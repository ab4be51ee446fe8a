"""A study made ready: its scans as a frame store, its planes as one array, its splits, all in one run folder."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from ssl_zoo.config import Experiment, PhantomConfig, dump, load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint, read_json, replacing, write_json, write_text
from ssl_zoo.grid.audit import audit, known_findings, refuse
from ssl_zoo.grid.criteria import check_criteria
from ssl_zoo.grid.entrants import STORE, entrants, stores
from ssl_zoo.grid.inits import given_inits
from ssl_zoo.grid.label_budgets import check_subsets
from ssl_zoo.grid.published_numbers import check_published_numbers, keep_published_numbers
from ssl_zoo.grid.settings import check_names
from ssl_zoo.grid.source_notes import SOURCES_FILE, write_notes
from ssl_zoo.grid.stores import make_store
from ssl_zoo.grid.weight_records import check_weights, record_weights
from ssl_zoo.phantom import write_cohort
from ssl_zoo.planes.audit import Finding, crossing_patients
from ssl_zoo.planes.saved_splits import read_splits, splits_from, splits_record
from ssl_zoo.planes.sources import open_cohorts
from ssl_zoo.planes.splits import Split, make_splits
from ssl_zoo.planes.table import Planes, load_images
from ssl_zoo.scans.sources import open_scans
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import Scans

KEEP = "keep"  # planes.sector: nothing is cut off
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
    _check_folder(experiment)
    check_published_numbers(experiment)
    check_weights(experiment)
    check_names(experiment)
    given_inits(experiment)
    if not _needs_phantom(experiment):
        _checked_tables(experiment, None)


def prepare(experiment: Experiment, *, progress: bool = True) -> Study:
    """Make what is missing in the run folder: frame store, planes, splits. Finished parts are left as they are.

    The caller has called `check_inputs`.
    """
    run = experiment.run_folder
    write_text(run / "experiment.yaml", dump(experiment))
    keep_published_numbers(experiment)
    record_weights(experiment)
    phantom = _phantom_of(experiment, progress=progress)
    scans, planes, splits, notes = _checked_tables(experiment, phantom)
    _write_planes(experiment, planes, splits, progress=progress)
    write_notes(experiment, notes, run / "planes" / SOURCES_FILE, progress=progress)
    refuse(experiment, audit(experiment, planes, splits, scans))
    if scans is not None:
        for folder, frames in stores(experiment).items():
            make_store(scans, run / folder, frames, workers=experiment.compute.workers, progress=progress)
        refuse(experiment, audit(experiment, planes, splits, scans))  # now that it is known whose frames are seen
    return open_study(run)


def audited(experiment: Experiment, *, progress: bool = True) -> list[Finding]:
    """What the audit finds, before anything else is computed; the planes are decoded into the run folder for it.

    Patients on two sides of a given split are all that is told where there are any, as the planes are not divided then.
    """
    _check_folder(experiment)
    check_weights(experiment)
    given_inits(experiment)
    scans, planes, notes = _open_tables(experiment, _phantom_of(experiment, progress=progress))
    if crossing := crossing_patients(planes, experiment.planes.protocol):
        return crossing
    splits = splits_of(experiment, planes)
    _write_planes(experiment, planes, splits, progress=progress)
    write_notes(experiment, notes, experiment.run_folder / "planes" / SOURCES_FILE, progress=progress)
    return audit(experiment, planes, splits, scans)


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
        sector=meta.get("sector", KEEP),
    )
    splits = splits_from(read_json(folder / "splits.json"))
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
    if config.splits is not None:
        return read_splits(config.splits, planes, config.protocol)
    return make_splits(
        planes,
        config.protocol,
        folds=config.folds,
        seed=config.seed,
        val_fraction=config.val_fraction,
        test_fraction=config.test_fraction,
    )


def phantom_folder(experiment: Experiment) -> Path:
    """Where the phantom's files go: one folder for each set of its settings, shared by experiments."""
    return Path(experiment.data) / f"phantom-{fingerprint(dataclasses.asdict(experiment.phantom))[:8]}"


def write_phantom(config: PhantomConfig, folder: Path, *, workers: int | None, progress: bool) -> None:
    """Write the phantom cohort of an experiment, unless it is there already."""
    write_cohort(folder, **dataclasses.asdict(config), workers=workers, progress=progress)


def _check_folder(experiment: Experiment) -> None:
    if experiment.folder is not None and not Path(experiment.folder).is_dir():
        hint = f" {experiment.folder_hint}" if experiment.folder_hint else ""
        raise UserError(f"folder: '{experiment.folder}' does not exist.{hint}")


def _needs_phantom(experiment: Experiment) -> bool:
    """Whether planes come from the phantom, or scans do that something is pre-trained on."""
    scanned = experiment.scans.source == "phantom" and bool(entrants(experiment))
    return scanned or experiment.planes.source == "phantom"


def _phantom_of(experiment: Experiment, *, progress: bool) -> Path | None:
    """The folder of the phantom, written where it is missing; None for an experiment without one."""
    if not _needs_phantom(experiment):
        return None
    folder = phantom_folder(experiment)
    write_phantom(experiment.phantom, folder, workers=experiment.compute.workers, progress=progress)
    return folder


def _checked_tables(
    experiment: Experiment, phantom: Path | None
) -> tuple[Scans | None, Planes, list[Split], dict[str, list[str]]]:
    """The scan table (None where nothing is pre-trained), the labelled planes and their splits, found to be sound.

    Last what their sources say of themselves, by section of the experiment.
    """
    scans, planes, notes = _open_tables(experiment, phantom)
    splits = splits_of(experiment, planes)
    check_subsets(experiment, planes, splits)
    if scans is not None:
        check_criteria(experiment, planes, splits)
    refuse(experiment, known_findings(experiment, planes, splits, scans))
    return scans, planes, splits, notes


def _open_tables(experiment: Experiment, phantom: Path | None) -> tuple[Scans | None, Planes, dict[str, list[str]]]:
    """The scan table (None where nothing is pre-trained), the labelled planes, and what their sources say."""

    def place(source: str, table: str) -> str:
        return str(phantom / table) if source == "phantom" and phantom is not None else source

    config = experiment.planes
    opened = open_cohorts(
        place(config.source, "planes.csv"),
        config.classes,
        patient_pattern=config.patient_pattern,
        by_image=config.unit == "image",
        allow_outside=config.allow_outside,
        labels=config.labels,
        external=config.external,
        external_labels=config.external_labels,
    )
    planes = dataclasses.replace(opened.planes, sector=config.sector)
    notes = {"planes": [*opened.notes, *_unlike(experiment)]}
    inside = planes.table[planes.internal]
    if planes.by_image and config.unit != "image" and (inside["patient_id"] == inside["image"]).all():
        raise UserError(
            "planes.unit: the planes have no patients, so images of one patient may stand on both sides of a split; "
            "planes.unit=image goes on by image, and the results are marked (or give a planes.patient_pattern)"
        )
    if not entrants(experiment):
        return None, planes, notes
    given = experiment.scans
    table = place(given.source, "scans.csv")
    scans = open_scans(table, given.patient_pattern, fps=given.fps, allow_outside=given.allow_outside)
    return scans, planes, notes | {"scans": scans.warnings}


def _unlike(experiment: Experiment) -> list[str]:
    """A note where the frames of pre-training are cut to the sector and the planes are not."""
    cut = {frames.cleaning.sector for frames in stores(experiment).values()} if entrants(experiment) else {KEEP}
    if experiment.planes.sector != KEEP or cut == {KEEP}:
        return []
    way = min(cut - {KEEP})
    return [f"frames are cut to the ultrasound sector and planes are not; planes.sector={way} treats them alike"]


def _write_planes(experiment: Experiment, planes: Planes, splits: list[Split], *, progress: bool) -> None:
    """Decode the planes once into the run folder; left alone when they are there already.

    The table alone is written again where it has changed in what decides nothing, as a site or the place of a file.
    """
    frames = experiment.frames
    folder = experiment.run_folder / "planes"
    record = splits_record(planes, experiment.planes.protocol, splits)
    table = planes.table.assign(path=planes.table["path"].astype(str))
    meta = {
        "fingerprint": planes.fingerprint,
        "classes": list(planes.classes),
        "size": frames.size,
        "channels": frames.channels,
        "splits": record["hash"],
        "by_image": planes.by_image,
        "table": fingerprint(table.to_csv(index=False)),
    }
    if planes.sector != KEEP:
        meta["sector"] = planes.sector
    old = read_json(folder / "planes.json") if (folder / "planes.json").is_file() else {}
    if {**old, "table": meta["table"]} == meta:
        if old != meta:
            with replacing(folder / "table.parquet") as part:
                table.to_parquet(part)
            write_json(folder / "planes.json", meta)
        return
    shape = (len(planes), frames.size, frames.size, *([] if frames.channels == 1 else [3]))
    with replacing(folder) as part:
        part.mkdir()
        images = np.lib.format.open_memmap(part / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        with tqdm(total=len(planes), desc="planes", unit="image", disable=None if progress else True) as bar:
            for first in range(0, len(planes), CHUNK):  # so that memory is bounded, however many planes there are
                rows = np.arange(first, min(first + CHUNK, len(planes)))
                images[rows] = load_images(planes, frames.size, frames.channels, rows=rows)
                bar.update(len(rows))
        images.flush()
        table.to_parquet(part / "table.parquet")
        write_json(part / "splits.json", record)
        write_json(part / "planes.json", meta)
