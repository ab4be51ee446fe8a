"""How far apart the frames of a positive pair are, in time and in what they show."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import INK, new_figure, styled

COLOURS = ("#009E73", "#E69F00", "#7A7A7A")  # Okabe and Ito's green and orange, and grey: partner, same scan, other
LINES = ("-", (0, (6, 2)), (0, (1, 1.5)))


def pair_distances(pairs: pd.DataFrame, kinds: list[str]) -> Figure:
    """Left: seconds between anchor and partner. Right: cosine distance to the partner and to the controls, as the share
    of pairs that are at most so far apart. `pairs`: of `analysis.pairs.draw_pairs`; `kinds`: the partner's kind first.
    """
    with styled():
        figure = new_figure(9.0, 3.0)
        time, looks = figure.subplots(1, 2, width_ratios=(1, 1.35))
        partners = pick(pairs, kind=kinds[0])
        apart, counts = np.unique(partners["apart_s"].round(3), return_counts=True)
        step = float(np.diff(apart).min()) if len(apart) > 1 else 0.04
        share = 100 * counts / max(1, counts.sum())
        time.bar(apart, share, width=0.8 * step, color=COLOURS[0], linewidth=0)
        time.set_xlim(0, (float(apart.max()) if len(apart) else 0.1) + step)
        time.grid(axis="x", visible=False)
        time.set_xlabel("seconds between the frames of a pair")
        time.set_ylabel("pairs, %")
        for kind, colour, line in zip(kinds, COLOURS, LINES, strict=True):
            own = np.sort(pick(pairs, kind=kind)["distance"].to_numpy(float))
            if len(own):
                at = 100 * np.arange(1, len(own) + 1) / len(own)
                looks.step(own, at, where="post", color=colour, linestyle=line, label=kind)
        looks.axhline(50, color=INK, linewidth=0.6, alpha=0.4)
        looks.set_xscale("symlog", linthresh=0.01, linscale=0.4)
        looks.set_xticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        looks.set_xlim(0, 1)
        looks.set_ylim(0, 101)
        looks.set_xlabel("cosine distance of descriptors; 0 for copies")
        looks.set_ylabel("frames at most so far, %")
        figure.legend(loc="outside upper right", ncols=3)
    return figure
