"""In what a run differs from the paper that it follows: data, weights, and settings that the paper does not state."""

from __future__ import annotations

import re
from typing import Any

from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.style import mode_label
from ssl_zoo.analysis.tables import plain_number
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.overlaps import known_overlap
from ssl_zoo.files import read_json
from ssl_zoo.grid.source_notes import SOURCES_FILE
from ssl_zoo.grid.weight_records import WEIGHTS_FILE

NAMED_HASH = re.compile(r"-([0-9a-f]{8,64})\.pth?$")


def data_sentences(run: Run) -> list[str]:
    """What the sources of the planes say of themselves; that they are not the paper's where they are the user's own."""
    about, planes = _sources(run), _section(run, "planes")
    said = []
    for section, source, which in (
        ("planes", planes.get("source"), "Data"),
        ("external", planes.get("external"), "External data"),
    ):
        if not source:
            continue
        known = about.get(section, {})
        notes = [_sentence(str(note).removeprefix("external cohort: ")) for note in known.get("notes", [])]
        title = str(known.get("title", ""))
        if title:
            count = "; these notes were made while reading it" if notes else "; no deviation from it was seen"
            said.append(f"{which}: {title}, read in its published layout{count}. {' '.join(notes)}".strip())
        elif source == "phantom":
            said.append(f"{which}: a synthetic phantom, not the paper's images.")
        else:
            said.append(f"{which}: a table of this study's own, not known to be the paper's. {' '.join(notes)}".strip())
    return said


def weights_sentences(run: Run, starts: Starts) -> list[str]:
    """Which files the encoders came from, with the start of their SHA-256, and which test data they have seen."""
    path = run.path / WEIGHTS_FILE
    records: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    said, published = [], [record for record in records if _entry(record) in PUBLISHED]
    scored = {start[0] for start in starts}
    for record in published:
        if record["init"] in scored:
            title = PUBLISHED[_entry(record)].title
            said.append(f"Weights of {record['init']} ({title}): {_file(record)}.")
    if said:
        said.append(
            "No hash of the files that the paper used is published, so whether these are the same cannot be checked."
        )
    natural = [f"{record['backbone']} {_file(record)}" for record in records if record["init"].startswith("imagenet")]
    if natural:
        said.append(f"ImageNet's weights: {'; '.join(natural)}. The paper may have used others of the same network.")
    for record in published:
        for about in _sources(run).values():
            if sentence := known_overlap(_entry(record), str(about.get("source", "")).replace("/", ":")):
                said.append(f"{sentence}.")
    return said


def settings_sentences(run: Run) -> list[str]:
    """The settings of this run, so that they can be held against the paper's where it states any."""
    transfer, planes, frames = (_section(run, name) for name in ("transfer", "planes", "frames"))
    if not transfer:
        return []
    parts = [f"images of {frames.get('size')} pixels where an encoder has no size of its own", _division(planes)]
    modes = transfer.get("modes") or []
    if "finetune" in modes:
        parts.append(_finetuning(transfer.get("finetune") or {}))
    if "linear" in modes:
        parts.append(f"{mode_label('linear')}: logistic regression, its L2 chosen by patient within the training data")
    seeds = transfer.get("seeds") or []
    parts.append(f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}")
    return [
        f"Settings here: {'; '.join(parts)}. What the paper does not state of these is our choice; the experiment file"
        " says which."
    ]


def _division(planes: dict[str, Any]) -> str:
    unit = "image" if planes.get("unit") == "image" else "patient"
    if planes.get("protocol") == "cross_validation":
        return f"{planes.get('folds')}-fold cross-validation by {unit}"
    return f"a hold-out by {unit}, that of the data where they have one"


def _finetuning(tuning: dict[str, Any]) -> str:
    rate = tuning.get("lr_choices") or tuning.get("lr")
    return (
        f"{mode_label('finetune')}: {tuning.get('steps')} steps of {tuning.get('batch_size')} images, AdamW at {rate}, "
        f"layer decay {tuning.get('layer_decay')}, weight decay {tuning.get('weight_decay')}, "
        f"{'with' if tuning.get('class_weights', True) else 'without'} class weights"
    )


def _file(record: dict[str, Any]) -> str:
    if not record["sha256"]:
        return f"from timm ({record['file']}), without a file of one's own"
    said = f"SHA-256 begins {record['sha256']}"
    if named := NAMED_HASH.search(record["file"]):  # as torch.hub names files
        same = record["sha256"].startswith(named[1][: len(record["sha256"])])
        said += ", as the file's name says" if same else f", but the file's name says {named[1]}: it is another file"
    return f"{record['file']} ({plain_number(record['bytes'])} bytes, {said})"


def _entry(record: dict[str, Any]) -> str:
    return str(record["init"]).partition("@")[0]


def _sources(run: Run) -> dict[str, dict[str, Any]]:
    """What is known of the sources of planes: by section, see `source_notes.write_notes`."""
    path = run.path / "planes" / SOURCES_FILE
    return read_json(path) if path.is_file() else {}


def _section(run: Run, name: str) -> dict[str, Any]:
    section = run.config.get(name)
    return section if isinstance(section, dict) else {}


def _sentence(note: str) -> str:
    text = note.rstrip(". ")
    return f"{text[:1].upper()}{text[1:]}."
