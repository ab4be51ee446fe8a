"""Was the race fair? What each init was given and took, beside its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.analysis.answer import headline_fraction, words
from ssl_zoo.analysis.figures.budgets import COLUMNS
from ssl_zoo.analysis.looks import Start, Starts, start_order, starts_in
from ssl_zoo.analysis.statistics import BASELINE, pick
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order, number, percent
from ssl_zoo.analysis.tables import Table, plain_number

# what a budget may count: in words, and the largest difference that still counts as equal (a last step runs over)
KINDS = {"frames_seen": ("frames seen", 0.02), "steps": ("optimiser steps", 0.02), "seconds": ("seconds", 0.10)}
SOME_ALONE = 0.005  # share of frames without a neighbour, from which on the table tells it


def budget_kind(config: Mapping[str, Any]) -> str:
    """What the experiment's common budget counts; frames where the configuration does not say."""
    pretrain = config.get("pretrain")
    budget = pretrain.get("budget") if isinstance(pretrain, dict) else None
    given = [kind for kind in KINDS if isinstance(budget, dict) and budget.get(kind) is not None]
    return given[0] if len(given) == 1 else "frames_seen"


def budgets_differ(table: pd.DataFrame, kind: str) -> bool | None:
    """Whether some encoder had more than another; None where it is not recorded."""
    spent = table[kind]
    if spent.empty or spent.isna().any():
        return None
    return bool(spent.max() > spent.min() * (1 + KINDS[kind][1]))


def budget_sentences(table: pd.DataFrame, kind: str, starts: Starts, elsewhere: Sequence[Start] = ()) -> list[str]:
    """Whether all encoders had the same budget, and what that leaves open.

    `table`: of `figures.budget_table`; `elsewhere`: inits that were pre-trained outside this run.
    """
    unit = KINDS[kind][0]
    differ = budgets_differ(table, kind)
    if differ is None:
        told = [f"Not every encoder has a record of its {unit}, so equal budgets are not shown."]
    elif not differ:
        told = [_equal(table, kind)]
    else:
        ratio = table[kind].max() / table[kind].min()
        told = [
            f"The inits did not have the same budget. {_groups(table, kind, starts)}. The largest budget is"
            f" {ratio:.3g} times the smallest. A higher score may be due to more training alone: do not read the order"
            " of the inits as a ranking of methods."
        ]
    if elsewhere:
        names = words([starts[start].label for start in start_order(starts, elsewhere)])
        one = len(elsewhere) == 1
        told.append(
            f"{names} {'was' if one else 'were'} pre-trained elsewhere, with other images and"
            f" {'a budget' if one else 'budgets'} of {'its' if one else 'their'} own that this run does not know."
        )
    return told


def _equal(table: pd.DataFrame, kind: str) -> str:
    unit = KINDS[kind][0]
    many = f"All {len(table)} pre-trainings" if len(table) > 1 else "The one pre-training"
    text = f"{many} had the same budget: {plain_number(table[kind].median())} {unit}."
    others = [
        f"{words_for} from {plain_number(table[name].min())} to {plain_number(table[name].max())}"
        for name, words_for in (("frames_seen", "frames seen"), ("steps", "optimiser steps"))
        if name != kind and table[name].notna().any() and table[name].max() > 1.02 * table[name].min()
    ]
    if others:
        text += (
            f" Within it they differ in {words(others)}, since batches differ."
            if kind != "seconds"
            else (f" In that time they came differently far: {words(others)}.")
        )
    return f"{text} Methods also differ in views per frame, in work per view and in memory; the table gives both."


def _groups(table: pd.DataFrame, kind: str, starts: Starts) -> str:
    """ "A and B had 40 000 frames seen, C 384", largest first."""
    unit, tolerance = KINDS[kind]
    groups: list[tuple[float, list[str]]] = []
    for row in table.sort_values(kind, ascending=False, kind="stable").to_dict("records"):
        label = starts[str(row["init"]), str(row["backbone"])].label
        if groups and groups[-1][0] <= row[kind] * (1 + tolerance):
            groups[-1][1].append(label)
        else:
            groups.append((float(row[kind]), [label]))
    if len(groups) > 5:
        groups = [groups[0], groups[-1]]
    verb = "trained for" if kind == "seconds" else "had"
    parts = [f"{words(list(dict.fromkeys(names)))} {verb} {plain_number(value)} {unit}" for value, names in groups]
    return "; ".join(parts)


def fairness_table(points: pd.DataFrame, budgets: pd.DataFrame, starts: Starts, tuning: list[dict[str, Any]]) -> Table:
    """One row per init: macro-F1 with its gain in each mode at few labels, beside the means of its budgets.

    `points`: the table of `statistics.Estimates`; `budgets`: of `figures.budget_table`; `tuning`: the run's records.
    """
    cohort = cohort_order(points["cohort"])[0]
    points = pick(points, cohort=cohort)
    modes = [(mode, headline_fraction(pick(points, mode=mode))) for mode in mode_order(points["mode"])]
    counted = [name for name in COLUMNS if budgets[name].notna().any()]
    if budgets["batch_size"].notna().any():
        counted.insert(counted.index("steps") if "steps" in counted else 0, "batch_size")
    tuned = {(record.get("init"), record.get("backbone")): record.get("cost", {}) for record in tuning}
    several = bool(budgets.duplicated(["init", "backbone"]).any())
    alone = bool((budgets["share_without_neighbour"] > SOME_ALONE).any())
    collapsed = bool(budgets["collapsed_at_step"].notna().any())
    heads = [COLUMNS.get(name, "batch") for name in counted]
    columns = ["init", "backbone", *(f"{mode_label(mode)}, {percent(fraction)}" for mode, fraction in modes), *heads]
    columns += ["frames in tuning"] * bool(tuned) + ["seeds"] * several
    columns += ["without neighbour"] * alone + ["collapsed at step"] * collapsed
    lines = []
    for start in start_order(starts, [*starts_in(points), *starts_in(budgets)]):
        own = pick(budgets, init=start[0], backbone=start[1])
        line = [starts[start].name, start[1]]
        for mode, fraction in modes:
            point = pick(points, init=start[0], backbone=start[1], mode=mode, fraction=fraction).to_dict("records")
            line.append(_score(point[0]) if point else "–")
        line += [plain_number(own[name].mean()) if own[name].notna().any() else "–" for name in counted]
        line += [plain_number(tuned[start].get("frames_seen")) if start in tuned else "–"] * bool(tuned)
        line += [str(len(own)) if len(own) else "–"] * several
        line += [percent(own["share_without_neighbour"].mean()) if len(own) else "–"] * alone
        line += [words([plain_number(at) for at in own["collapsed_at_step"].dropna()]) or "–"] * collapsed
        lines.append(line)
    return Table(columns, lines, 2)


def _score(point: dict[Any, Any]) -> str:
    gain = f" ({number(point['difference'], sign=True)})" if np.isfinite(point["difference"]) else ""
    return f"{number(point['f1_macro'])}{gain}"


def collapsed_names(budgets: pd.DataFrame, starts: Starts) -> list[str]:
    """The inits some pre-training of which collapsed."""
    rows = budgets.loc[budgets["collapsed_at_step"].notna()]
    return [starts[start].label for start in start_order(starts, starts_in(rows))]


def pretrained_elsewhere(points: pd.DataFrame, budgets: pd.DataFrame) -> list[Start]:
    """The inits with scores that are no baseline and of which the run holds no pre-training."""
    here = set(starts_in(budgets))
    return [start for start in starts_in(points) if start[0] != BASELINE and start not in here]
