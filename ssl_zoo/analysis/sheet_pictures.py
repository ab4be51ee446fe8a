"""Pictures that other commands have left in a run's `figures/`: explanation sheets and timelines of scans."""

from __future__ import annotations

from pathlib import Path

from ssl_zoo.analysis.album import Album

EXPLAIN, TIMELINES = "explain", "timelines"
MOST_BYTES = 3_000_000  # of the page, for each kind; what does not fit stays in its folder, and the page says so


def add_sheets(album: Album) -> dict[str, str]:
    """Keep the sheets of `figures/explain` and `figures/timelines` for the page, as far as they fit.

    Returns for each kind that is there a sentence about what is not shown, or an empty one.
    """
    told = {}
    maps = "Where a classifier looks: warm where the map is high. Beside it the map of a network with shuffled weights:"
    maps += " if the two look alike, the map shows the image rather than what was learnt."
    over_time = "Frame by frame: the probability of each plane, and the best frame of each."
    for kind, caption in ((EXPLAIN, maps), (TIMELINES, over_time)):
        paths = sorted((album.folder / kind).rglob("*.png"))
        if paths:
            told[kind] = _add(album, kind, paths, caption)
    return told


def _add(album: Album, kind: str, paths: list[Path], caption: str) -> str:
    used, shown = 0, 0
    for path in paths:
        name = path.relative_to(album.folder / kind).with_suffix("")
        used += album.sheet(path, " / ".join(name.parts).replace("_", " "), caption)
        shown += 1
        if used > MOST_BYTES:
            break
    left = len(paths) - shown
    return f"{left} more in figures/{kind}/, left out here to keep the page small." if left else ""
