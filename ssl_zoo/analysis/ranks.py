"""Does the order of the inits survive another number of labels, another mode, cohort or seed, or another run?

**Setting**: one mode with one label fraction on one test cohort. **Gain**: macro-F1 of an init less that of the
untrained network of its own backbone, on the same patients and the same (fold, seed) cells; so inits on different
backbones can be ranked together. **Rank**: place by gain within a setting, 1 for the largest; equal gains share the
mean of their places. **Mean rank**: over all settings of a cohort, each counting the same.

- `kendall_w`: agreement of all settings at once, 0 to 1; m unrelated orders give 1/m on average.
- `kendall_tau` (tau-b) and `spearman`: agreement of two orders, -1 (reversed) to 1 (the same).
- `place_probabilities`: how often an init comes first, second, ... by mean rank when the test patients are drawn again.

Intervals and probabilities resample test patients and hold the trained networks fixed. A resample adds the noise of the
sample once more, so orders look rather less stable in them than they are. No p-value is given for W: settings share
their test patients, and nested label subsets, so they are not independent judges.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from ssl_zoo.analysis.bootstrap import interval
from ssl_zoo.analysis.counts import Floats
from ssl_zoo.analysis.looks import Start
from ssl_zoo.analysis.pooling import cells_by_setting
from ssl_zoo.analysis.statistics import BASELINE, START, Estimates, pick
from ssl_zoo.analysis.style import cohort_order, mode_order

ENOUGH = 0.5  # an init with gains in a smaller share of the settings is left out of the ranking


@dataclass(frozen=True)
class Setting:
    """One mode with one label fraction."""

    mode: str
    fraction: float


@dataclass(frozen=True, eq=False)
class Ranking:
    """The inits of a run on one cohort, lowest mean rank first.

    `gains` [n inits, m settings]; `samples` [R, n, m], the gains in R resamples of the test patients (R is 0 without
    predictions). `left_out`: inits with too few settings; only settings in which all others have a gain are kept.
    """

    cohort: str
    starts: list[Start]
    settings: list[Setting]
    gains: Floats
    samples: Floats
    left_out: list[Start]

    @property
    def ranks(self) -> Floats:
        """[n, m]; see `ranks_of`."""
        return ranks_of(self.gains)

    @property
    def mean_ranks(self) -> Floats:
        """[n]"""
        return self.ranks.mean(1)

    def only(self, starts: Sequence[Start], settings: Sequence[Setting]) -> Ranking:
        """The ranking of some of its inits over some of its settings, in the order given."""
        rows = [self.starts.index(start) for start in starts]
        columns = [self.settings.index(setting) for setting in settings]
        gains, samples = self.gains[np.ix_(rows, columns)], self.samples[:, rows][:, :, columns]
        return replace(self, starts=list(starts), settings=list(settings), gains=gains, samples=samples)


def rank_inits(estimates: Estimates, cohort: str | None = None) -> Ranking | None:
    """The ranking on a cohort (None: the internal one); None where fewer than two inits can be compared."""
    table = estimates.table
    cohort = cohort_order(table["cohort"])[0] if cohort is None else cohort
    rows = pick(table, cohort=cohort)
    rows = rows.loc[(rows["init"] != BASELINE) & rows["difference"].notna()]
    if rows.empty:
        return None
    # row numbers of the estimates, by init and setting; -1 where there is no gain
    wide = rows.assign(_row=rows.index).pivot(index=START, columns=["mode", "fraction"], values="_row")
    wide = wide.astype(float).fillna(-1).astype(int)
    kept = wide.loc[(wide >= 0).mean(axis=1) >= ENOUGH]
    kept = kept.loc[:, (kept >= 0).all()]
    if len(kept) < 2 or not kept.shape[1]:
        return None
    modes = mode_order(kept.columns.get_level_values(0))
    settings = sorted(
        (Setting(str(m), float(f)) for m, f in kept.columns), key=lambda s: (modes.index(s.mode), s.fraction)
    )
    cells = kept[[(setting.mode, setting.fraction) for setting in settings]].to_numpy()  # [n, m]
    gains = table["difference"].to_numpy(float)[cells]
    samples = estimates.differences[cells].transpose(2, 0, 1)  # [R, n, m]
    samples = samples[~np.isnan(samples).any((1, 2))]
    starts = [(str(init), str(backbone)) for init, backbone in kept.index]
    left_out = [(str(init), str(backbone)) for init, backbone in wide.index.difference(kept.index)]
    order = np.lexsort((-gains.mean(1), ranks_of(gains).mean(1)))
    ranking = Ranking(cohort, starts, settings, gains, samples, left_out)
    return ranking.only([starts[place] for place in order], settings)


def ranks_of(gains: Floats) -> Floats:
    """Places `[..., n, m]` of gains `[..., n, m]` within each of the m settings: 1 is the largest, equal ones share."""
    return stats.rankdata(-gains, axis=-2)


def kendall_w(ranks: Floats) -> Floats:
    """Kendall's coefficient of concordance of ranks `[..., n, m]`: n inits placed by m settings; 0 to 1.

    The variance of the rank sums over its largest possible value, with the correction for ties (Kendall and Babington
    Smith 1939; Siegel and Castellan 1988, 9.4). NaN where every setting ties all inits.
    """
    m = ranks.shape[-1]
    total = ranks.sum(-1)  # [..., n]
    between = ((total - total.mean(-1, keepdims=True)) ** 2).sum(-1)
    within = ((ranks - ranks.mean(-2, keepdims=True)) ** 2).sum((-1, -2))
    return np.where(within > 0, between / np.where(within > 0, m * within, 1), np.nan)


def kendall_tau(one: Floats, other: Floats) -> Floats:
    """Kendall's tau-b of two orders `[..., n]`, over the leading dimensions at once; NaN where one is all ties."""
    one_sign = np.sign(one[..., :, None] - one[..., None, :])  # [..., n, n], every pair twice
    other_sign = np.sign(other[..., :, None] - other[..., None, :])
    return _ratio((one_sign * other_sign).sum((-1, -2)), (one_sign**2).sum((-1, -2)), (other_sign**2).sum((-1, -2)))


def spearman(one: Floats, other: Floats) -> Floats:
    """Spearman's rank correlation of two orders `[..., n]`: Pearson's of their ranks; NaN where one is all ties."""
    one, other = (stats.rankdata(values, axis=-1) for values in (one, other))
    one, other = (values - values.mean(-1, keepdims=True) for values in (one, other))
    return _ratio((one * other).sum(-1), (one**2).sum(-1), (other**2).sum(-1))


def _ratio(product: Floats, one: Floats, other: Floats) -> Floats:
    scale = np.sqrt(one * other)
    return np.where(scale > 0, product / np.where(scale > 0, scale, 1), np.nan)


def place_probabilities(samples: Floats) -> Floats:
    """P[i, k]: the share of resamples `[R, n, m]` in which init i is at place k + 1 by mean rank; inits that tie share.

    Rows and columns sum to 1. NaN where there are no resamples.
    """
    n = samples.shape[1]
    if not len(samples):
        return np.full((n, n), np.nan)
    total = ranks_of(samples).sum(-1)  # [R, n]; sums of halves are exact, so ties are seen
    before = (total[:, :, None] > total[:, None, :]).sum(-1)  # [R, n]
    tied = (total[:, :, None] == total[:, None, :]).sum(-1)  # with itself
    places = np.arange(n)
    there = (places >= before[:, :, None]) & (places < (before + tied)[:, :, None])  # [R, n, n]
    return (there / tied[:, :, None]).mean(0)


def first_probabilities(samples: Floats) -> Floats:
    """P[i, j]: the share of resamples `[R, n, m]` in which init i has the largest gain in setting j; ties share."""
    if not len(samples):
        return np.full(samples.shape[1:], np.nan)
    best = samples == samples.max(1, keepdims=True)
    return (best / best.sum(1, keepdims=True)).mean(0)


def concordance(ranking: Ranking) -> tuple[float, float, float]:
    """Kendall's W over the settings, with its 95 % interval over resampled test patients (NaN without predictions)."""
    return float(kendall_w(ranking.ranks)), *interval(kendall_w(ranks_of(ranking.samples)))


def rank_table(ranking: Ranking) -> pd.DataFrame:
    """One row per init: init, backbone, mean_rank with low and high, best_rank, worst_rank, mean_gain, p_place_<k>."""
    means = ranks_of(ranking.samples).mean(-1)  # [R, n]
    limits = [interval(means[:, place]) for place in range(len(ranking.starts))]
    table = pd.DataFrame(ranking.starts, columns=START).assign(
        mean_rank=ranking.mean_ranks,
        low=[low for low, _ in limits],
        high=[high for _, high in limits],
        best_rank=ranking.ranks.min(1),
        worst_rank=ranking.ranks.max(1),
        mean_gain=ranking.gains.mean(1),
    )
    chances = place_probabilities(ranking.samples)
    return table.assign(**{f"p_place_{place + 1}": chances[:, place] for place in range(len(chances))})


def setting_table(ranking: Ranking) -> pd.DataFrame:
    """One row per setting and init: cohort, mode, fraction, init, backbone, gain, rank, p_first."""
    first, ranks = first_probabilities(ranking.samples), ranking.ranks
    rows = [
        (ranking.cohort, setting.mode, setting.fraction, *start, ranking.gains[i, j], ranks[i, j], first[i, j])
        for j, setting in enumerate(ranking.settings)
        for i, start in enumerate(ranking.starts)
    ]
    return pd.DataFrame(rows, columns=["cohort", "mode", "fraction", *START, "gain", "rank", "p_first"])


FACTORS = {
    "fraction": "number of labels",
    "mode": "mode of evaluation",
    "cohort": "test cohort",
    "seed": "label subset (seed)",
    "pretrain_seed": "pre-training seed",
}
SEEDS = ("seed", "pretrain_seed")  # factors of which a setting holds several values, which its gains average


def agreement_table(results: pd.DataFrame, predictions: pd.DataFrame | None = None) -> pd.DataFrame:
    """How well two orders agree that differ in one thing only: one row per thing that the results vary.

    Columns: factor (a key of FACTORS), pairs (of orders, all other things equal), tau and spearman (means over the
    pairs), lowest_tau. For `seed` and `pretrain_seed` an order is that of one seed alone; for the others the gains are
    those of every figure, with seeds averaged. Each pair is judged on the inits that both have.
    """
    gains = setting_gains(results, predictions)
    rows = []
    for factor in FACTORS:
        by = factor if factor in SEEDS else ""
        keys = ["cohort", "mode", "fraction", *([factor] if by else [])]
        own = gains.loc[gains["by"] == by].rename(columns={"value": factor} if by else {})
        wide = own.pivot(index=START, columns=keys, values="gain")
        values, taus, rhos = wide.to_numpy(float), [], []
        for (i, one), (j, other) in itertools.combinations(enumerate(wide.columns), 2):
            if [name for name, a, b in zip(keys, one, other, strict=True) if a != b] != [factor]:
                continue
            both = values[:, [i, j]]
            both = both[~np.isnan(both).any(1)]  # [inits, 2]
            if len(both) > 1:
                taus.append(float(kendall_tau(both[:, 0], both[:, 1])))
                rhos.append(float(spearman(both[:, 0], both[:, 1])))
        if taus and not np.isnan(taus).all():
            rows.append((factor, len(taus), np.nanmean(taus), np.nanmean(rhos), np.nanmin(taus)))
    return pd.DataFrame(rows, columns=["factor", "pairs", "tau", "spearman", "lowest_tau"])


def setting_gains(
    results: pd.DataFrame, predictions: pd.DataFrame | None = None, *, baseline: str = BASELINE
) -> pd.DataFrame:
    """Gains in macro-F1 of every init, over all its cells of a setting and over those of each seed alone.

    Columns: cohort, mode, fraction, START, by ("" for all cells, else one of SEEDS), value (of that seed, NaN for all),
    gain. Both sides are scored on the folds and seeds that both have, as `statistics` does: folds pooled, seeds
    averaged. Without predictions cells are averaged.
    """
    rows = []
    for cells in cells_by_setting(results, predictions, replicates=0, seed=0):
        group = cells.rows
        setting = [group[name].iloc[0] for name in ("cohort", "mode", "fraction")]
        for (init, backbone), own in group.groupby(START, sort=True).indices.items():  # type: ignore[misc]
            base = np.flatnonzero((group["init"] == baseline) & (group["backbone"] == backbone))
            if init == baseline or not len(base):
                continue
            parts = [("", float("nan"), own)]
            for by in (name for name in SEEDS if name in group):
                known = group[by].iloc[own]
                parts += [(by, float(value), own[(known == value).to_numpy(bool)]) for value in known.dropna().unique()]
            for by, value, part in parts:
                ours, theirs = cells.shared(part.tolist(), base.tolist())
                if ours:
                    gain = float(cells.f1(ours)[0] - cells.f1(theirs)[0])
                    rows.append((*setting, init, backbone, by, value, gain))
    return pd.DataFrame(rows, columns=["cohort", "mode", "fraction", *START, "by", "value", "gain"])
