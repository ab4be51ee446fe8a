"""Friedman's test over the settings of a run and Nemenyi's critical difference, with what their blocks leave open.

Demšar 2006, "Statistical comparisons of classifiers over multiple data sets", compares k classifiers over N data sets.
Here the blocks are the *settings* of one run: modes and label fractions on one test cohort. They share test patients,
pre-trained networks and nested label subsets. So they are no independent data sets, the test is too sure of itself, and
the critical difference is too small; `friedman_sentences` says so wherever they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ssl_zoo.analysis.answer import words
from ssl_zoo.analysis.counts import Floats
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.ranks import Ranking, kendall_w

ALPHA = 0.05
FEWEST = 3  # inits, and blocks, for which the figure is drawn


@dataclass(frozen=True)
class Friedman:
    """`statistic`: chi-square with `n_inits` - 1 degrees of freedom, corrected for ties; `p_value`.

    `critical_difference`: the least difference of two mean ranks that Nemenyi's test calls significant at 5 %.
    `groups`: (first, last) places in order of mean rank, of inits that it cannot tell apart; only those of two or more,
    and none that lies within another.
    """

    n_inits: int
    n_blocks: int
    statistic: float
    p_value: float
    critical_difference: float
    groups: list[tuple[int, int]]


def friedman(ranking: Ranking) -> Friedman | None:
    """The test on the ranks of a ranking; None for fewer than `FEWEST` inits or settings."""
    n, m = ranking.ranks.shape
    if n < FEWEST or m < FEWEST:
        return None
    statistic = m * (n - 1) * float(kendall_w(ranking.ranks))
    difference = critical_difference(n, m)
    p_value = 1.0 if np.isnan(statistic) else float(stats.chi2.sf(statistic, n - 1))
    return Friedman(n, m, statistic, p_value, difference, groups_of(ranking.mean_ranks, difference))


def critical_difference(n_inits: int, n_blocks: int, alpha: float = ALPHA) -> float:
    """Nemenyi's critical difference of mean ranks: q * sqrt(k (k + 1) / 6 N), q of the studentized range over sqrt 2.

    For k inits in N blocks (Nemenyi 1963; Demšar 2006, section 3.2.2).
    """
    q = float(stats.studentized_range.ppf(1 - alpha, n_inits, np.inf)) / np.sqrt(2)
    return q * float(np.sqrt(n_inits * (n_inits + 1) / (6 * n_blocks)))


def groups_of(mean_ranks: Floats, difference: float) -> list[tuple[int, int]]:
    """The longest runs (first, last) of ascending mean ranks `[n]` that span less than a difference."""
    found: list[tuple[int, int]] = []
    for first in range(len(mean_ranks)):
        last = int(np.flatnonzero(mean_ranks < mean_ranks[first] + difference)[-1])
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def friedman_sentences(test: Friedman, ranking: Ranking, starts: Starts) -> list[str]:
    """The result, whom it cannot tell from the first, and why it must not be read as more."""
    n, m = test.n_inits, test.n_blocks
    p = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.2g}"
    p = p.replace(" ", "\u00a0")
    told = [
        f"Friedman’s test over {m} blocks: χ²({n - 1}) = {test.statistic:.1f}, {p}. By Nemenyi’s test two mean ranks"
        f" differ when they are more than {test.critical_difference:.2f} apart (5\u00a0%)."
    ]
    first = starts[ranking.starts[0]].label
    tied = [starts[start].label for start in ranking.starts[1 : _last_tied(test) + 1]]
    if test.p_value >= ALPHA:
        told.append("So no difference between the inits is shown at all.")
    elif tied:
        told.append(f"{first} has the lowest mean rank, and is not told apart from {words(tied)}.")
    else:
        told.append(f"{first} has the lowest mean rank, apart from every other.")
    told.append(
        f"The blocks are the settings named above, all of one data set: they share {ranking.cohort} test patients, the"
        " pre-trained networks and nested label subsets. They are not independent, as both tests take them to be:"
        f" {m} settings are worth far fewer data sets, so the p-value and the critical difference are too small."
        " What they call tied is tied; what they tell apart needs the pairwise comparison over patients."
    )
    return told


def _last_tied(test: Friedman) -> int:
    return next((last for first, last in test.groups if first == 0), 0)
