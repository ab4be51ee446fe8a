"""The figures of scores, with their captions: curves, labels saved, heat maps, pairs, ranks, calibration, confusion."""

from __future__ import annotations

import pandas as pd

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.album import Album
from ssl_zoo.analysis.answer import headline_fraction
from ssl_zoo.analysis.calibration import reliability_table
from ssl_zoo.analysis.counts import class_names
from ssl_zoo.analysis.figures.confusion import confusion_table
from ssl_zoo.analysis.figures.reliability import FEWEST
from ssl_zoo.analysis.findings import Findings
from ssl_zoo.analysis.looks import Starts, has_variants
from ssl_zoo.analysis.ranks import Ranking
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.statistics import Estimates, pick
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order, mode_title, percent


def draw_scores(album: Album, run: Run, found: Findings, starts: Starts) -> None:
    """Draw the curves, gains, labels saved, heat maps, pairs, ranks, calibration and confusion of a run."""
    _curves(album, found.estimates, starts)
    _saved(album, found.saved, starts)
    _heat_maps(album, found.estimates, starts)
    _pairs(album, found.estimates, starts)
    if found.ranking is not None:
        _ranks(album, found, found.ranking, starts)
    _calibration(album, run, found, starts)
    _confusions(album, run, found.estimates, starts)


def _curves(album: Album, estimates: Estimates, starts: Starts) -> None:
    table = estimates.table
    cohorts = cohort_order(table["cohort"])
    intervals = "95\u00a0% interval over test patients (bootstrap)"
    if has_variants(starts):
        drawn = f"One panel per method, one curve per variant of it, moved apart a little; whiskers: {intervals}."
    else:
        drawn = f"One curve per init; bands: {intervals}. The numbers under the fractions count labelled patients."
    caption = (
        "How well planes are recognised (macro-F1: 0 never, 1 always) when only a part of the labels is used, mean over"
        f" label subsets (seeds){folds_in_words(table)}. {drawn} Grey and dotted: networks without pre-training."
    )
    album.add(
        "label_efficiency",
        figures.label_efficiency(table, starts),
        "Macro-F1 against labelled fraction",
        caption,
        csv="scores",
    )
    for cohort in cohorts:
        if (table["difference"].notna() & (table["cohort"] == cohort)).any():
            caption = (
                "Gain: macro-F1 of an init less that of an untrained network of the same backbone, on the same patients"
                f" and label subsets; with its {intervals}. Above the zero line, pre-training helps."
            )
            title = f"What pre-training adds, {cohort} test cohort"
            album.add(f"gains_{cohort}", figures.gains(table, cohort, starts), title, caption, csv="scores")


def _saved(album: Album, saved: pd.DataFrame, starts: Starts) -> None:
    caption = (
        "The labelled fraction with which an init reaches the macro-F1 that the untrained network of its backbone has"
        " with its largest fraction (dotted line); thick lines: 95\u00a0% interval over test patients. An arrow to the"
        " left: reached with the smallest fraction tried, so it may need fewer still. Hollow, in the grey strip: not"
        " reached; a line that ends there: not reached in some draws of the patients."
    )
    album.add("labels_saved", figures.labels_saved_chart(saved, starts), "Labels needed", caption, csv="labels_saved")


def _heat_maps(album: Album, estimates: Estimates, starts: Starts) -> None:
    table = estimates.table
    for cohort in cohort_order(table["cohort"]):
        caption = (
            "Left: macro-F1. Right: gain over the untrained network of the same backbone; orange is better, violet"
            " worse. Bold gains are significant (paired by patient, Holm-corrected within a column,"
            " p\u00a0<\u00a00.05). Empty: not run, or the baseline itself."
        )
        album.add(
            f"heat_map_{cohort}",
            figures.heat_map(table, cohort, starts),
            f"Scores and gains, {cohort} test cohort",
            caption,
            csv="scores",
        )


def _pairs(album: Album, estimates: Estimates, starts: Starts) -> None:
    table, cohort = estimates.table, cohort_order(estimates.table["cohort"])[0]
    own = pick(table, cohort=cohort)
    fractions = {mode: headline_fraction(pick(own, mode=mode)) for mode in mode_order(own["mode"])}
    caption = (
        "Macro-F1 of the init of a row less that of the init of a column, on the same cells and the same patients."
        " Bold: significant (paired bootstrap over patients, Holm-corrected over all pairs of the matrix,"
        " p\u00a0<\u00a00.05). All settings, with intervals, are in figures/pairwise.csv."
    )
    chart = figures.pairwise_matrices(table, estimates.pairs, fractions, cohort, starts)
    album.add("pairwise", chart, f"Every two inits, {cohort} test cohort", caption, csv="pairwise")


def _ranks(album: Album, found: Findings, ranking: Ranking, starts: Starts) -> None:
    caption = (
        "Left: the place of each init in each setting (mode and labelled fraction), 1 for the largest gain over its own"
        " untrained backbone. Middle: its mean place over the settings"
    )
    if len(ranking.samples):
        caption += (
            "; the line is where 95\u00a0% of the draws lie when the test patients are drawn anew. Right: how often it"
            " takes each place by mean rank in these draws, in per cent; a row that is spread out has no sure place."
        )
    title = f"Ranks, {ranking.cohort} test cohort"
    album.add("ranks", figures.rank_chart(ranking, starts), title, caption.removesuffix(".") + ".", csv="ranks")
    if found.friedman is not None:
        caption = (
            f"Mean ranks over {found.friedman.n_blocks} settings of one data set. A bar joins inits whose mean ranks"
            " are closer than the critical difference of Nemenyi’s test (5\u00a0%), drawn above the axis. The settings"
            " are not independent, so the true critical difference is longer than the one drawn."
        )
        chart = figures.critical_difference_chart(found.friedman, ranking, starts)
        title = f"Critical difference, {ranking.cohort} test cohort"
        album.add("critical_difference", chart, title, caption, csv="ranks")


def _calibration(album: Album, run: Run, found: Findings, starts: Starts) -> None:
    if run.predictions is None or not class_names(run.predictions):
        return
    table = found.estimates.table
    cohort = cohort_order(table["cohort"])[0]
    for mode in mode_order(table["mode"]):
        own = pick(table, mode=mode, cohort=cohort)
        if own.empty:
            continue
        fractions = sorted({headline_fraction(own), float(own["fraction"].max())})
        bins = reliability_table(run.results, run.predictions, mode=mode, fractions=fractions, cohort=cohort)
        if bins.empty:
            continue
        errors = {
            (str(row["init"]), str(row["backbone"]), float(row["fraction"])): float(row["ece"])
            for row in pick(found.measures, mode=mode, cohort=cohort).to_dict("records")
        }
        album.numbers(f"calibration_{mode}", bins)
        caption = (
            "Test images sorted by how sure the classifier was (its largest probability); upwards the share of them"
            " that it got right. On the dotted line confidence can be taken at its word; below it the classifier is too"
            " sure of itself. Dots grow with the number of images; bars: 95\u00a0% over test patients; bins with fewer"
            f" than {FEWEST} patients are not drawn. ECE: expected calibration error, mean over seeds."
        )
        title = f"Calibration, {mode_label(mode)}"
        chart = figures.reliability_diagrams(bins, errors, starts)
        album.add(f"calibration_{mode}", chart, title, caption, csv=f"calibration_{mode}")


def folds_in_words(table: pd.DataFrame) -> str:
    """What was done with folds: nothing to say for one, pooled, or averaged; to follow "mean over seeds"."""
    return ", folds pooled" if "pooled" in table and table["pooled"].any() else " and folds"


def _confusions(album: Album, run: Run, estimates: Estimates, starts: Starts) -> None:
    if run.predictions is None or not class_names(run.predictions):
        return
    cohort, tested = cohort_order(estimates.table["cohort"])[0], set(run.predictions["cell"].unique())
    for mode in mode_order(estimates.table["mode"]):
        rows = pick(run.results, mode=mode, cohort=cohort)
        if rows.empty or tested.isdisjoint(rows["cell"]):
            continue
        fraction = headline_fraction(rows)
        matrices = figures.confusion_matrices(
            run.results, run.predictions, mode=mode, fraction=fraction, cohort=cohort, starts=starts
        )
        caption = (
            "Rows: what a plane is; columns: what it was taken for, in per cent of the row, all label subsets and folds"
            " together. A perfect init has 100 on the diagonal."
        )
        title = f"{mode_title(mode)} with {percent(fraction)} of the labels"
        counts = confusion_table(run.results, run.predictions, mode=mode, fraction=fraction, cohort=cohort)
        album.numbers(f"confusion_{mode}", counts)
        album.add(f"confusion_{mode}", matrices, title, caption, csv=f"confusion_{mode}")
