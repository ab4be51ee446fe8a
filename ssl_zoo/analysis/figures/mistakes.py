"""Figures of what goes wrong: a sheet of mistakes, mistakes per patient, and how many inits share them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis.style import INK, MUTED, new_figure, styled

WRONG, RIGHT, BY_LOT = "#D55E00", "#56B4E9", "#7A7A7A"  # Okabe and Ito's vermillion and sky blue; grey for chance
MOST_NAMES = 45  # patients whose names fit under their bars


def mistake_sheet(pixels: np.ndarray, table: pd.DataFrame, *, columns: int = 6) -> Figure:
    """Images uint8 `[N, H, W]` or `[N, H, W, 3]` with what they are, what they were taken for, how surely, and whose
    they are; `table` has `label, predicted, confidence, patient_id` in the same order.
    """
    columns = min(columns, max(1, len(table)))
    rows = max(1, math.ceil(len(table) / columns))
    with styled():
        figure = new_figure(1.5 * columns, 1.95 * rows)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for axis, image, case in zip(axes, pixels, table.to_dict("records"), strict=False):
            axis.imshow(np.asarray(image), cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
            label, called = _short(str(case["label"])), f"called {_short(str(case['predicted']))}"
            title = f"{label}, {called}" if len(label + called) < 20 else f"{label},\n{called}"
            axis.set_title(title, fontsize=8, loc="center")
            words = f"{_short(str(case['patient_id']))}, sure to {100 * case['confidence']:.0f}\u00a0%"
            axis.text(0.5, -0.03, words, transform=axis.transAxes, ha="center", va="top", fontsize=7.5, color=MUTED)
    return figure


def patient_chart(table: pd.DataFrame) -> Figure:
    """The share of each patient's images that is wrong, the worst first, over the band that chance alone would give
    the patient at that place. `table`: of `mistakes.patient_table`.
    """
    place = np.arange(len(table))
    with styled():
        figure = new_figure(9.0, 3.1)
        axis = figure.subplots()
        low, high = 100 * table["low"], 100 * table["high"]
        label = "if mistakes fell on patients by lot, with 95\u00a0% band"
        axis.fill_between(place, low, high, step="mid", color=BY_LOT, alpha=0.25, linewidth=0)
        axis.step(place, 100 * table["expected"], where="mid", color=BY_LOT, linewidth=1.2, label=label)
        axis.plot(place, 100 * table["share"], "o", color=WRONG, markersize=6, zorder=3, label="this run")
        figure.legend(loc="outside upper right", ncols=2)
        axis.grid(axis="x", visible=False)
        axis.set_xlim(-0.7, len(table) - 0.3)
        axis.set_ylim(0, max(5.0, 1.12 * 100 * float(np.maximum(table["share"], table["high"]).max())))
        names = [_short(str(name)) for name in table["patient_id"]]
        axis.set_xticks(place if len(table) <= MOST_NAMES else [])
        if len(table) <= MOST_NAMES:
            axis.set_xticklabels(names, rotation=90, fontsize=7)
        axis.set_xlabel(f"{len(table)} test patients, the worst first")
        axis.set_ylabel("images that are wrong, %")
    return figure


def shared_chart(table: pd.DataFrame) -> Figure:
    """How many images are wrong for how many inits, beside what chance would give. `table`: of `shared_mistakes`."""
    with styled():
        figure = new_figure(6.4, 2.9)
        axis = figure.subplots()
        axis.bar(table["inits"], table["images"], width=0.7, color=WRONG, linewidth=0, label="this run")
        # Rare counts are skewed: their mean may lie beyond the interval, so this is no error bar about it.
        axis.vlines(table["inits"], table["low"], table["high"], color=INK, linewidth=1.2)
        label = "if each init failed by lot, with 95\u00a0% interval"
        axis.plot(table["inits"], table["expected"], "o", color=INK, markersize=4, label=label)
        axis.set_xticks(table["inits"])
        axis.grid(axis="x", visible=False)
        axis.set_xlabel("inits that get an image wrong")
        axis.set_ylabel("test images")
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def confidence_chart(images: pd.DataFrame, *, bins: int = 20) -> Figure:
    """How sure the classifier was where it was right and where it was wrong. `images`: of `mistakes.image_table`."""
    edges = np.linspace(0, 1, bins + 1)
    with styled():
        figure = new_figure(6.4, 2.6)
        axis = figure.subplots()
        sides = [images.loc[images["wrong"] == wrong, "confidence"] for wrong in (True, False)]
        names = [f"{words}, {len(own)} images" for words, own in zip(("wrong", "right"), sides, strict=True)]
        axis.hist(sides, bins=edges.tolist(), stacked=True, color=[WRONG, RIGHT], label=names, linewidth=0)
        axis.set_xlim(math.floor(bins * float(images["confidence"].min())) / bins, 1)
        axis.set_xlabel("mean probability of the predicted class")
        axis.set_ylabel("test images")
        figure.legend(loc="outside upper right", ncols=2)
    return figure


def _short(text: str, limit: int = 12) -> str:
    return text if len(text) <= limit else f"…{text[1 - limit :]}"
