"""Maps of the test planes, coloured by class and by patient."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssl_zoo.analysis.atlas import Map
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.style import MUTED, PLANE_COLOURS, new_figure, percent, styled

MARKS = ["o", "s", "^", "D", "P", "X", "v", "<", ">", "*"]


def atlas_chart(maps: Sequence[Map], starts: Starts, classes: Sequence[str] | None = None) -> Figure:
    """A row per init; left coloured by class (shapes repeat it), right by patient."""
    labels = {label for found in maps for label in found.points["label"]}
    names = [name for name in (classes or sorted(labels)) if name in labels]
    patients = sorted({patient for found in maps for patient in found.points["patient_id"]})
    turn = matplotlib.colormaps["hsv"](np.arange(len(patients)) * 0.618034 % 1) * [0.85, 0.85, 0.85, 1]
    colour_of = dict(zip(patients, turn, strict=True))  # golden steps: neighbours in name are far apart in hue
    with styled():
        figure = new_figure(9.0, 3.9 * len(maps) + 0.5)
        axes = figure.subplots(len(maps), 2, squeeze=False)
        for (left, right), found in zip(axes, maps, strict=True):
            points = found.points
            size = float(np.clip(9000 / len(points), 10, 34))
            for place, name in enumerate(names):
                own = points.loc[points["label"] == name]
                style = {"color": PLANE_COLOURS[place % len(PLANE_COLOURS)], "marker": MARKS[place % len(MARKS)]}
                left.scatter(own["x"], own["y"], s=size, linewidths=0.3, edgecolors="white", **style)
            colours = np.array([colour_of[patient] for patient in points["patient_id"]])
            right.scatter(points["x"], points["y"], s=size, c=colours, linewidths=0.3, edgecolors="white")
            who = starts[found.start].label
            left.set_title(f"{who}: by class")
            right.set_title(f"{who}: by patient")
            left.set_xlabel(f"nearest plane is of the same class: {percent(round(found.same_class, 2))}")
            right.set_xlabel(f"nearest plane is of the same patient: {percent(round(found.same_patient, 2))}")
            for axis in (left, right):
                axis.set(xticks=[], yticks=[])
                axis.grid(False)
                axis.xaxis.label.set_color(MUTED)
                for spine in axis.spines.values():
                    spine.set_visible(True)
        handles = [
            Line2D([], [], linestyle="", marker=MARKS[place % len(MARKS)], label=name,
                   color=PLANE_COLOURS[place % len(PLANE_COLOURS)])
            for place, name in enumerate(names)
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
    return figure
