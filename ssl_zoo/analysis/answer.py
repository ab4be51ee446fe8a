"""The study's question answered in sentences that are made from the numbers, and claim no more than these carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.analysis.looks import Look, Starts, looks_of
from ssl_zoo.analysis.statistics import BASELINE, Estimates, bootstrap_p, holm, interval, labels_saved, pick
from ssl_zoo.analysis.style import about, cohort_order, mode_label, mode_order, number, percent

QUESTION = "Which self-supervised pre-training is worth using here, and how many labels does it save?"
FEW_LABELS = 0.05  # the fraction the answer speaks of, where the grid has it; fixed beforehand, not chosen by result
SIGNIFICANT = 0.05
FEW = 6  # inits that are listed by name; of more, those that are left out are


@dataclass(frozen=True)
class Finding:
    """The sentences for one downstream mode at one label fraction."""

    mode: str
    fraction: float
    sentences: list[str]


@dataclass(frozen=True)
class Answer:
    """`verdict`: one sentence; `findings`: the numbers behind it, mode by mode."""

    question: str
    verdict: str
    findings: list[Finding]


@dataclass(frozen=True)
class _Contest:
    """One (mode, fraction, cohort): the candidates, best first, and those that cannot be told from the best."""

    rows: pd.DataFrame  # candidates, best first
    baselines: pd.DataFrame
    tied: list[int]  # row labels of candidates not significantly below the best
    has_intervals: bool


def headline_fraction(table: pd.DataFrame) -> float:
    """The label fraction the answer speaks of: 5 % if the grid has it, else the smallest."""
    fractions = sorted(set(table["fraction"]))
    return next((f for f in fractions if np.isclose(f, FEW_LABELS)), fractions[0])


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
    verdict = ""
    for mode in mode_order(table["mode"]):
        rows = pick(table, mode=mode, cohort=cohort)
        if rows.empty:
            continue
        fraction = headline_fraction(rows)
        contest = _contest(estimates, mode, fraction, cohort)
        if contest.rows.empty:
            continue
        sentences = [_winner(contest, names, mode, fraction), *_gain(estimates, contest, names)]
        sentences += _saved(saved, names, mode, cohort)
        for other in cohort_order(table["cohort"]):
            if other != cohort:
                sentences += _elsewhere(estimates, contest, names, mode, fraction, other)
        findings.append(Finding(mode, float(fraction), sentences))
        verdict = verdict or _verdict(contest, names, mode, fraction)
    if not findings:
        verdict = "This run holds no pre-trained init yet, only untrained baselines; there is nothing to compare."
    elif unequal:
        verdict += " The inits had unequal budgets, so this judges what was done with each method, not the methods."
    return Answer(QUESTION, verdict, findings)


class Names:
    """Inits in words; the backbone is added where one name occurs on several."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts

    def of(self, row: pd.Series) -> str:
        look = self._starts[str(row["init"]), str(row["backbone"])]
        return _with_backbone(look.name, look)

    def list(self, rows: pd.DataFrame) -> str:
        """ "BYOL and SimCLR"; variants of one method go together: "SimCLR @near/@far"."""
        groups: dict[tuple[str, str, str], tuple[Look, list[str]]] = {}
        for _, row in rows.iterrows():
            look = self._starts[str(row["init"]), str(row["backbone"])]
            key = (look.family, look.backbone, "" if look.variant else look.name)
            groups.setdefault(key, (look, []))[1].append(f"@{look.variant}")
        return words(
            [
                _with_backbone(f"{look.family} {'/'.join(variants)}" if look.variant else look.name, look)
                for look, variants in groups.values()
            ]
        )

    def some(self, rows: pd.DataFrame, of: pd.DataFrame) -> str:
        """A long list in short: "all 15 inits", "12 of the 15 inits (not BYOL and MoCo v2)", "8 of the 15 inits"."""
        if len(rows) <= FEW:
            return self.list(rows)
        rest = of.drop(index=rows.index)
        if rest.empty:
            return f"all {len(of)} inits"
        left = f" (not {self.list(rest)})" if len(rest) <= FEW else ""
        return f"{len(rows)} of the {len(of)} inits{left}"


def _with_backbone(name: str, look: Look) -> str:
    return f"{name} ({look.backbone})" if look.shared else name


def words(names: Sequence[str]) -> str:
    """ "A", "A and B", "A, B and C"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def span(low: float, high: float, *, sign: bool = False, before: str = "95\u00a0% interval ") -> str:
    """ " (95 % interval 0.66 to 0.76)", or nothing where there is no interval."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    return f" ({before}{number(low, sign=sign)} to {number(high, sign=sign)})"


def compare(estimates: Estimates, first: int, second: int) -> tuple[float, float, float, float]:
    """Row numbers of two points -> difference of macro-F1, its interval, its p-value; paired by patient."""
    scores = estimates.table["f1_macro"]
    samples = estimates.samples[first] - estimates.samples[second]
    patients = int(estimates.table["n_test_patients"].iloc[first])
    return float(scores.iloc[first] - scores.iloc[second]), *interval(samples), bootstrap_p(samples, patients)


def _contest(estimates: Estimates, mode: str, fraction: float, cohort: str) -> _Contest:
    rows = estimates.table.iloc[estimates.rows(mode=mode, fraction=fraction, cohort=cohort)]
    candidates = rows.loc[rows["init"] != BASELINE].sort_values("f1_macro", ascending=False, kind="stable")
    others = list(candidates.index[1:])
    tied: list[int] = []
    if others:
        compared = [compare(estimates, candidates.index[0], other) for other in others]
        corrected = holm([p for *_, p in compared])
        tied = [other for other, p in zip(others, corrected, strict=True) if not p < SIGNIFICANT]
    return _Contest(candidates, pick(rows, init=BASELINE), tied, bool(candidates["low"].notna().all()))


def _setting(mode: str, fraction: float, rows: pd.DataFrame) -> str:
    patients = rows["n_train_patients"].mean()
    count = f" ({patients:.0f} patients)" if np.isfinite(patients) else ""
    how = {"linear": "a linear probe", "finetune": "fine-tuning"}.get(mode, mode_label(mode))
    return f"With {percent(fraction)} of the labels{count} and {how}"


def _winner(contest: _Contest, names: Names, mode: str, fraction: float) -> str:
    best = contest.rows.iloc[0]
    text = f"{_setting(mode, fraction, contest.rows)}, {names.of(best)} scores highest of the {len(contest.rows)} inits"
    if len(contest.rows) == 1:
        text = f"{_setting(mode, fraction, contest.rows)}, {names.of(best)} is the only init so far"
    text += f": macro-F1 {number(best['f1_macro'])}{span(best['low'], best['high'])}"
    above = contest.baselines.loc[contest.baselines["f1_macro"] > best["f1_macro"]]
    if len(above):
        text += f" (higher still without any pre-training: {names.list(above)})"
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


def _gain(estimates: Estimates, contest: _Contest, names: Names) -> list[str]:
    rows = contest.rows.dropna(subset="difference")
    if rows.empty:
        return ["Gains over untrained networks cannot be given: no baseline of the same backbone has run."]
    mean = float(rows["difference"].mean())
    low, high = interval(estimates.differences[rows.index].mean(0))
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


def _elsewhere(
    estimates: Estimates, home: _Contest, names: Names, mode: str, fraction: float, cohort: str
) -> list[str]:
    away = _contest(estimates, mode, fraction, cohort)
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


def _verdict(contest: _Contest, names: Names, mode: str, fraction: float) -> str:
    best = contest.rows.iloc[0]
    setting = _setting(mode, fraction, contest.rows)
    if not contest.has_intervals:
        return f"{setting}, {names.of(best)} scores highest so far; its significance is not known without predictions."
    useful = contest.rows.loc[(contest.rows["p_holm"] < SIGNIFICANT) & (contest.rows["difference"] > 0)]
    compared = contest.rows["p_holm"].notna().any()
    if compared and useful.empty:
        return f"{setting}, no init is shown to be better than an untrained network of its own backbone."
    if not compared:
        return f"{setting}, {names.of(best)} scores highest; no untrained baseline of its backbone has run."
    top = contest.rows.loc[[best.name, *contest.tied]]
    gain = number(best["difference"], sign=True)
    if len(top) == len(contest.rows) > 1 or len(top) > 4:
        verb = "is" if len(useful) == 1 else "are"
        better = f"{names.some(useful, contest.rows)} {verb} better than untrained"
        return f"{setting}, {better}, but no single winner can be named."
    if best.name not in useful.index:
        better = f"{names.some(useful, contest.rows)} {'is' if len(useful) == 1 else 'are'} better than untrained"
        return f"{setting}, {better}; {names.of(best)} scores highest, but not significantly above its own backbone."
    if len(top) == 1:
        worth = "the one to use" if len(contest.rows) > 1 else "worth using"
        return f"{setting}, {names.of(best)} is {worth}: {gain} macro-F1 over untrained."
    return f"{setting}, {names.list(top)} lead, tied; {names.of(best)} gains {gain} macro-F1 over untrained."
