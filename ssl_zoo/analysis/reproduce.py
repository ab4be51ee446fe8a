"""How to get the same numbers again: the command, the fingerprints of all that went in, the versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ssl_zoo.analysis.cell_records import Computed, computed_of
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.style import mode_label
from ssl_zoo.analysis.tables import Table
from ssl_zoo.files import fingerprint_file, read_json
from ssl_zoo.training.versions import version
from ssl_zoo.training.versions import versions as installed

__all__ = ["fingerprints", "machines", "version", "versions"]

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


def machines(run: Run) -> Table | None:
    """How many cells of each mode, and encoders, were computed on what; None where the run does not tell."""
    rows = [
        [what, computed.processor, computed.device, computed.precision, str(count)]
        for (what, computed), count in _merged(run).items()
    ]
    return Table(["what", "processor", "device", "number format", "how many"], rows, 4) if rows else None


def versions(run: Run) -> Table:
    """Python, the system and the packages that the numbers were computed with; of an older run, those that are here."""
    found: dict[str, set[str]] = {}
    for _, computed in _computed(run):
        for name, value in computed.versions:
            found.setdefault(name, set()).add(value)
    told = {name: ", ".join(sorted(values)) for name, values in found.items()}
    return Table(["package", "version"], [list(row) for row in (told or installed()).items()], 2)


def _merged(run: Run) -> Counter[tuple[str, Computed]]:
    """What was computed on what, whatever the versions."""
    found: Counter[tuple[str, Computed]] = Counter()
    for (what, computed), count in _computed(run).items():
        found[what, computed._replace(versions=())] += count
    return found


def _computed(run: Run) -> Counter[tuple[str, Computed]]:
    encoders = [computed for encoder in run.encoders if (computed := computed_of(encoder.budget)) is not None]
    cells = Counter({(f"cells, {mode_label(mode)}", kind): n for (mode, kind), n in run.records.computed.items()})
    return cells + Counter(("encoders", computed) for computed in encoders)
