"""The audit of an experiment: gathers its facts, has them checked, and keeps what was found in `audit.json`.

Patients count as seen in pre-training when their frames are in a frame store of the experiment. Before a store is
built, those of the scan table stand in for it; where scans are drawn by lot, nobody does yet. The patients of a given
encoder are on its card. Images are compared as they were decoded for the experiment, with each other and with the
frames of the stores that are built; what is alike is kept in `alike.json` while planes and stores are the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.config import Experiment, FramesConfig
from ssl_zoo.encoders.files import CARD, read_card
from ssl_zoo.encoders.overlaps import data_set, known_overlap
from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json, write_json
from ssl_zoo.grid.entrants import entrants, stores
from ssl_zoo.grid.stores import cleaning_settings, sampler_settings
from ssl_zoo.planes.alike import VERSION, Alike, find_alike
from ssl_zoo.planes.alike_frames import SeenImages, find_seen
from ssl_zoo.planes.audit import (
    NOTE,
    REFUSE,
    Finding,
    encoders_that_saw,
    pretrained_images,
    pretrained_patients,
    refusals,
    shared_images,
)
from ssl_zoo.planes.saved_splits import splits_record
from ssl_zoo.planes.sources import named_source
from ssl_zoo.planes.splits import Split
from ssl_zoo.planes.table import Planes
from ssl_zoo.scans.frames import source_fingerprint
from ssl_zoo.scans.store import CARD as STORE_CARD
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import Scans

AUDIT, ALIKE = "audit.json", "alike.json"
Overlap = Callable[[str, str], str | None]  # (encoder, source of planes) -> what is known of the two, or None


def known_findings(
    experiment: Experiment,
    planes: Planes,
    splits: list[Split],
    scans: Scans | None,
    *,
    overlap: Overlap = known_overlap,
) -> list[Finding]:
    """All that can be found without an image: in tables, frame stores and the cards of encoders. Writes nothing."""
    found: list[Finding] = []
    sources = [source for source in (experiment.planes.source, experiment.planes.external) if source is not None]
    spaces = {name_space(source) for source in sources}
    for by, patients in pretrained(experiment, planes, scans).items():
        same_names = name_space(experiment.scans.source) in spaces
        found += pretrained_patients(planes, splits, patients, by, same_names=same_names)
    given = experiment.transfer.inits
    cards = {spec: read_card(Path(spec)) for spec in given if (Path(spec) / CARD).is_file()}
    own_names = bool(spaces & {"", "phantom"})  # a public data set numbers its patients itself
    data = [named_source(source)[0].replace("/", ":") for source in sources]
    for spec, card in cards.items():
        by = f"the {'fine-tuned ' if card.finetuned else ''}encoder '{spec}'"
        tuned_on = {data_set(source.replace("/", ":")) for source in card.finetuned}
        same_names = own_names or not tuned_on.isdisjoint(map(data_set, data))
        found += pretrained_patients(planes, splits, card.patients, by, same_names=same_names)

    def known(spec: str, source: str) -> str | None:
        card = cards.get(spec)
        said = overlap(card.init if card else spec, source)  # an encoder folder may be a copy of a published one
        return f"the encoder '{spec}': {said}" if card and said else said

    for source in data:
        found += encoders_that_saw(given, source, known)
    return found


def audit(
    experiment: Experiment,
    planes: Planes,
    splits: list[Split],
    scans: Scans | None,
    *,
    overlap: Overlap = known_overlap,
) -> list[Finding]:
    """All findings, those that refuse first. The run folder holds the decoded planes, and is given `audit.json`."""
    run = experiment.run_folder
    images = np.load(run / "planes" / "images.npy", mmap_mode="r")
    alike = alike_images(run, planes, images)
    found = known_findings(experiment, planes, splits, scans, overlap=overlap)
    found += shared_images(planes, splits, alike)
    opened = built_stores(experiment, scans)
    for folder, store in opened.items():
        found += pretrained_images(planes, splits, seen_images(run, folder, planes, images, store), store.index, folder)
    found = sorted(found, key=lambda finding: finding.severity != REFUSE)
    record = {
        "audit": experiment.planes.audit,
        "unit": "image" if planes.by_image else "patient",
        "planes": planes.fingerprint,
        "splits": splits_record(planes, experiment.planes.protocol, splits)["hash"],
        "images": {"compared": len(images), "pixels": int(images.shape[1]), "alike": len(alike.rows)},
        "frames": {folder: len(store) for folder, store in opened.items()},  # that the images were compared with
        "findings": [
            {"kind": one.kind, "severity": one.severity, "sentence": one.sentence, "names": list(one.names)}
            for one in found
        ],
    }
    if not (run / AUDIT).is_file() or read_json(run / AUDIT) != record:
        write_json(run / AUDIT, record)
    return found


def refuse(experiment: Experiment, found: list[Finding]) -> None:
    """Raise UserError with the first leak, unless the experiment goes on knowingly (`planes.audit: warn`)."""
    leaks = refusals(found)
    if not leaks or experiment.planes.audit == "warn":
        return
    more = f" (and {len(leaks) - 1} more; `ssl-zoo audit` lists them)" if len(leaks) > 1 else ""
    raise UserError(f"{leaks[0].sentence}{more}; planes.audit=warn goes on all the same")


def pretrained(experiment: Experiment, planes: Planes, scans: Scans | None) -> dict[str, Collection[str]]:
    """The patients that the experiment's pre-training sees, by where that is known from, in words.

    Nobody where the scan table, which holds them all, shares no patient with the planes.
    """
    if scans is None or not entrants(experiment) or not set(scans.patients) & set(planes.patients):
        return {}
    seen: dict[str, Collection[str]] = {}
    cards = _built(experiment, scans)
    for folder, frames in stores(experiment).items():
        if folder in cards:
            seen[f"the frame store '{folder}'"] = cards[folder]["patients"]
        elif frames.scans is None:
            seen["the scan table"] = scans.patients
    return seen


def built_stores(experiment: Experiment, scans: Scans | None) -> dict[str, FrameStore]:
    """The frame stores that are there already with the scans that the experiment asks for, by folder."""
    if scans is None or not entrants(experiment):
        return {}
    return {folder: FrameStore.open(experiment.run_folder / folder) for folder in _built(experiment, scans)}


def _built(experiment: Experiment, scans: Scans) -> dict[str, dict[str, Any]]:
    """The cards of these stores."""
    paths = {folder: experiment.run_folder / folder / STORE_CARD for folder in stores(experiment)}
    there = {folder: read_json(path) for folder, path in paths.items() if path.is_file()}
    source = source_fingerprint(scans) if there else ""
    wanted = stores(experiment)
    return {folder: card for folder, card in there.items() if _holds(card, wanted[folder], source)}


def _holds(card: dict[str, Any], frames: FramesConfig, source: str) -> bool:
    """Whether a frame store on disk has the scans that the experiment asks for, so that its patients are those."""
    cleaning = cleaning_settings(frames)
    wanted = {
        "source": source,
        "sampler": sampler_settings(frames).to_json(),
        "cleaning": dataclasses.asdict(cleaning) if cleaning.anything else None,
    }
    return all(card.get(key) == value for key, value in wanted.items())


def alike_images(run: Path, planes: Planes, images: np.ndarray) -> Alike:
    """`find_alike` on the decoded planes, once for each plane table and size of its images."""

    def find() -> dict[str, Any]:
        alike = find_alike(images, planes.patients.astype(str), planes.labels)
        return {
            "rows": alike.rows.tolist(),
            "correlation": alike.correlation.round(4).tolist(),
            "complete": alike.complete,
        }

    kept = _kept(run, "planes", [VERSION, planes.pictures, *images.shape[1:]], find)
    rows = np.array(kept["rows"], dtype=np.int64).reshape(-1, 2)
    return Alike(rows, np.array(kept["correlation"], dtype=np.float64), kept["complete"])


def seen_images(run: Path, folder: str, planes: Planes, images: np.ndarray, store: FrameStore) -> SeenImages:
    """`find_seen` on the decoded planes and a frame store, once for each pair of them.

    Frames of a patient with the name of the image's are left out: names have told already.
    """

    def find() -> dict[str, Any]:
        named = [store.index["patient_id"].to_numpy(str), planes.patients.astype(str)]
        seen = find_seen(images, store.frames, *named)
        return {
            "images": seen.images.tolist(),
            "frames": seen.frames.tolist(),
            "correlation": seen.correlation.round(4).tolist(),
        }

    key = [VERSION, planes.pictures, store.fingerprint, *images.shape[1:]]
    kept = _kept(run, folder, key, find)
    rows, places = (np.array(kept[name], dtype=np.int64) for name in ("images", "frames"))
    return SeenImages(rows, places, np.array(kept["correlation"], dtype=np.float64))


def _kept(run: Path, part: str, key: list[Any], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was found for a part of the run folder, looked for again where its key has changed."""
    record = read_json(run / ALIKE) if (run / ALIKE).is_file() else {}
    kept = record.get(part)
    if not isinstance(kept, dict) or kept.get("key") != key:
        kept = {"key": key, **find()}
        write_json(run / ALIKE, {**record, part: kept})
    return kept


def name_space(source: str) -> str:
    """Whose names a source gives its patients: a public data set's, the phantom's, or the user's own ("")."""
    if source == "phantom":
        return source
    prefix = named_source(source)[0]
    return "" if prefix in ("csv", "image_folder", "folder") else prefix


def audit_lines(run: Path, most: int = 5) -> list[str]:
    """What `run` says of an audit that it goes on after: leaks that are allowed, and notes."""
    path = run / AUDIT
    found = read_json(path)["findings"] if path.is_file() else []
    lines = []
    for severity, word in ((REFUSE, "leak, allowed by planes.audit=warn"), (NOTE, "note")):
        own = [finding["sentence"] for finding in found if finding["severity"] == severity]
        lines += [f"{word}: {sentence}" for sentence in own[:most]]
        lines += [f"{word}: {len(own) - most} more in {path}"] if len(own) > most else []
    return lines
