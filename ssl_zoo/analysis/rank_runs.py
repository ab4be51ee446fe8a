"""Two runs side by side: does the order of the inits survive what differs between them?"""

from __future__ import annotations

from dataclasses import dataclass

from scipy import stats

from ssl_zoo.analysis.bootstrap import interval
from ssl_zoo.analysis.counts import Floats
from ssl_zoo.analysis.looks import Start
from ssl_zoo.analysis.ranks import Ranking, Setting, kendall_tau, ranks_of, spearman


@dataclass(frozen=True, eq=False)
class RunAgreement:
    """Two rankings, cut down to the inits and settings that both have, and how well their orders agree.

    `tau`, `rho`: Kendall's tau-b and Spearman's correlation of the mean ranks over the shared settings; `low`, `high`:
    95 % interval of `tau` over resampled test patients (NaN without predictions in both runs); `p_value`: the share of
    all orders of the second run that would agree with the first one as well or better.
    `setting_tau`, `setting_rho` [m]: the same in each shared setting.
    """

    first: Ranking
    second: Ranking
    tau: float
    low: float
    high: float
    rho: float
    p_value: float
    setting_tau: Floats
    setting_rho: Floats


def compare_runs(first: Ranking, second: Ranking) -> RunAgreement | None:
    """Compare the orders of two runs; None where they share fewer than two inits, or no setting.

    An init is the same in both when name and backbone are; where no two share that, the name alone counts, which a
    ranking by gains over the own backbone allows. Resamples are paired: where both runs test the same patients, each
    draw of patients is one draw for both.
    """
    pairs = _shared(first.starts, second.starts)
    settings: list[Setting] = [setting for setting in first.settings if setting in second.settings]
    if len(pairs) < 2 or not settings:
        return None
    one = first.only([a for a, _ in pairs], settings)
    other = second.only([b for _, b in pairs], settings)
    n_samples = min(len(one.samples), len(other.samples))
    taus = kendall_tau(
        *(ranks_of(ranking.samples[:n_samples]).sum(-1) for ranking in (one, other))  # [R, n] each
    )
    low, high = interval(taus)
    _, p_value = stats.kendalltau(one.mean_ranks, other.mean_ranks, alternative="greater")
    return RunAgreement(
        one,
        other,
        tau=float(kendall_tau(one.mean_ranks, other.mean_ranks)),
        low=low,
        high=high,
        rho=float(spearman(one.mean_ranks, other.mean_ranks)),
        p_value=float(p_value),  # type: ignore[arg-type]
        setting_tau=kendall_tau(one.gains.T, other.gains.T),
        setting_rho=spearman(one.gains.T, other.gains.T),
    )


def _shared(first: list[Start], second: list[Start]) -> list[tuple[Start, Start]]:
    same = [(start, start) for start in first if start in second]
    if len(same) > 1:
        return same
    names = {name: [start for start in second if start[0] == name] for name, _ in first}
    once = {name for name, _ in first if sum(start[0] == name for start in first) == 1}
    return [(start, names[start[0]][0]) for start in first if start[0] in once and len(names[start[0]]) == 1]
