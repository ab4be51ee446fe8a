"""The command that tells which data sets can be read, and checks a copy of one: sources."""

from __future__ import annotations

import dataclasses
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_zoo.cli.app import AsJson, app, replying

if TYPE_CHECKING:
    from ssl_zoo.scans.sources.facts import Facts

INDENT = 12


@app.command()
def sources(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME | NAME:/PATH]...", help="Only these; all without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The data sets that planes.source, planes.external and scans.source take, and how a copy of one differs.

    With a path, the copy there is read and counted, and set beside what is published.

    Example: ssl-zoo sources african

    Example: ssl-zoo sources fetal_planes_db:/data/FETAL_PLANES_ZENODO
    """
    from ssl_zoo.errors import unknown
    from ssl_zoo.planes.sources import SOURCES as PLANES
    from ssl_zoo.planes.sources import named_source
    from ssl_zoo.scans.sources import SOURCES as SCANS

    known = {name: ("planes", source.facts) for name, source in PLANES.items()}
    known |= {name: ("scans", source.facts) for name, source in SCANS.items()}
    blocks, told = [], []
    with replying(as_json) as reply:
        for given in names or known:
            name, path = named_source(given)
            name, path = (name, path) if name else (given, "")
            if name not in known:
                raise unknown("source", name, known)
            room, facts = known[name]
            blocks.append(_check(room, given) if path else _block(name, room, facts))
            found = {"copy": given, "check": blocks[-1].splitlines()} if path else dataclasses.asdict(facts)
            told.append({"name": name, "gives": room, **found})
        print("\n\n".join(blocks))
        reply(told)


def _block(name: str, room: str, facts: Facts) -> str:
    sizes = [f"{label} {count}" for label, count in facts.counts.items()]
    sizes += [f"{facts.total} in all"] if facts.total else []
    sizes += [f"{facts.n_patients} {facts.unit}s"] if facts.n_patients else []
    lines = {
        "shows": facts.shows,
        "folder": facts.layout,
        "published": ", ".join(sizes),
        "split": facts.split,
        "patients": facts.patients,
        "paper": facts.paper,
        "licence": facts.licence,
        "get it": facts.where,
        "unsure": facts.unsure,
    }
    return "\n".join(
        [f"{name} ({room}), {facts.title}", *(_line(label, text) for label, text in lines.items() if text)]
    )


def _check(room: str, given: str) -> str:
    """What is in a copy of a data set, and what a reader of results from it has to know."""
    if room == "scans":
        from ssl_zoo.scans.sources import open_scans

        scans = open_scans(given)
        lines, notes = [f"{given}: {len(scans)} scans of {len(scans.patients)} patients"], scans.warnings
    else:
        from ssl_zoo.planes.sources import SOURCES as PLANES
        from ssl_zoo.planes.sources import named_source, open_source
        from ssl_zoo.planes.table import SPLITS

        opened = open_source(given)
        planes, notes = opened.planes, list(opened.notes)
        unit = PLANES[named_source(given)[0] or "csv"].facts.unit
        whose = "each for itself" if planes.by_image else f"{planes.table['patient_id'].nunique()} {unit}s"
        lines = [f"{given}: {len(planes)} images, {whose}"]
        table = planes.table.assign(split=planes.table["split"].replace("", "no split"))
        for label, rows in table.groupby("label"):
            counts = rows["split"].value_counts()
            sides = ", ".join(f"{side} {counts[side]}" for side in (*SPLITS, "no split") if side in counts)
            lines.append(_line(str(label), f"{len(rows)} ({sides})", 24))
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def _line(label: str, text: str, indent: int = INDENT) -> str:
    return textwrap.fill(f"  {label:<{indent - 2}} {text}", 120, subsequent_indent=" " * (indent + 1))
