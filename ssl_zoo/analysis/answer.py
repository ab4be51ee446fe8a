"""The study's question answered in sentences that are made from the numbers, and claim no more than these carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import interval
from ssl_zoo.analysis.contest import SIGNIFICANT, Contest, contest_of, headline_fraction
from ssl_zoo.analysis.labels_saved import labels_saved
from ssl_zoo.analysis.looks import Starts, looks_of
from ssl_zoo.analysis.statistics import Estimates, pick
from ssl_zoo.analysis.style import about, cohort_order, mode_order, number, percent
from ssl_zoo.analysis.three_sentences import three_sentences
from ssl_zoo.analysis.wording import FEW, Names, setting_in_words, span, words

__all__ = ["Answer", "Finding", "headline_fraction", "make_answer", "words"]

QUESTION = "Which self-supervised pre-training is worth using here, and how many labels does it save?"
UNEQUAL = "The inits had unequal budgets, so this judges what was done with each method, not the methods."


@dataclass(frozen=True)
class Finding:
    """The sentences for one downstream mode at one label fraction."""

    mode: str
    fraction: float
    sentences: list[str]


@dataclass(frozen=True)
class Answer:
    """`sentences`: the answer, three of them, or one where there is nothing to compare. `caveat`: what they must not be
    read without, or nothing. `findings`: the numbers behind them, mode by mode.
    """

    question: str
    sentences: list[str]
    caveat: str
    findings: list[Finding]

    @property
    def verdict(self) -> str:
        """The first sentence and the caveat."""
        return f"{self.sentences[0]} {self.caveat}".strip()


def make_answer(estimates: Estimates, starts: Starts | None = None, *, unequal: bool = False) -> Answer:
    """Winner with interval, mean gain over the own baseline, labels saved, what is not significant; for every mode.

    `starts`: the looks of the whole run (None: those of the estimates). `unequal`: whether some inits were given more
    pre-training than others, which the verdict then says.
    """
    table = estimates.table
    cohort = cohort_order(table["cohort"])[0]
    names = Names(looks_of(table) if starts is None else starts)
    saved = labels_saved(estimates)
    findings: list[Finding] = []
    sentences: list[str] = []
    caveats: list[str] = []
    for mode in mode_order(table["mode"]):
        rows = pick(table, mode=mode, cohort=cohort)
        if rows.empty:
            continue
        fraction = headline_fraction(rows)
        contest = contest_of(estimates, mode, fraction, cohort)
        if contest.rows.empty:
            continue
        told = [_winner(contest, names, mode, fraction), *_gain(estimates, contest, names)]
        told += _saved(saved, names, mode, cohort)
        lacking = _lacking(contest, names)
        told += lacking
        for other in cohort_order(table["cohort"]):
            if other != cohort:
                told += _elsewhere(estimates, contest, names, mode, fraction, other)
        if not findings:
            sentences, caveats = three_sentences(contest, saved, names, mode, fraction, cohort), lacking
        findings.append(Finding(mode, float(fraction), told))
    if not findings:
        sentences = ["This run holds no pre-trained init yet, only untrained baselines; there is nothing to compare."]
    elif unequal:
        caveats = [*caveats, UNEQUAL]
    return Answer(QUESTION, sentences, " ".join(caveats), findings)


def _winner(contest: Contest, names: Names, mode: str, fraction: float) -> str:
    best = contest.rows.iloc[0]
    alone = len(contest.rows) == 1
    place = "is the only init so far" if alone else f"scores highest of the {len(contest.rows)} inits"
    text = f"{setting_in_words(mode, fraction, contest.rows)}, {names.of(best)} {place}"
    text += f": macro-F1 {number(best['f1_macro'])}{span(best['low'], best['high'])}"
    if len(contest.above):
        text += f" (higher still without any pre-training: {names.list(contest.above)})"
    if not contest.has_intervals:
        return f"{text}; without predictions there are no intervals, so nothing can be said about significance."
    if len(contest.rows) == 1:
        return f"{text}."
    if not contest.tied:
        return f"{text}, significantly above every other."
    tied = contest.rows.loc[contest.tied]
    if len(tied) == len(contest.rows) - 1:
        return f"{text}, but its lead over the others is not significant: on these patients no winner can be named."
    rivals = names.list(tied) if len(tied) <= FEW else f"{len(tied)} of the {len(contest.rows) - 1} others"
    return f"{text}, but its lead over {rivals} is not significant; read these as tied."


def _gain(estimates: Estimates, contest: Contest, names: Names) -> list[str]:
    rows = contest.rows.dropna(subset="difference")
    if rows.empty:
        return ["Gains over untrained networks cannot be given: no baseline of the same backbone has run."]
    mean = float(rows["difference"].mean())
    low, high = interval(estimates.differences[rows.index].mean(0), int(rows["n_test_patients"].min()))
    several = rows["backbone"].nunique() > 1
    own = "their own untrained backbones" if several else f"an untrained {rows['backbone'].iloc[0]}"
    whose = "gain is" if len(rows) == 1 else f"mean gain over the {len(rows)} inits is"
    text = f"Against {own}, the {whose} {number(mean, sign=True)}{span(low, high, sign=True)}"
    better = rows.loc[(rows["p_holm"] < SIGNIFICANT) & (rows["difference"] > 0)]
    worse = rows.loc[(rows["p_holm"] < SIGNIFICANT) & (rows["difference"] < 0)]
    unclear = rows.loc[rows["p_holm"] >= SIGNIFICANT]
    if rows["p_holm"].isna().all():
        return [f"{text}."]
    parts = []
    if len(better) == len(rows) > 1:
        parts.append("every one of them is significantly better")
    elif len(better):
        parts.append(f"significantly better: {names.some(better, rows)}")
    if len(worse):
        parts.append(f"significantly worse: {names.some(worse, rows)}")
    if len(unclear):
        parts.append(f"not significantly different: {names.some(unclear, rows)}")
    return [f"{text}; {'; '.join(parts)} (paired by patient, Holm-corrected, p\u00a0<\u00a00.05)."]


def _saved(saved: pd.DataFrame, names: Names, mode: str, cohort: str) -> list[str]:
    rows = pick(saved, mode=mode, cohort=cohort)
    rows = rows.loc[rows["smallest"] < rows["target_fraction"]]
    if rows.empty:
        return []
    reached = rows.dropna(subset="fraction").astype({"fraction": float}).sort_values("fraction", kind="stable")
    full = percent(rows["target_fraction"].max())
    goal = f"the score that its untrained backbone needs {full} of the labels for"
    if reached.empty:
        return [f"Labels saved: none shown; no init reaches {goal}."]
    first = reached.iloc[0]
    score = number(first["target"])
    upper = about(first["high"]) if np.isfinite(first["high"]) else "not reached"
    sure = f"; 95\u00a0% interval {about(first['low'])} to {upper}" if np.isfinite(first["low"]) else ""
    earliest = reached.loc[reached["fraction"] <= reached["smallest"] * (1 + 1e-9)]
    if len(earliest) > 1:
        text = f"Labels saved: {names.some(earliest, rows)} each reach {goal} with {percent(first['smallest'])} already"
    else:
        how = f"{percent(first['smallest'])} already" if len(earliest) else f"about {about(first['fraction'])}"
        text = f"Labels saved: {names.of(first)} reaches {goal} (macro-F1 {score}) with {how}{sure}"
    missed = rows.loc[rows["fraction"].isna()]
    if len(missed):
        text += f"; {names.some(missed, rows)} {'does' if len(missed) == 1 else 'do'} not reach it"
    return [f"{text}."]


def _lacking(contest: Contest, names: Names) -> list[str]:
    """Whose score rests on fewer cells than others have, and what is made of it."""
    everyone = pd.concat([contest.rows, contest.baselines])
    rows = everyone.loc[everyone["n_missing"] > 0]
    if rows.empty:
        return []
    counts = [f"{names.of(row)} {row['n_cells']} of {row['n_cells'] + row['n_missing']}" for _, row in rows.iterrows()]
    who = words(counts) if len(counts) <= FEW else f"{len(counts)} of the {len(everyone)} inits lack some"
    return [
        f"Not every cell has run ({who}): a score rests on the cells there are, and two inits are compared on those"
        " that both have."
    ]


def _elsewhere(estimates: Estimates, home: Contest, names: Names, mode: str, fraction: float, cohort: str) -> list[str]:
    away = contest_of(estimates, mode, fraction, cohort)
    best = home.rows.iloc[0]
    same = pick(away.rows, init=best["init"], backbone=best["backbone"])
    if same.empty:
        return []
    row = same.iloc[0]
    text = f"On the {cohort} cohort {names.of(row)} scores {number(row['f1_macro'])}{span(row['low'], row['high'])}"
    if np.isfinite(row["difference"]):
        gain = number(row["difference"], sign=True)
        text += f", a gain of {gain}{span(row['difference_low'], row['difference_high'], sign=True, before='')}"
    top = away.rows.iloc[0]
    if row.name != top.name:
        tie = " (not significantly)" if row.name in away.tied else ""
        text += f"; {names.of(top)} scores highest there{tie}"
    return [f"{text}."]
