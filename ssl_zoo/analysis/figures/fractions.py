"""What curves over label fractions share: the logarithmic axis, and one curve with its interval."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ssl_zoo.analysis.looks import Look
from ssl_zoo.analysis.style import percent


def fraction_axis(axis: Axes, panel: pd.DataFrame, *, patients: bool = True) -> None:
    """A logarithmic axis of label fractions, ticked at the fractions used, with the number of patients below each."""
    axis.set_xscale("log")
    fractions = sorted(panel["fraction"].unique())
    labels = []
    for fraction in fractions:
        label = percent(fraction)
        if patients:
            mean = panel.loc[panel["fraction"] == fraction, "n_train_patients"].mean()
            label += f"\n{mean:.0f}" if np.isfinite(mean) else ""
        labels.append(label)
    axis.set_xticks(fractions, labels, minor=False)
    axis.set_xticks([], minor=True)
    if not patients and len(fractions) > 4:  # narrow panels: every label would touch its neighbour
        kept = {fractions[0], fractions[-1], min(fractions, key=lambda f: abs(math.log(f / 0.1)))}
        axis.set_xticks(fractions, [label if f in kept else "" for f, label in zip(fractions, labels, strict=True)])
    if len(fractions) == 1:
        axis.set_xlim(fractions[0] / 2, fractions[0] * 2)


def draw_curve(
    axis: Axes,
    curve: pd.DataFrame,
    column: str,
    bounds: tuple[str, str],
    look: Look,
    mode: str,
    *,
    band: float = 0.09,
    shift: float | None = None,
) -> None:
    """A curve over its fractions with its interval: a band, or whiskers where curves would cover each other.

    `shift`: draw whiskers, and move the curve by so much of the axis' logarithm (a tenth is a tenth of a factor e).
    """
    if curve.empty:
        return
    curve = curve.sort_values("fraction")
    x = curve["fraction"].to_numpy(float) * math.exp(shift or 0.0)
    low, high = (curve[bound].to_numpy(float) for bound in bounds)
    above = 2 if look.baseline else 3
    style = {"color": look.colour, "linestyle": look.line(mode), "marker": look.marker, "zorder": above}
    axis.plot(x, curve[column].to_numpy(float), markeredgecolor="white", markeredgewidth=0.5, **style)
    if len(x) == 1 or shift is not None:
        axis.vlines(x, low, high, color=look.colour, alpha=0.45, linewidth=1.2, zorder=above - 1)
    elif np.isfinite(low).any():
        axis.fill_between(x, low, high, color=look.colour, alpha=band, linewidth=0, zorder=above - 1)
