"""The files of weights that an experiment starts from: missing ones named before any work, the others put on record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm

from ssl_zoo.config import Experiment
from ssl_zoo.encoders.published import parse_published
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint_file, read_json, write_json
from ssl_zoo.grid.inits import Init, given_inits

WEIGHTS_FILE = "weights.json"  # in a run folder


def check_weights(experiment: Experiment) -> None:
    """Refuse published encoders whose files are not there, all in one sentence that says where to get them."""
    missing = []
    for spec in experiment.transfer.inits:
        try:
            found = parse_published(spec)
        except UserError:
            continue  # `given_inits` tells what is wrong with a spec
        if found is not None and not found.path.is_file():
            missing.append(f"{found.path} ({found.name}: {found.entry.weights})")
    if not missing:
        return
    where = (
        f"point to their folder with weights=/path (it is '{experiment.weights}')"
        if experiment.weights is not None
        else "name their files in transfer.inits"
    )
    raise UserError(
        f"transfer.inits: no such file of weights: {'; '.join(missing)}. Weights are never fetched: get them under "
        f"their licences (ssl-zoo encoders), and {where}, or leave them out of transfer.inits"
    )


def record_weights(experiment: Experiment) -> None:
    """Write what each init's weights are into the run folder: `init, backbone, file, bytes, sha256, changed`.

    `sha256`: its first 16 digits, "" for weights that timm fetches, whose `file` is then their name on the hub.
    """
    target = experiment.run_folder / WEIGHTS_FILE
    before = {entry["init"]: entry for entry in read_json(target)} if target.is_file() else {}
    records = [found for init in given_inits(experiment) if (found := _record(init, before)) is not None]
    if records:
        write_json(target, records)
    else:
        target.unlink(missing_ok=True)


def _record(init: Init, before: dict[str, Any]) -> dict[str, Any] | None:
    name = f"{init.name} ({init.backbone})" if init.name == "imagenet" else init.name
    record: dict[str, Any] = {"init": name, "backbone": init.backbone}
    path = _file_of(init)
    if path is None:
        if init.name != "imagenet":
            return None  # drawn by lot, or an encoder folder, whose card says all
        config = timm.get_pretrained_cfg(init.backbone)
        return record | {"file": str(config.hf_hub_id or config.url) if config else "", "bytes": 0, "sha256": ""}
    about = path.stat()
    record |= {"file": path.name, "bytes": about.st_size, "changed": about.st_mtime_ns}
    old = before.get(name, {})
    known = all(old.get(key) == record[key] for key in ("file", "bytes", "changed"))  # large files are read once
    return record | {"sha256": old["sha256"] if known else fingerprint_file(path)}


def _file_of(init: Init) -> Path | None:
    if init.published:
        found = parse_published(init.path or "")
        assert found is not None
        return found.path
    return Path(init.path) if init.name == "imagenet" and init.path else None
