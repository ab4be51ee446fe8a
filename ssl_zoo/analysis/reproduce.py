"""How to get the same numbers again: the command, the fingerprints of all that went in, the versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.tables import Table
from ssl_zoo.files import fingerprint_file, read_json

PACKAGES = ("ssl_zoo", "torch", "torchvision", "timm", "lightly", "numpy", "scikit-learn", "pandas", "matplotlib")
_CARD = (("configuration", "config_fingerprint"), ("data", "data_fingerprint"))


def fingerprints(run: Run) -> Table:
    """Of results, experiment, frame store, scans, planes, splits and encoders: whichever the run has."""
    rows = [["results.csv", fingerprint_file(run.path / "results.csv")]]
    if (run.path / "experiment.yaml").is_file():
        rows.append(["experiment.yaml", fingerprint_file(run.path / "experiment.yaml")])
    rows += _known(run.store or {}, (("frame store", "fingerprint"), ("scans", "source")))
    card = run.path / "planes" / "planes.json"
    rows += _known(read_json(card) if card.is_file() else {}, (("planes", "fingerprint"), ("splits", "splits")))
    for encoder in run.encoders:
        parts = [f"{name} {encoder.card[key]}" for name, key in _CARD if encoder.card.get(key)]
        if parts:
            rows.append([f"encoder {encoder.name}", ", ".join(parts)])
    return Table(["what", "fingerprint"], rows, 2)


def _known(card: dict[str, Any], keys: Sequence[tuple[str, str]]) -> list[list[str]]:
    return [[label, str(card[key])] for label, key in keys if card.get(key)]


def versions() -> Table:
    """Python, the system and the packages that numbers depend on, where this report is written."""
    rows = [["Python", platform.python_version()], ["system", f"{platform.system()} {platform.machine()}"]]
    return Table(["package", "version"], [*rows, *([name, version(name)] for name in PACKAGES)], 2)


def version(package: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
