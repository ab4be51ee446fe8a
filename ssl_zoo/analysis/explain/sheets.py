"""One sheet per class: right and wrong cases, where the classifier looks, and where it looks when it knows nothing."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from ssl_zoo.analysis.explain.cams import TECHNIQUES, WITHOUT_CLASS
from ssl_zoo.analysis.explain.measure import Seen
from ssl_zoo.analysis.style import INK, MUTED, new_figure, number, styled
from ssl_zoo.files import replacing

SIDE, GAP, WORDS = 1.55, 0.07, 0.27  # inches: a tile, between tiles, the words below a row
TOP, BLOCK, MARGIN = 0.86, 0.56, 0.12  # above the first block, a block's heading, around everything
NONE = 0.1  # below the words that a block is empty
LETTER, NARROWEST = 0.092, 6.2  # a letter of the title; all of them, at least
STRENGTH = 0.7  # how much of the image the hottest place of a map covers
HEAT = "autumn_r"  # yellow to red: bright enough to be seen over black fluid and shadow
KEY = (1.1, 0.09)  # inches: the bar that tells the colours
OUTLINE = "#35C9F2"  # of the defining structures: a blue that neither greys nor the heat have


def draw_sheet(
    path: Path,
    title: str,
    note: str,
    right: list[Seen],
    wrong: list[Seen],
    classes: tuple[str, ...],
    patients: dict[int, str],
) -> Path:
    """Write the sheet of one class as a PNG file. `patients`: row of the plane table -> patient."""
    techniques = list((right or wrong)[0].for_label)
    blocks = [
        ("taken for what it is", right, _columns(techniques, wrong=False)),
        ("taken for something else", wrong, _columns(techniques, wrong=True)),
    ]
    rows = len(right) + len(wrong)
    empty = (not right) + (not wrong)
    width = max(len(columns) for _, cases, columns in blocks if cases) * (SIDE + GAP)
    width = 2 * MARGIN + max(width, LETTER * len(title), NARROWEST)
    height = TOP + len(blocks) * BLOCK + rows * (SIDE + WORDS) + empty * NONE + MARGIN
    with styled():
        figure = new_figure(width, height)
        figure.set_layout_engine("none")
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_xlim(0, width)
        axis.set_ylim(height, 0)
        axis.set_axis_off()
        axis.text(MARGIN, MARGIN, title, va="top", fontsize=11, fontweight="bold", color=INK)
        axis.text(MARGIN, MARGIN + 0.26, note, va="top", fontsize=7, color=MUTED, linespacing=1.35)
        _draw_key(axis, width - MARGIN)
        top = TOP
        for heading, cases, columns in blocks:
            axis.text(MARGIN, top + 0.06, heading, va="top", fontsize=9, fontweight="bold", color=INK)
            for place, (_, words) in enumerate(columns if cases else []):
                middle = MARGIN + place * (SIDE + GAP) + SIDE / 2
                axis.text(middle, top + 0.52, words, ha="center", va="bottom", fontsize=7, color=INK)
            top += BLOCK
            if not cases:
                axis.text(MARGIN, top - 0.26, "none among the test images", va="top", fontsize=8, color=MUTED)
                top += NONE
            for case in cases:
                _draw_case(axis, case, columns, top)
                axis.text(MARGIN, top + SIDE + 0.03, _words(case, classes, patients), va="top", fontsize=7, color=MUTED)
                top += SIDE + WORDS
        with replacing(path) as part:
            figure.savefig(part, format="png", dpi=150, metadata={"Software": None})
    return path


def overlay(image: np.ndarray, found: np.ndarray) -> np.ndarray:
    """An image, uint8 `[H, W]` or `[H, W, 3]`, under a map `[size, size]` in 0..1: float `[H, W, 3]`.

    What the map does not care about stays grey; the hotter a place, the more of the heat's colour covers it.
    """
    grey = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image
    if found.shape != image.shape[:2]:
        at = [np.minimum(np.arange(n) * m // n, m - 1) for n, m in zip(image.shape[:2], found.shape, strict=True)]
        found = found[np.ix_(*at)]
    colour = matplotlib.colormaps[HEAT](found)[..., :3]
    part = (STRENGTH * found**1.5)[..., None]  # what is lukewarm shows the image
    return (1 - part) * grey / 255 + part * colour


def _columns(techniques: list[str], wrong: bool) -> list[tuple[tuple[str, str], str]]:
    """What stands in each column: (kind, technique) and its heading."""
    columns = [(("image", ""), "image")]
    for name in techniques:
        classless = name in WITHOUT_CLASS
        columns.append(
            (("for_label", name), f"{TECHNIQUES[name]}\n{'of no class' if classless else 'for its own class'}")
        )
        if wrong and not classless:
            columns.append((("for_predicted", name), f"{TECHNIQUES[name]}\nfor the class taken"))
        columns.append((("when_shuffled", name), f"{TECHNIQUES[name]}\nshuffled weights"))
    return columns


def _draw_key(axis: Axes, right: float) -> None:
    """The colours of a map over a mid-grey image, from nothing to the most; it ends at `right`."""
    left, top = right - KEY[0], MARGIN + 0.28  # beside the note, whose lines are short
    bar = overlay(np.full((1, 128), 128, np.uint8), np.linspace(0, 1, 128)[None])
    axis.imshow(bar, extent=(left, right, top + KEY[1], top), interpolation="bilinear", aspect="auto")
    for place, words, side in ((left, "nothing", "left"), (right, "most", "right")):
        axis.text(place, top + KEY[1] + 0.03, words, va="top", ha=side, fontsize=6.5, color=MUTED)


def _draw_case(axis: Axes, case: Seen, columns: list[tuple[tuple[str, str], str]], top: float) -> None:
    for place, ((kind, technique), _) in enumerate(columns):
        left = MARGIN + place * (SIDE + GAP)
        box = (left, left + SIDE, top + SIDE, top)
        if kind == "image":
            grey = np.repeat(case.image[..., None], 3, axis=-1) if case.image.ndim == 2 else case.image
            axis.imshow(grey, extent=box, interpolation="antialiased", aspect="auto")
        else:
            found = getattr(case, kind).get(technique)
            if found is None:
                continue
            axis.imshow(overlay(case.image, found), extent=box, interpolation="antialiased", aspect="auto")
            if found.max() <= 0:
                axis.text(left + SIDE / 2, top + SIDE - 0.1, "empty map", ha="center", fontsize=7, color="white")
        if case.target is not None:
            size = len(case.target)
            steps = (np.arange(size) + 0.5) / size * SIDE
            axis.contour(
                left + steps, top + steps, case.target, levels=[0.5], colors=OUTLINE, linewidths=0.6, alpha=0.9
            )


def _words(case: Seen, classes: tuple[str, ...], patients: dict[int, str]) -> str:
    own = f"{classes[case.label]} {number(float(case.probabilities[case.label]))}"
    if case.predicted == case.label:
        return f"{patients[case.row]}: {own}"
    taken = f"{classes[case.predicted]} {number(float(case.probabilities[case.predicted]))}"
    return f"{patients[case.row]}: taken for {taken}, {own}"
