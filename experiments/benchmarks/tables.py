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


def markdown(columns: dict[str, str], rows: list[Row]) -> list[str]:
    """A Markdown table: the heading of each column, and how its cell is written out of a row."""
    lines = [f"| {' | '.join(columns)} |", "|---|" + "---:|" * (len(columns) - 1)]
    for row in rows:
        cells = {name: words(value) for name, value in row.items() if name.endswith("ratio") and "median" in value}
        lines.append("| " + " | ".join(cell.format(**(row | cells)) for cell in columns.values()) + " |")
    return lines


def throughput(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{device}, {case}, batch {batch_size}",
        "threads": "{threads}",
        "of the bare step's speed": "{ratio}",
        "bar": "{bar}",
        "all turns together": "{ratio_of_sums:.2f}",
        "in core seconds": "{core_ratio}",
        "frames/s": "{frames_per_s:.0f}",
        "bare step": "{frames_per_s_of_the_step:.0f}",
    }
    return [*markdown(columns, rows), *_without_gpu(columns, rows)]


def against_lightly(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{device}, {case}, batch {batch_size}",
        "threads (lightly's)": "{threads} ({lightly_threads})",
        "times lightly's views/s": "{ratio}",
        "bar": "{bar}",
        "in core seconds": "{core_ratio}",
        "views/s": "{views_per_s:.0f}",
        "lightly's": "{views_per_s_of_lightly:.0f}",
    }
    rows = [row | {"bar": row["bar"] or ""} for row in rows]
    return [*markdown(columns, rows), *_without_gpu(columns, rows)]


def memory(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{case}",
        "resident, MiB": "{mib[resident]:.0f}",
        "times the first": "{ratio[resident]:.3f}",
        "bar": "{bar}",
        "anonymous, MiB": "{mib[anonymous]:.0f}",
        "times": "{ratio[anonymous]:.3f}",
        "file pages, MiB": "{mib[file pages]:.0f}",
        "times ": "{ratio[file pages]:.3f}",
    }
    rows = sorted(rows, key=lambda row: row["mib"]["anonymous"])
    return markdown(columns, [row | {"bar": row["bar"] or ""} for row in rows])


def profile_step(rows: list[Row]) -> list[str]:
    lines: list[str] = []
    for row in rows:
        operations = ", ".join(f"`{name}` {ms:.0f} ms" for name, ms in row["operations_ms"].items())
        lines += [f"{row['case']}, batch {row['batch_size']}, {row['device']}:", "", *parts_table(row["parts_ms"]), ""]
        lines += [f"Of the bare step, the slowest operations: {operations}.", ""]
    return lines[:-1]


def diverse(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{case}",
        "threads": "{threads}",
        "seconds": "{seconds:.0f}",
        "bar, s": "{bar_s}",
        "peak memory, MiB": "{peak_mib}",
        "bar, MiB": "{bar_mib}",
    }
    return markdown(columns, [{name: "" if value is None else value for name, value in row.items()} for row in rows])


def ingest(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{case}",
        "ratio to": "{against}",
        "ratio": "{ratio}",
        "bar": "{bar:g}",
        "in core seconds": "{core_ratio}",
        "rates, 1/s": "{rates}",
    }
    written = []
    for row in rows:
        rates = row["frames_per_s" if "frames_per_s" in row else "pairs_per_s"]
        against = f"{row['fastest_loop']}, the fastest loop" if "fastest_loop" in row else "seeking with decord"
        told = {"against": against, "rates": ", ".join(f"{way} {rate:,.0f}" for way, rate in rates.items())}
        written.append({"core_ratio": ""} | row | told)
    return markdown(columns, written)


def finetuning(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{case}",
        "threads": "{threads}",
        "times faster than as processes": "{speedup:.2f}",
        "bar": "{bar}",
        "in core seconds": "{core_speedup:.2f}",
        "s a cell": "{seconds_per_cell:.2f}",
        "s a process": "{seconds_per_process:.2f}",
        "cells run as processes": "{processes} of {cells}",
    }
    return markdown(columns, rows)


def planning(rows: list[Row]) -> list[str]:
    columns = {"case": "{case}", "seconds": "{seconds:.1f}", "bar, s": "{bar_s}", "core seconds": "{core_s:.1f}"}
    return markdown(columns, [{name: "" if value is None else value for name, value in row.items()} for row in rows])


def predict(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{device}, {case}",
        "threads": "{threads}",
        "frames/s": "{frames_per_s}",
        "bar": "{bar}",
        "core ms a frame": "{core_ms_per_frame}",
        "of which decoding": "{decoding:.1f}",
        "the network": "{network:.1f}",
    }
    written = []
    for row in rows:
        told = {name: words(row[name], 1) for name in ("frames_per_s", "core_ms_per_frame")}
        parts = {name: part["core_ms_per_frame"]["median"] for name, part in row["parts"].items()}
        written.append(row | {"bar": row["bar"] or ""} | told | parts)
    return [*markdown(columns, written), *_without_gpu(columns, rows)]


def probe(rows: list[Row]) -> list[str]:
    columns = {
        "case": "{device}, {case}",
        "threads": "{threads}",
        "times faster than scikit-learn": "{speedup:.1f}",
        "bar": "{bar}",
        "in core seconds": "{core_speedup:.1f}",
        "without equal subsets": "{distinct_core_speedup:.1f}",
        "a single encoder": "{alone_speedup:.1f}",
        "seconds": "{seconds:.1f}",
        "the loop's, s": "{loop_s:.0f}",
        "cells that the loop did": "{loop_cells}",
        "macro-F1 less the loop's (bar)": "{f1_difference:+.4f} ({bar_f1})",
        "loop's loss above ours, at most": "{loop_excess:.0e}",
    }
    return [*markdown(columns, rows), *_without_gpu(columns, rows)]


TABLES: dict[str, Callable[[list[Row]], list[str]]] = {
    "throughput": throughput,
    "against_lightly": against_lightly,
    "memory": memory,
    "profile_step": profile_step,
    "diverse": diverse,
    "ingest": ingest,
    "finetuning": finetuning,
    "planning": planning,
    "probe": probe,
    "predict": predict,
}


def _without_gpu(columns: dict[str, str], rows: list[Row]) -> list[str]:
    if any(row["device"] == "cuda" for row in rows):
        return []
    return ["| cuda: not measured on a GPU |" + " |" * (len(columns) - 1)]


def _measured_on(rows: list[Row]) -> str:
    facts = rows[-1]["machine"]
    loads = [row[key] for row in rows for key in ("load_before", "load_after")]
    packages = ", ".join(f"{name} {facts[name]}" for name in ("torch", "lightly", "timm", "pillow"))
    return (
        f"Measured on {facts['processor']}, {facts['cores']} cores, precision "
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
