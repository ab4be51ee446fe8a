"""The answer in three sentences: who wins and how surely, how many labels that saves, and what is not significant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.analysis.contest import SIGNIFICANT, Contest
from ssl_zoo.analysis.labels_saved import AT_SMALLEST, NOT_REACHED
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.style import about, number, percent
from ssl_zoo.analysis.wording import FEW, Names, setting_in_words, span, words


def three_sentences(
    contest: Contest, saved: pd.DataFrame, names: Names, mode: str, fraction: float, cohort: str
) -> list[str]:
    """For one mode and label fraction, with at least one candidate; `saved`: of `labels_saved.labels_saved`."""
    return [
        winner_sentence(contest, names, mode, fraction),
        labels_sentence(contest, pick(saved, mode=mode, cohort=cohort), names),
        doubt_sentence(contest, names),
    ]


def winner_sentence(contest: Contest, names: Names, mode: str, fraction: float) -> str:
    """Who is worth using, with the score, the gain and their intervals; or that nobody is shown to be.

    Where an untrained network of whatever backbone scores higher, no one is called worth using, and it is named.
    """
    told = f"{setting_in_words(mode, fraction, contest.rows)}, {_winner(contest, names)}"
    above = [f"{names.of(row)}, {_score(row)}" for _, row in contest.above.iterrows()]
    return f"{told}; higher still without any pre-training: {words(above)}." if above else f"{told}."


def _winner(contest: Contest, names: Names) -> str:
    rows = contest.rows
    best: Any = rows.iloc[0]
    who, score, gain = names.of(best), _score(best), _gain(best)
    if not contest.has_intervals:
        return f"{who} scores highest so far ({score}); its significance is not known without predictions"
    highest = f"{who} scores highest, {score}{gain}"
    if not rows["p_holm"].notna().any():
        return highest
    useful = useful_rows(rows)
    if useful.empty:
        nobody = "no init is shown to be better than an untrained network of its own backbone"
        return f"{nobody}: {who}, the highest, has {score}{gain}"
    better = f"{names.some(useful, rows)} {'is' if len(useful) == 1 else 'are'} better than untrained"
    top = rows.loc[[best.name, *contest.tied]]
    if len(top) == len(rows) > 1 or len(top) > 4:
        return f"{better}, but no single winner can be named; {highest}"
    if best.name not in useful.index:
        doubt = ", but is not significantly above its own backbone" if np.isfinite(best["difference"]) else ""
        return f"{better}; {highest}{doubt}"
    if len(top) > 1:
        return f"{names.list(top)} lead, tied; {highest}"
    if len(contest.above):
        return highest
    return f"{who} is {'the one to use' if len(rows) > 1 else 'worth using'}: {score}{gain}"


def useful_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The points that are significantly better than the untrained network of their backbone."""
    return rows.loc[(rows["p_holm"] < SIGNIFICANT) & (rows["difference"] > 0)]


def _score(row: Any) -> str:
    return f"macro-F1 {number(row['f1_macro'])}{span(row['low'], row['high'])}"


def _gain(row: Any) -> str:
    """The gain to follow a score, or why there is none."""
    if not np.isfinite(row["difference"]):
        return "; no untrained network of its backbone has been run"
    limits = span(row["difference_low"], row["difference_high"], sign=True, before="")
    return f", {number(row['difference'], sign=True)}{limits} over untrained"


def labels_sentence(contest: Contest, saved: pd.DataFrame, names: Names) -> str:
    """How few labels the best init needs for what its untrained backbone has with the most."""
    best: Any = contest.rows.iloc[0]
    own = pick(saved, init=best["init"], backbone=best["backbone"])
    own = own.loc[own["smallest"] < own["target_fraction"]]
    if own.empty:
        return "How many labels that saves cannot be said: it takes an untrained baseline and two label fractions."
    row: Any = own.iloc[0]
    who, full = names.of(best), percent(row["target_fraction"])
    goal = f"what its untrained backbone scores with {full} of the labels (macro-F1 {number(row['target'])})"
    if row["state"] == NOT_REACHED:
        others = saved.loc[(saved["state"] != NOT_REACHED) & (saved["smallest"] < saved["target_fraction"])]
        reach = f" ({names.list(others)} {'does' if len(others) == 1 else 'do'})" if 0 < len(others) <= FEW else ""
        return f"No labels are shown to be saved: {who} does not reach {goal}{reach}."
    needed, goal_fraction = float(row["fraction"]), float(row["target_fraction"])
    if np.isinf(row["high"]):
        return (
            f"It is not sure that labels are saved: {who} reaches {goal} with {about(needed)}, but does not in"
            f" {about(1 - row['reached'])} of the draws of test patients."
        )
    limits = _limits(row)
    if row["state"] == AT_SMALLEST:
        spared = about(1 - needed / goal_fraction)
        return (
            f"{who} reaches {goal} already with {percent(needed)}, the smallest fraction tried{limits}:"
            f" at least {spared} of the labels are saved."
        )
    if needed >= goal_fraction * (1 - 1e-9):
        return f"No labels are shown to be saved: {who} needs {about(needed)} of them{limits} for {goal}."
    spared = about(1 - needed / goal_fraction)
    return f"{who} reaches {goal} with about {about(needed)}{limits}: about {spared} of the labels are saved."


def _limits(row: Any) -> str:
    if np.isnan(row["low"]):
        return ""
    if row["low"] == row["high"]:
        return f" (in 95\u00a0% of the draws of test patients: {about(row['low'])})"
    return f" (95\u00a0% interval {about(row['low'])} to {about(row['high'])})"


def doubt_sentence(contest: Contest, names: Names) -> str:
    """What the numbers do not carry: leads and gains that are not significant."""
    rows = contest.rows
    best: Any = rows.iloc[0]
    if not contest.has_intervals:
        return "Nothing can be said about what is significant: that takes the predictions of each cell."
    doubts, sure = [], []
    if contest.tied:
        tied = rows.loc[contest.tied]
        others = len(rows) - 1
        whom = names.list(tied) if len(tied) <= FEW else f"{len(tied)} of the {others} other inits"
        doubts.append(f"the lead of {names.of(best)} over {'every other init' if len(tied) == others else whom}")
    elif len(rows) > 1:
        sure.append(f"the lead of {names.of(best)} over every other init")
    unclear = rows.loc[rows["p_holm"] >= SIGNIFICANT]
    worse = rows.loc[(rows["p_holm"] < SIGNIFICANT) & (rows["difference"] < 0)]
    if len(unclear):
        doubts.append(f"the difference from untrained of {names.some(unclear, rows)}")
    elif rows["p_holm"].notna().any() and worse.empty:
        sure.append("every gain over untrained" if len(rows) > 1 else "its gain over untrained")
    told = [f"not significant: {'; '.join(doubts)}"] if doubts else []
    if len(worse):
        told.append(f"significantly worse than untrained: {names.some(worse, rows)}")
    elif not doubts and sure:
        told.append(f"significant: {' and '.join(sure)}; no difference named here is left in doubt")
    if not told:
        return "Nothing can be said about what is significant: there is nothing to compare with."
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]} (paired by patient, Holm-corrected, p\u00a0<\u00a00.05)."
