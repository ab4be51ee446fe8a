"""How diverse the frames of a store are: as their number grows, and within each patient."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ssl_zoo.analysis.style import INK, MUTED, new_figure, styled
from ssl_zoo.scans.diversity import NEAR, CurvePoint, Diversity

FRAMES_COLOUR, SCANS_COLOUR = "#0072B2", "#D55E00"  # Okabe and Ito (2008)
MOST_NAMES = 30  # patients whose names fit under their bars


def store_diversity(found: Diversity) -> Figure:
    """Two panels: the effective number of frames as frames, or whole scans, are added; and that of each patient alone.

    The bands go from the least to the most of several random orders.
    """
    with styled():
        figure = new_figure(9.0, 3.6)
        growth, within = figure.subplots(1, 2, width_ratios=(1.15, 1), sharey=True)
        _draw_curve(growth, found.by_frames, FRAMES_COLOUR, "single frames, drawn by lot")
        _draw_curve(growth, found.by_scans, SCANS_COLOUR, "whole scans, drawn by lot")
        growth.set_xscale("log")
        growth.legend(loc="upper left")
        growth.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else ""))
        growth.set_ylim(0, 1.12 * found.whole.effective)
        growth.set_xlabel("frames, as more are added")
        growth.set_ylabel("effective number of frames")
        growth.set_title("Diversity of growing parts of the store")
        _draw_patients(within, found)
        whole = found.whole
        nearest = "" if whole.nearest is None else f"; on average, the nearest other one is {whole.nearest:.3f} away"
        figure.supxlabel(
            f"{whole.frames:,} frames of {len(found.scans):,} scans are as diverse as {whole.effective:.1f} that have "
            f"nothing in common (Vendi score).\n{100 * whole.near_duplicates:.0f}\u00a0% have a near duplicate, at "
            f"most {NEAR} away (1 − cosine of descriptors){nearest}.",
            fontsize=8,
            color=MUTED,
        )
    return figure


def _draw_curve(axis: Axes, curve: tuple[CurvePoint, ...], colour: str, words: str) -> None:
    """A line with its band."""
    frames, mean, low, high = (np.array([getattr(p, n) for p in curve]) for n in ("frames", "effective", "low", "high"))
    axis.fill_between(frames, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.plot(
        frames,
        mean,
        color=colour,
        label=words,
        marker="o",
        markersize=3.5,
        markeredgecolor="white",
        markeredgewidth=0.5,
    )


def _draw_patients(axis: Axes, found: Diversity) -> None:
    """A bar for each patient, the most diverse first, and the store's own number as a line."""
    ordered = sorted(found.patients.items(), key=lambda entry: (-entry[1].effective, entry[0]))
    place = np.arange(len(ordered))
    axis.bar(place, [own.effective for _, own in ordered], width=0.85, color=FRAMES_COLOUR, alpha=0.75, linewidth=0)
    axis.axhline(found.whole.effective, color=INK, linestyle=(0, (4, 2)), linewidth=1.2)
    axis.annotate(
        "the whole store",
        (1, found.whole.effective),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=8.5,
        color=INK,
    )
    axis.set_xlim(-0.7, len(ordered) - 0.3)
    axis.grid(axis="x", visible=False)
    if len(ordered) <= MOST_NAMES:
        axis.set_xticks(place, [name for name, _ in ordered], rotation=90 if len(ordered) > 3 else 0, fontsize=7)
    else:
        axis.set_xticks([])
    axis.set_xlabel(f"{len(ordered)} patients, the most diverse first")
    axis.set_title("Within each patient alone")
