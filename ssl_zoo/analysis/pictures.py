"""Every figure that a run has data for: what it learnt from, how, and how well."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.album import Album, Picture
from ssl_zoo.analysis.atlas import atlas, atlas_table
from ssl_zoo.analysis.counts import class_names
from ssl_zoo.analysis.findings import Findings
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.score_pictures import draw_scores
from ssl_zoo.analysis.size_and_diversity import regress
from ssl_zoo.analysis.size_study import size_study, untrained_score
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order, percent
from ssl_zoo.scans.diversity import known_diversity
from ssl_zoo.scans.store import FrameStore


def draw_figures(album: Album, run: Run, found: Findings, starts: Starts) -> dict[str, Picture]:
    """Draw and save every figure that the run has data for; in the order of the page.

    `starts`: the looks of all inits of the run.
    """
    _sheets(album, run)
    _size_study(album, run)
    draw_scores(album, run, found, starts)
    _atlas(album, run, found, starts)
    _pretraining(album, run, starts)
    if any(encoder.budget for encoder in run.encoders):
        table = figures.budget_table({e.key: e.budget for e in run.encoders if e.budget}, starts)
        caption = (
            "One bar per pre-training; bars start at zero. Time and memory are measured, so they depend on the computer"
            " and on what else ran there."
        )
        title = "What each pre-training was given and took"
        album.numbers("budgets", table)
        album.add("budgets", figures.budget_bars(table, starts), title, caption, csv="budgets")
    album.fit()
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


def _atlas(album: Album, run: Run, found: Findings, starts: Starts) -> None:
    maps = atlas(run, found.estimates.table)
    if not maps:
        return
    classes = class_names(run.predictions) if run.predictions is not None else None
    album.numbers("atlas", atlas_table(maps))
    others = [
        f"{starts[m.start].label} {percent(round(m.same_class_of_others, 2))}"
        for m in maps
        if np.isfinite(m.same_class_of_others)
    ]
    caption = (
        f"A dot is a test plane ({len(maps[0].points)} of them); dots lie close where the network's features of the"
        " planes are alike (t-SNE; only the nearest neighbours mean something, not the distances between clouds)."
        " Useful features gather planes of one class; features that gather patients have learnt who is scanned. Among"
        f" planes of other patients only, the nearest is of the same class for: {', '.join(others)}."
    )
    chart = figures.atlas_chart(maps, starts, classes)
    album.add("atlas", chart, "Test planes in the features", caption, csv="atlas")


def _size_study(album: Album, run: Run) -> None:
    """Where encoders were trained on stores of several sizes: what size and diversity have to do with their scores."""
    cohort = cohort_order(run.results["cohort"])[0]
    for mode in mode_order(run.results["mode"]):
        points = size_study(run, mode, cohort)
        if points is None or points.empty:
            continue
        fits = regress(points)
        album.numbers(f"size_and_diversity_{mode}", points)
        caption = (
            "A point is a frame store under one method: macro-F1 as the mean over label fractions, label subsets and"
            " pre-training seeds, whiskers from the lowest seed to the highest. Every encoder had the same number of"
            " optimiser steps. Lines: least squares with one slope for all methods. Above each panel what a doubling"
            " brings, alone and with the other predictor held, and its 95 % interval when stores are drawn anew."
            " Stores were chosen, not drawn from a population, and test patients are held fixed. Stores of one"
            " frames.seed hold nested sets of scans and are taken for independent: no interval says what another draw"
            " of scans would bring."
        )
        chart = figures.size_and_diversity(points, fits, untrained_score(run, mode, cohort))
        title = f"Number of frames or their diversity, {mode_label(mode)}, {cohort} test cohort"
        album.add(f"size_and_diversity_{mode}", chart, title, caption, csv=f"size_and_diversity_{mode}")


def _pretraining(album: Album, run: Run, starts: Starts) -> None:
    histories = {e.key: e.history for e in run.encoders if "loss" in e.history and len(e.history)}
    if not histories:
        return
    caption = (
        "What each method minimises while it sees unlabelled frames. The losses measure different things: compare the"
        " course of a curve, not its height, with that of another method. Thick: running mean."
    )
    named = [
        history.assign(init=init, backbone=backbone, seed=seed)
        for (init, backbone, _, seed), history in histories.items()
    ]
    csv = "pretraining"
    album.numbers(csv, pd.concat(named).set_index(["init", "backbone", "seed"]).reset_index())
    album.add("pretraining_loss", figures.loss_curves(histories, starts), "Pre-training loss", caption, csv=csv)
    monitors = figures.monitor_curves(histories, starts)
    album.add("pretraining_monitors", monitors, "Monitors of health", monitor_caption(run), csv=csv)


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
