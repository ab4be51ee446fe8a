"""The critical-difference figure of Demšar 2006: mean ranks on a line, and bars over inits that are not told apart."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from ssl_zoo.analysis.friedman import Friedman
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.ranks import Ranking
from ssl_zoo.analysis.style import INK, MUTED, new_figure, styled

ROW = 0.23  # inches between two names


def critical_difference_chart(test: Friedman, ranking: Ranking, starts: Starts) -> Figure:
    """Mean ranks from 1 (best) to the right; a thick bar joins inits closer than the critical difference above."""
    n, ranks = test.n_inits, ranking.mean_ranks
    names = [starts[start].label for start in ranking.starts]
    left = math.ceil(n / 2)
    bars = 0.3 + 0.13 * len(test.groups)  # inches between the axis and the first name
    below, above = bars + ROW * left, 0.62
    margin = 0.55 + 0.075 * max(map(len, names))
    width = max(3.6, 0.45 * n)
    with styled():
        figure = new_figure(width + 2 * margin + 0.2, above + below + 0.15)
        figure.set_layout_engine("none")  # the places are set in inches below
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set_axis_off()
        scale = (n - 1) / width  # ranks in an inch
        axis.set_xlim(1 - scale * (margin + 0.1), n + scale * (margin + 0.1))
        axis.set_ylim(-below - 0.1, above + 0.05)
        axis.hlines(0, 1, n, color=INK, linewidth=1.2)
        for rank in range(1, n + 1):
            axis.vlines(rank, 0, 0.07, color=INK, linewidth=1)
            axis.text(rank, 0.1, str(rank), ha="center", va="bottom", fontsize=8)
        span = min(test.critical_difference, n - 1)
        wider = " (wider than the scale)" if test.critical_difference > n - 1 else ""
        axis.hlines(0.36, 1, 1 + span, color=INK, linewidth=1.6)
        axis.vlines([1, 1 + span], 0.31, 0.41, color=INK, linewidth=1.6)
        label = f"critical difference {test.critical_difference:.2f}{wider}"
        axis.text(1, 0.45, label, ha="left", va="bottom", fontsize=8)
        axis.text(n, 0.45, "mean rank, 1 is best", ha="right", va="bottom", fontsize=8, color=MUTED)
        for place, start in enumerate(ranking.starts):
            look = starts[start]
            best = place < left
            row = place if best else n - 1 - place
            y = -bars - ROW * row
            end = 1 - scale * 0.12 if best else n + scale * 0.12
            rank = float(ranks[place])
            axis.plot([rank, rank, end], [0, y, y], color=look.colour, linewidth=1.1, zorder=1)
            style = {"marker": look.marker, "markersize": 7, "markeredgecolor": "white", "clip_on": False}
            axis.plot(rank, 0, color=look.colour, zorder=4, **style)
            shift = -0.05 * scale if best else 0.05 * scale
            words = f"{names[place]}  {rank:.1f}" if best else f"{rank:.1f}  {names[place]}"
            axis.text(end + shift, y, words, ha="right" if best else "left", va="center", fontsize=8.5)
        for number, (first, last) in enumerate(test.groups):
            y = -0.17 - 0.13 * number
            ends = float(ranks[first]) - 0.04 * scale, float(ranks[last]) + 0.04 * scale
            axis.hlines(y, *ends, color=INK, linewidth=3.2, zorder=3)
    return figure
