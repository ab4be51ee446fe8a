"""Every figure that a run has data for, saved in its folder, with the caption under which the report shows it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.answer import headline_fraction
from ssl_zoo.analysis.looks import Starts, has_variants
from ssl_zoo.analysis.ranks import Ranking
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.size_and_diversity import regress
from ssl_zoo.analysis.size_study import size_study, untrained_score
from ssl_zoo.analysis.statistics import Estimates, class_names, pick
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order, percent, save
from ssl_zoo.files import replacing
from ssl_zoo.scans.diversity import known_diversity
from ssl_zoo.scans.store import FrameStore


@dataclass(frozen=True)
class Picture:
    """A figure as it sits in the page: a data URI, its size in CSS pixels, title, caption and alternative text."""

    data: str
    width: int
    height: int
    title: str
    caption: str
    alt: str


class Album:
    """Collects the pictures of a page, in its order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pictures: dict[str, Picture] = {}

    def add(self, name: str, figure: Figure | None, title: str, caption: str, *, raster: bool = False) -> None:
        """Save a figure as `name.png` and `name.svg`, and keep it for the page; None is left out."""
        if figure is None:
            return
        png, svg = save(figure, self.folder, name)
        source, kind = (png, "image/png") if raster else (svg, "image/svg+xml")
        data = base64.b64encode(source.read_bytes()).decode()
        width, height = (round(96 * float(inches)) for inches in figure.get_size_inches())
        uri = f"data:{kind};base64,{data}"
        self.pictures[name] = Picture(uri, width, height, title, caption, f"{title}. {caption}")


def draw_figures(run: Run, estimates: Estimates, ranking: Ranking | None, starts: Starts) -> dict[str, Picture]:
    """Draw and save every figure that the run has data for; in the order of the page.

    `ranking`: of the internal cohort, None where there is none; `starts`: the looks of all inits of the run.
    """
    album = Album(run.path / "figures")
    _sheets(album, run)
    _size_study(album, run)
    _scores(album, estimates, starts)
    if ranking is not None:
        _ranks(album, ranking, starts)
    _confusions(album, run, estimates, starts)
    _pretraining(album, run, starts)
    if any(encoder.budget for encoder in run.encoders):
        table = figures.budget_table({e.key: e.budget for e in run.encoders if e.budget}, starts)
        caption = (
            "One bar per pre-training; bars start at zero. Time and memory are measured, so they depend on the computer"
            " and on what else ran there."
        )
        album.add("budgets", figures.budget_bars(table, starts), "What each pre-training was given and took", caption)
    return album.pictures


def _sheets(album: Album, run: Run) -> None:
    store = run.path / "frames"
    if run.store and (store / "frames.npy").is_file() and (store / "index.parquet").is_file():
        caption = (
            "What pre-training learns from: frames of scans drawn at random, one scan per row, in order of time"
            " (seconds below each). They carry no labels."
        )
        album.add("frames", figures.frame_sheet(store), "Unlabelled scans", caption, raster=True)
        caption = (
            "How many frames that have nothing in common these frames amount to. Left: as more of them are added; where"
            " the curve of whole scans lies below, frames of one scan repeat each other. Right: each patient alone."
        )
        found = known_diversity(FrameStore.open(store))
        album.add("diversity", figures.store_diversity(found), "Diversity of the frames", caption)
    if run.planes is not None:
        classes = class_names(run.predictions) if run.predictions is not None else None
        sheet = figures.plane_sheet(*run.planes, classes=classes)
        caption = "What is to be recognised: labelled images drawn at random, one class per row."
        album.add("planes", sheet, "Labelled planes", caption, raster=True)


def _size_study(album: Album, run: Run) -> None:
    """Where encoders were trained on stores of several sizes: what size and diversity have to do with their scores."""
    cohort = cohort_order(run.results["cohort"])[0]
    for mode in mode_order(run.results["mode"]):
        points = size_study(run, mode, cohort)
        if points is None or points.empty:
            continue
        fits = regress(points)
        with replacing(album.folder / f"size_and_diversity_{mode}.csv") as part:
            points.to_csv(part, index=False)
        caption = (
            "A point is a frame store under one method: macro-F1 as the mean over label fractions, label subsets and"
            " pre-training seeds, whiskers from the lowest seed to the highest. Every encoder had the same number of"
            " optimiser steps. Lines: least squares with one slope for all methods. Above each panel what a doubling"
            " brings, alone and with the other predictor held, and its 95 % interval when stores are drawn anew."
            " Stores were chosen, not drawn from a population, and test patients are held fixed."
        )
        chart = figures.size_and_diversity(points, fits, untrained_score(run, mode, cohort))
        title = f"Number of frames or their diversity, {mode_label(mode)}, {cohort} test cohort"
        album.add(f"size_and_diversity_{mode}", chart, title, caption)


def _scores(album: Album, estimates: Estimates, starts: Starts) -> None:
    table = estimates.table
    cohorts = cohort_order(table["cohort"])
    intervals = "95\u00a0% interval over test patients (bootstrap)"
    if has_variants(starts):
        drawn = f"One panel per method, one curve per variant of it, moved apart a little; whiskers: {intervals}."
    else:
        drawn = f"One curve per init; bands: {intervals}. The numbers under the fractions count labelled patients."
    caption = (
        "How well planes are recognised (macro-F1: 0 never, 1 always) when only a part of the labels is used, mean over"
        f" label subsets (seeds) and folds. {drawn} Grey and dotted: networks without pre-training."
    )
    album.add(
        "label_efficiency", figures.label_efficiency(table, starts), "Macro-F1 against labelled fraction", caption
    )
    for cohort in cohorts:
        if (table["difference"].notna() & (table["cohort"] == cohort)).any():
            caption = (
                "Gain: macro-F1 of an init less that of an untrained network of the same backbone, on the same patients"
                f" and label subsets; with its {intervals}. Above the zero line, pre-training helps."
            )
            title = f"What pre-training adds, {cohort} test cohort"
            album.add(f"gains_{cohort}", figures.gains(table, cohort, starts), title, caption)
    for cohort in cohorts:
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
        )


def _ranks(album: Album, ranking: Ranking, starts: Starts) -> None:
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
    album.add("ranks", figures.rank_chart(ranking, starts), title, caption.removesuffix(".") + ".")


def _confusions(album: Album, run: Run, estimates: Estimates, starts: Starts) -> None:
    if run.predictions is None or not class_names(run.predictions):
        return
    cohort = cohort_order(estimates.table["cohort"])[0]
    for mode in mode_order(estimates.table["mode"]):
        rows = pick(run.results, mode=mode, cohort=cohort)
        if rows.empty or not rows["cell"].isin(run.predictions["cell"]).any():
            continue
        fraction = headline_fraction(rows)
        matrices = figures.confusion_matrices(
            run.results, run.predictions, mode=mode, fraction=fraction, cohort=cohort, starts=starts
        )
        caption = (
            "Rows: what a plane is; columns: what it was taken for, in per cent of the row, all label subsets and folds"
            " together. A perfect init has 100 on the diagonal."
        )
        title = f"{mode_label(mode).capitalize()} with {percent(fraction)} of the labels"
        album.add(f"confusion_{mode}", matrices, title, caption)


def _pretraining(album: Album, run: Run, starts: Starts) -> None:
    histories = {e.key: e.history for e in run.encoders if "loss" in e.history and len(e.history)}
    if not histories:
        return
    caption = (
        "What each method minimises while it sees unlabelled frames. The losses measure different things: compare the"
        " course of a curve, not its height, with that of another method. Thick: running mean."
    )
    album.add("pretraining_loss", figures.loss_curves(histories, starts), "Pre-training loss", caption)
    monitors = figures.monitor_curves(histories, starts)
    album.add("pretraining_monitors", monitors, "Monitors of health", monitor_caption(run))


def monitor_caption(run: Run) -> str:
    """What the monitors mean, for those that the run has recorded."""
    recorded = {name for encoder in run.encoders for name in encoder.history}
    told = [
        (
            {"feature_std", "embedding_std"},
            "Spread: standard deviation of the normalised features (and of the embeddings that the loss compares) over"
            " a batch, 1 when they fill the sphere, 0 when all images look the same to the network.",
        ),
        (
            {"rankme", "effective_rank"},
            "RankMe and effective rank: how many directions the features of a batch use, the latter without their"
            " common mean; at most the batch size, so compare it between methods of one batch size only.",
        ),
        (
            {"alignment"},
            "Alignment: mean squared distance of the features of two views of one image, smaller is more invariant.",
        ),
        (
            {"uniformity"},
            "Uniformity: how evenly features fill the sphere, more negative is more even.",
        ),
        (
            {"knn_accuracy"},
            "kNN: share of labelled images of training patients whose nearest neighbours, of other training patients,"
            " name their class; no test patient is seen.",
        ),
    ]
    text = " ".join(words for names, words in told if names & recorded)
    collapsed = any("event" in encoder.history for encoder in run.encoders)
    mark = "A cross marks a recorded collapse" if collapsed else "No collapse was recorded"
    return (
        f"{text} {mark}: spread below 0.01 or effective rank below 2 at five looks in a row (the dotted lines, where"
        " they are near). What is read off a batch is drawn as a running mean of five looks."
    )
