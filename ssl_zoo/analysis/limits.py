"""What a run cannot say: the limits that a reader of its report has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ssl_zoo.analysis.answer import words
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.statistics import BASELINE
from ssl_zoo.analysis.style import mode_label


def limits_of(
    run: Run,
    table: pd.DataFrame,
    *,
    budgets_differ: bool | None,
    tuned: bool,
    absent: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """One sentence or two for each limit; `table`: that of `statistics.Estimates`.

    `budgets_differ`: whether some inits were given more than others (None: not recorded). `tuned`: whether learning
    rates were chosen for each method. `absent`: by cohort, the classes of which it holds no test image.
    """
    results = run.results
    limits = []
    if run.synthetic:
        limits.append("The images are synthetic. Which method wins on a phantom need not win on real scans.")
    if budgets_differ:
        limits.append(
            "The inits had unequal budgets: scores, gains and ranks mix what a method is with what it was given."
        )
    if run.by_image:
        limits.append(
            "The planes carry no patients: each image counts as a patient of its own. Images of one patient may stand"
            " on both sides of a split, and the intervals are then too narrow."
        )
    for cohort, classes in (absent or {}).items():
        if classes:
            limits.append(
                f"The {cohort} test cohort holds no image of {words(classes)}. Its macro scores are means over the"
                " other classes, and not comparable with those of a cohort that has all."
            )
    if run.predictions is not None:
        least = min(rows["patient_id"].nunique() for _, rows in run.predictions.groupby("cohort"))
        limits.append(
            "Intervals resample test patients and hold the trained networks fixed: they do not contain the luck of"
            f" pre-training or of which patients were labelled. The smallest test cohort has {least} patients"
            + ("; below about 30, percentile intervals tend to be too narrow." if least < 30 else ".")
        )
    else:
        limits.append("There are no saved predictions, so no intervals and no tests of significance.")
    if run.predictions is not None and "pooled" in table and table["pooled"].any():
        limits.append(
            "Folds of the cross-validation are pooled: each patient is tested once, and scores are those of all folds'"
            " predictions together. The networks of two folds learnt from overlapping patients, which the intervals"
            " leave out, as they hold the networks fixed."
        )
    if (unlike := _unlike_tests(table)) is not None:
        limits.append(unlike)
    cells = results.groupby(["init", "backbone", "mode", "fraction", "cohort"]).size()
    if cells.min() != cells.max():
        limits.append(
            f"The grid is uneven: points rest on {cells.min()} to {cells.max()} cells. Gains use shared cells only;"
            " curves and labels saved take all cells of each init."
        )
    elif cells.max() == 1:
        limits.append("Every point rests on one cell (one seed, one fold); its spread over seeds is not known.")
    if "pretrain_seed" in results:
        seeds = results.loc[results["init"] != BASELINE].groupby("init")["pretrain_seed"].nunique()
        if len(seeds) and seeds.max() <= 1:
            limits.append(
                "Each method was pre-trained once. Another pre-training seed can change the order of close methods."
            )
    if (several := _on_several(run)) is not None:
        limits.append(several)
    if run.records.unconverged:
        limits.append(
            f"{run.records.unconverged} linear probes stopped short of the optimum of their objective (`converged` and"
            " `gap` in the notes of their records): their scores are those of probes near it."
        )
    if table["cohort"].nunique() == 1:
        limits.append("There is one test cohort, so nothing is known about another site or scanner.")
    if table.loc[table["init"] != BASELINE, "backbone"].nunique() > 1:
        limits.append(
            "Gains set each init against its own backbone. A weak untrained network leaves more room for a gain than a"
            " strong one, so ranks over several backbones compare usefulness, not methods alone."
        )
    limits.append(
        "p-values are corrected over the inits of one setting, not over all settings; read the curves as a whole."
    )
    if tuned:
        limits.append("Only the learning rate was searched for each method, on a small ladder; nothing else was.")
    else:
        limits.append("Methods ran with one setting each, without a search per method: another might suit one better.")
    return limits


def _unlike_tests(table: pd.DataFrame) -> str | None:
    """That modes were tested on more patients than others, as where one of several folds was fine-tuned; or None."""
    for cohort, rows in table.groupby("cohort", sort=False):
        patients = {str(mode): int(own["n_test_patients"].max()) for mode, own in rows.groupby("mode", sort=False)}
        if len(set(patients.values())) > 1:
            counts = words([f"{mode_label(mode)} on {count}" for mode, count in patients.items()])
            return (
                f"Modes were not tested on the same patients (cohort {cohort}: {counts}). Compare inits within a mode;"
                " a difference between modes is also one between their patients."
            )
    return None


def _on_several(run: Run) -> str | None:
    """That cells of one mode were computed on machines that round, or draw, differently; None where none were."""
    kinds: dict[str, set[str]] = {}
    for mode, on in run.records.computed:
        torch = dict(on.versions).get("torch", "of unknown version")
        kinds.setdefault(mode, set()).add(f"{on.processor} ({on.device}, {on.precision}, torch {torch})")
    mixed = {mode: found for mode, found in kinds.items() if len(found) > 1}
    if not mixed:
        return None
    modes, found = words([mode_label(mode) for mode in mixed]), words(sorted(set().union(*mixed.values())))
    return (
        f"Cells of one mode ({modes}) were computed on {found}. Numbers are rounded differently there, and fine-tuning"
        " draws its views from another stream on a GPU than on a CPU: its scores differ between them as between seeds."
    )
