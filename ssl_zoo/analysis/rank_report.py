"""Rank stability in sentences, tables and files: for the report of a run, and for the terminal over several runs."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ssl_zoo.analysis.answer import words
from ssl_zoo.analysis.csv_files import write_csv
from ssl_zoo.analysis.looks import Starts, looks_of
from ssl_zoo.analysis.rank_facts import RankedRun, read_ranked
from ssl_zoo.analysis.rank_runs import RunAgreement, compare_runs
from ssl_zoo.analysis.ranks import (
    FACTORS,
    Ranking,
    agreement_table,
    concordance,
    rank_inits,
    rank_table,
    setting_table,
)
from ssl_zoo.analysis.statistics import Estimates
from ssl_zoo.analysis.style import cohort_order, mode_label, number, percent
from ssl_zoo.analysis.tables import BY_IMAGE, Table, as_text
from ssl_zoo.errors import UserError

IN_WORDS = ((0.9, "the order hardly changes"), (0.7, "the order mostly holds"), (0.5, "the order holds in part"))
OTHERWISE = "the order depends on the setting"
WHAT = "gain in macro-F1 over the untrained network of its own backbone"


def settings_in_words(ranking: Ranking) -> str:
    """ "linear probe with 1 %, 5 % and 100 % of the labels, fine-tuning with 5 %"."""
    parts = []
    for mode, group in itertools.groupby(ranking.settings, key=lambda setting: setting.mode):
        parts.append(f"{mode_label(mode)} with {words([percent(setting.fraction) for setting in group])}")
    return "; ".join(parts) + " of the labels"


def concordance_in_words(w: float) -> str:
    """Kendall's W in words; the limits are a convention of this report."""
    return next((text for least, text in IN_WORDS if w >= least), OTHERWISE)


def rank_sentences(ranking: Ranking, starts: Starts) -> list[str]:
    """Who comes first and how surely, and whether the order holds over the settings."""
    table = rank_table(ranking)
    n, m = len(ranking.starts), len(ranking.settings)
    best = table.iloc[0]
    first = starts[ranking.starts[0]].label
    told = [f"{first} has the lowest mean rank, {best['mean_rank']:.1f} of {n}, over {_count(m, 'setting')}"]
    if np.isfinite(best["p_place_1"]):
        told[0] += (
            f"; when the {ranking.cohort} test patients are drawn anew, it stays first in"
            f" {_chance(best['p_place_1'])} of the draws"
        )
        rivals = table.iloc[1:].loc[table["p_place_1"].iloc[1:] >= 0.1]
        if len(rivals):
            names = [
                f"{starts[str(row['init']), str(row['backbone'])].label} in {_chance(row['p_place_1'])}"
                for row in rivals.to_dict("records")
            ]
            told[0] += f" ({words(names)})"
    told[0] += "."
    if m > 1:
        w, low, high = concordance(ranking)
        told.append(
            f"Kendall's W over the settings is {number(w)} (1: the same order everywhere; unrelated orders give"
            f" {number(1 / m)} on average): {concordance_in_words(w)}."
        )
        if np.isfinite(low):
            told[-1] += f" In 95\u00a0% of the draws, which add noise, W lies between {number(low)} and {number(high)}."
    else:
        told.append("There is one setting only, so nothing is known about other numbers of labels or modes.")
    if ranking.left_out:
        names = words([starts[start].label for start in ranking.left_out])
        told.append(f"Left out, for having run in too few settings: {names}.")
    return told


def place_table(ranking: Ranking, starts: Starts) -> Table:
    """One row per init: mean rank with interval, best and worst rank, mean gain, chances of the first places."""
    sure = len(ranking.samples) > 0
    columns = ["init", "backbone", "mean rank", "best to worst", "mean gain"]
    columns += ["first", "in the first three"] if sure and len(ranking.starts) > 3 else ["first"] if sure else []
    lines = []
    for row in rank_table(ranking).to_dict("records"):
        start = (str(row["init"]), str(row["backbone"]))
        limits = f" ({row['low']:.1f}–{row['high']:.1f})" if sure else ""
        span = f"{row['best_rank']:g} to {row['worst_rank']:g}"
        line = [starts[start].name, start[1], f"{row['mean_rank']:.1f}{limits}", span]
        line.append(number(row["mean_gain"], sign=True))
        line += [_chance(row["p_place_1"])] if sure else []
        if "in the first three" in columns:
            line.append(_chance(sum(row[f"p_place_{place}"] for place in (1, 2, 3))))
        lines.append(line)
    return Table(columns, lines, 2)


def factor_table(agreement: pd.DataFrame) -> Table:
    """How well orders agree that differ in one thing only; `agreement`: of `ranks.agreement_table`."""
    lines = [
        [
            FACTORS[row["factor"]],
            str(row["pairs"]),
            number(row["tau"]),
            number(row["lowest_tau"]),
            number(row["spearman"]),
        ]
        for row in agreement.to_dict("records")
    ]
    return Table(["differ only in", "pairs of orders", "Kendall's tau", "its lowest", "Spearman"], lines, 1)


def write_rank_files(
    folder: Path, results: pd.DataFrame, estimates: Estimates, predictions: pd.DataFrame | None = None, *, unit: str
) -> list[Path]:
    """Write `ranks.csv` (inits), `rank_settings.csv`, `rank_agreement.csv` and `rank_concordance.csv` into a folder.

    All cohorts are in them, and `unit` as in `write_score_files`; nothing is written where no two inits can be ranked.
    """
    rankings = [rank_inits(estimates, cohort) for cohort in cohort_order(estimates.table["cohort"])]
    found = [ranking for ranking in rankings if ranking is not None]
    if not found:
        return []
    agreed = []
    for ranking in found:
        w, low, high = concordance(ranking)
        counts = (len(ranking.starts), len(ranking.settings))
        agreed.append((ranking.cohort, *counts, w, low, high, 1 / len(ranking.settings)))
    columns = ["cohort", "inits", "settings", "kendall_w", "low", "high", "w_of_unrelated_orders"]
    tables = {
        "ranks": pd.concat([rank_table(r).assign(cohort=r.cohort).set_index("cohort").reset_index() for r in found]),
        "rank_settings": pd.concat([setting_table(ranking) for ranking in found]),
        "rank_agreement": agreement_table(results, predictions),
        "rank_concordance": pd.DataFrame(agreed, columns=columns),
    }
    paths = []
    for name, table in tables.items():
        path = Path(folder) / f"{name}.csv"
        paths.append(write_csv(path, table.assign(unit=unit)))
    return paths


def ranks_report(runs: Sequence[Path], *, replicates: int = 2000) -> str:
    """The rank stability of one run, or of several and between each two of them, as text for the terminal.

    Raises UserError for a folder that is no run, or in which no two inits can be ranked.
    """
    if not runs:
        raise UserError("ranks: name a run folder, for example runs/demo")
    read = [read_ranked(Path(path), replicates=replicates) for path in runs]
    blocks = [_run_text(run) for run in read]
    blocks += [_pair_text(one, other) for one, other in itertools.combinations(read, 2)]
    return "\n\n".join(blocks).replace("\u00a0", " ")


def _marked(text: str, *runs: RankedRun) -> str:
    return f"{text}; {BY_IMAGE}" if any(run.unit == "image" for run in runs) else text


def _run_text(run: RankedRun) -> str:
    ranking, starts, factors = run.ranking, looks_of(run.estimates.table), factor_table(run.agreement)
    lines = [_marked(f"{run.path.name}: rank by {WHAT}, {ranking.cohort} test cohort", run)]
    lines += [_wrapped(f"settings: {settings_in_words(ranking)}"), ""]
    lines += [as_text(place_table(ranking, starts)), "", *map(_wrapped, rank_sentences(ranking, starts))]
    if factors.rows:
        lines += ["", "how well orders agree (1: the same, 0: unrelated, -1: reversed)", as_text(factors)]
    return "\n".join(lines)


def _pair_text(first: RankedRun, second: RankedRun) -> str:
    one, other, found = first.path.name, second.path.name, compare_runs(first.ranking, second.ranking)
    if found is None:
        return f"{one} and {other}: fewer than two inits, or no setting, in common; their orders cannot be compared"
    shared = f"{_count(len(found.first.starts), 'init')} and {_count(len(found.first.settings), 'setting')} in common"
    lines = [
        _marked(f"{one} against {other}: {shared}", first, second),
        _wrapped(agreement_sentence(found)),
        "",
        as_text(moves_table(one, other, found, looks_of(first.estimates.table))),
    ]
    if len(found.first.settings) > 1:
        taus: dict[str, list[str]] = {}
        for setting, tau in zip(found.first.settings, found.setting_tau, strict=True):
            told = f"{percent(setting.fraction)}\u00a0{number(float(tau))}"
            taus.setdefault(mode_label(setting.mode), []).append(told)
        told = "; ".join(f"{mode}: {', '.join(values)}" for mode, values in taus.items())
        lines += ["", _wrapped(f"Kendall's tau in each setting: {told}")]
    return "\n".join(lines)


def agreement_sentence(found: RunAgreement) -> str:
    """How well the orders of two runs agree, with what chance would give."""
    limits = f" (in 95 % of the draws of test patients, which add noise, {number(found.low)} to {number(found.high)})"
    limits = limits if np.isfinite(found.low) else ""
    return (
        f"Kendall's tau of the mean ranks {number(found.tau)}{limits}, Spearman {number(found.rho)};"
        f" an unrelated order would agree as well with probability {found.p_value:.2g}"
    )


def moves_table(one: str, other: str, found: RunAgreement, starts: Starts) -> Table:
    """The mean rank of each shared init in both runs, and the mean gain."""
    lines = []
    for place, start in enumerate(found.first.starts):
        ranks = [ranking.mean_ranks[place] for ranking in (found.first, found.second)]
        gains = [ranking.gains[place].mean() for ranking in (found.first, found.second)]
        line = [starts[start].name, start[1], *(f"{rank:.1f}" for rank in ranks)]
        lines.append([*line, *(number(float(gain), sign=True) for gain in gains)])
    columns = ["init", "backbone", *(f"mean rank, {run}" for run in (one, other))]
    return Table([*columns, *(f"mean gain, {run}" for run in (one, other))], lines, 2)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120)  # not at the spaces that do not break


def _count(number_of: int, what: str) -> str:
    return f"{number_of} {what}{'s' if number_of != 1 else ''}"


def _chance(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"
