"""Pictures that other commands have left in a run's `figures/`: explanation sheets and timelines of scans."""

from __future__ import annotations

import re
from pathlib import Path

from ssl_zoo.analysis.album import MOST_BYTES, Album

EXPLAIN, TIMELINES = "explain", "timelines"
OVERVIEW = "maps_"  # how the files begin that say of all classifiers what the maps of a technique are worth

LOOKS = (
    "Where a classifier looks: warm where the map is high. Beside it the map of a network with shuffled weights: if the"
    " two look alike, the map shows the image rather than what was learnt."
)
WORTH = (
    "Means over test images, with 95\u00a0% intervals over patients. Energy on target: the share of a map that lies on"
    " the structures which define the plane; pointing game: how often its highest place does (both only where the"
    " structures are known). Deletion gain: how much faster the probability falls when places are blotted out in the"
    " map's order rather than at random. Shuffled weights: how much the map resembles that of a network which has"
    " forgotten what it learnt."
)
OVER_TIME = "Frame by frame: the probability of each plane, and the best frame of each."


def add_sheets(album: Album, most_bytes: int = MOST_BYTES) -> dict[str, str]:
    """Keep the sheets of `figures/explain` and `figures/timelines` for the page, as far as they fit.

    `most_bytes` of all its pictures: timelines may take half of what is left, explanations the rest. Returns for each
    kind that is there a sentence about what is not shown, or an empty one.
    """
    found = {kind: sorted((album.folder / kind).rglob("*.png")) for kind in (TIMELINES, EXPLAIN)}
    kinds = [kind for kind, paths in found.items() if paths]
    told = {}
    for place, kind in enumerate(kinds):
        room = (most_bytes - album.size) // (len(kinds) - place)
        told[kind] = _add(album, kind, found[kind], album.size + room)
    return told


def _add(album: Album, kind: str, paths: list[Path], most_bytes: int) -> str:
    shown = 0
    for path in paths:
        title, caption = _words(kind, path.relative_to(album.folder / kind))
        if not album.sheet(path, title, caption, most_bytes=most_bytes - album.size):
            break
        shown += 1
    left = len(paths) - shown
    return f"{left} more in figures/{kind}/, left out here to keep the page small." if left else ""


def _words(kind: str, path: Path) -> tuple[str, str]:
    """The title and the caption of a file below the folder of its kind."""
    parts = path.with_suffix("").parts
    if kind == EXPLAIN and len(parts) == 1 and parts[0].startswith(OVERVIEW):
        return "What the maps are worth", WORTH
    title = " / ".join(re.sub(r"^\d+_", "", part) if kind == EXPLAIN else part for part in parts).replace("_", " ")
    return title, LOOKS if kind == EXPLAIN else OVER_TIME
