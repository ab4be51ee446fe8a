"""Writes the tables of README.md anew from the files in `results/`, so that the two never differ.

python -m experiments.benchmarks.tables
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.benchmarks.measure import RESULTS, words
from experiments.benchmarks.profile_step import table as parts_table

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- {name}: written by tables.py -->", "<!-- end of {name} -->"
Row = dict[str, Any]


def throughput(rows: list[Row]) -> list[str]:
    lines = [
        "| device | case | batch | of the step's speed | all turns | bar | in core seconds | frames/s | bare step |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['device']} | {row['case']} | {row['batch_size']} | {words(row['ratio'])} | "
            f"{row['ratio_of_sums']:.2f} | {row['bar']} | {words(row['core_ratio'])} | {row['frames_per_s']:.0f} | "
            f"{row['frames_per_s_of_the_step']:.0f} |"
        )
    return [*lines, *_missing_gpu(rows, 8)]


def against_lightly(rows: list[Row]) -> list[str]:
    lines = [
        "| device | case | batch | times lightly's views/s | bar | in core seconds | views/s | lightly's |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['device']} | {row['case']} | {row['batch_size']} | {words(row['ratio'])} | {row['bar'] or ''} | "
            f"{words(row['core_ratio'])} | {row['views_per_s']:.0f} | {row['views_per_s_of_lightly']:.0f} |"
        )
    return [*lines, *_missing_gpu(rows, 7)]


def memory(rows: list[Row]) -> list[str]:
    lines = [
        "| case | resident, MiB | times the first | bar | anonymous, MiB | times | file pages, MiB | times |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: row["mib"]["anonymous"]):
        figures = [f"{row['mib'][name]:.0f} | {row['ratio'][name]:.3f}" for name in row["mib"]]
        anonymous, file_pages, resident = figures
        lines.append(f"| {row['case']} | {resident} | {row['bar'] or ''} | {anonymous} | {file_pages} |")
    return lines


def profile_step(rows: list[Row]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        operations = ", ".join(f"`{name}` {ms:.0f} ms" for name, ms in row["operations_ms"].items())
        lines += [f"{row['case']}, batch {row['batch_size']}, {row['device']}:", "", *parts_table(row["parts_ms"]), ""]
        lines += [f"Of the bare step, the slowest operations: {operations}.", ""]
    return lines[:-1]


TABLES: dict[str, Callable[[list[Row]], list[str]]] = {
    "throughput": throughput,
    "against_lightly": against_lightly,
    "memory": memory,
    "profile_step": profile_step,
}


def _missing_gpu(rows: list[Row], empty: int) -> list[str]:
    if any(row["device"] == "cuda" for row in rows):
        return []
    return ["| cuda | not measured on a GPU |" + " |" * (empty - 1)]


def _measured_on(rows: list[Row]) -> str:
    facts = rows[-1]["machine"]
    loads = [row[key] for row in rows for key in ("load_before", "load_after")]
    packages = ", ".join(f"{name} {facts[name]}" for name in ("torch", "lightly", "timm", "pillow"))
    return (
        f"Measured on {facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, precision "
        f"`auto` = {facts['auto_precision']}; {packages}. Load average {min(loads)} to {max(loads)}."
    )


def filled(text: str, name: str, rows: list[Row]) -> str:
    """`text` with the table of a benchmark between its two marks."""
    begin, end = BEGIN.format(name=name), END.format(name=name)
    head, _, rest = text.partition(begin)
    _, mark, tail = rest.partition(end)
    if not mark:
        raise ValueError(f"{README.name}: no '{begin}' followed by '{end}'")
    return "\n".join([head + begin, "", *TABLES[name](rows), "", _measured_on(rows), "", end]) + tail


def main() -> None:
    text = README.read_text()
    for name in TABLES:
        path = RESULTS / f"{name}.json"
        if path.exists():
            text = filled(text, name, json.loads(path.read_text())["rows"])
    README.write_text(text)


if __name__ == "__main__":
    main()
