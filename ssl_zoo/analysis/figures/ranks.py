"""Rank stability in one look: the place of each init in every setting, its mean rank, and how sure its place is."""

from __future__ import annotations

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssl_zoo.analysis.figures.cells import draw_cells
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.ranks import Ranking, rank_table
from ssl_zoo.analysis.style import MUTED, mode_label, new_figure, percent, styled


def rank_chart(ranking: Ranking, starts: Starts) -> Figure:
    """Left: rank by gain in every setting. Middle: mean rank with its 95 % interval. Right: probability of each place.

    Inits from the lowest mean rank downwards. Without predictions there is neither interval nor probability.
    """
    table, ranks = rank_table(ranking), ranking.ranks
    n, m = ranks.shape
    several = len({backbone for _, backbone in ranking.starts}) > 1
    names = [f"{starts[s].name} · {s[1]}" if several else starts[s].name for s in ranking.starts]
    sure = len(ranking.samples) > 0
    widths = [max(0.45 * m, 1.5), 1.9, *([max(0.36 * n, 1.5)] if sure else [])]
    with styled():
        figure = new_figure(min(sum(widths) + 0.8 + 0.08 * max(map(len, names)), 11.0), 0.29 * n + 1.15)
        axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
        draw_cells(axes[0], ranks, "viridis_r", (1, n), lambda value: f"{value:g}")
        axes[0].set_title("rank in each setting")
        axes[0].set_yticks(range(n), names)
        axes[0].set_xticks(range(m), [percent(setting.fraction).replace("\u00a0", "") for setting in ranking.settings])
        _modes(axes[0], ranking)
        _means(axes[1], ranking, starts, table["low"].to_numpy(), table["high"].to_numpy())
        if sure:
            chances = table[[f"p_place_{place + 1}" for place in range(n)]].to_numpy()
            draw_cells(axes[2], chances, "Blues", (0, 1), lambda value: f"{100 * value:.0f}" if value >= 0.005 else "")
            axes[2].set_title("chance of each place, %")
            axes[2].set_yticks([])
            axes[2].set_xticks(range(n), range(1, n + 1))
            axes[2].set_xlabel("place by mean rank")
    return figure


def _modes(axis: Axes, ranking: Ranking) -> None:
    """The modes below their settings, and a line between two."""
    place = 0
    labels = []
    for mode, group in itertools.groupby(ranking.settings, key=lambda setting: setting.mode):
        count = len(list(group))
        if place:
            axis.axvline(place - 0.5, color=MUTED, linewidth=1.5)
        labels.append((place + (count - 1) / 2, mode_label(mode)))
        place += count
    below = axis.secondary_xaxis(-0.0)
    below.set_xticks([at for at, _ in labels], [f"\n{words}" for _, words in labels])
    below.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    below.spines["bottom"].set_visible(False)


def _means(axis: Axes, ranking: Ranking, starts: Starts, low: np.ndarray, high: np.ndarray) -> None:
    for row, start in enumerate(ranking.starts):
        look = starts[start]
        axis.hlines(row, low[row], high[row], color=look.colour, linewidth=2.2, alpha=0.45)
        style = {"marker": look.marker, "color": look.colour, "markersize": 7, "markeredgecolor": "white"}
        axis.plot(ranking.mean_ranks[row], row, clip_on=False, **style)
    n = len(ranking.starts)
    axis.set_ylim(n - 0.5, -0.5)
    axis.set_xlim(0.7, n + 0.3)
    axis.set_yticks([])
    axis.grid(axis="y", visible=False)
    axis.set_title("mean rank")
    axis.set_xlabel("1 is best")
    axis.locator_params(axis="x", integer=True, nbins=6)
