"""What a classifier gets wrong: image by image, patient by patient, and what the wrong images have in common.

A setting has many cells (label subsets, folds, pre-training seeds). Their probabilities are averaged per image, so that
a mistake is one that the setting makes, and not one subset of labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import interval, patient_weights
from ssl_zoo.analysis.counts import class_names
from ssl_zoo.analysis.pooling import pooled_scores
from ssl_zoo.analysis.statistics import START, pick
from ssl_zoo.analysis.style import cohort_order
from ssl_zoo.errors import UserError

IMAGE = ["cohort", "image", "nth"]  # what tells test images apart; `nth`: which of the planes of that name (a video)


@dataclass(frozen=True)
class Setting:
    """One classifier: an init on its backbone, in one mode with one fraction of the labels, tested on one cohort."""

    init: str
    backbone: str
    mode: str
    fraction: float
    cohort: str


def best_setting(results: pd.DataFrame, predictions: pd.DataFrame | None = None) -> Setting:
    """Of the mode with the most cells, the init with the highest macro-F1 with the most labels; first cohort.

    Folds are pooled and seeds averaged as in every figure (`pooling`); without predictions cells are averaged.
    """
    cohort = cohort_order(results["cohort"])[0]
    own = pick(results, cohort=cohort)
    mode = str(own.groupby("mode")["cell"].nunique().idxmax())
    own = pick(own, mode=mode)
    fraction = float(own["fraction"].max())
    scores = pooled_scores(pick(own, fraction=fraction), predictions, START)
    best = scores.to_dict("records")[int(np.argmax(scores["f1_macro"].to_numpy()))]
    return Setting(str(best["init"]), str(best["backbone"]), mode, fraction, cohort)


def image_table(results: pd.DataFrame, predictions: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """One row per test image of a setting: `cohort, image, nth, cell, patient_id, label, predicted, confidence, wrong,
    share_wrong`, the surest mistakes first and then the least sure hits.

    `confidence`: the mean probability, over the setting's cells, of the class that it makes largest (`predicted`).
    `share_wrong`: of the cells. `cell`: one that tested the image. Raises UserError for a setting without cells.
    """
    found = pick(results, **vars(setting))
    own = predictions.loc[
        predictions["cell"].isin(found["cell"]).to_numpy() & (predictions["cohort"] == setting.cohort).to_numpy()
    ]
    if own.empty:
        raise UserError(f"the run has no predictions of {setting.init}, {setting.mode}, {setting.fraction:g}")
    classes = class_names(predictions)
    own = own.assign(
        nth=own.groupby(["cell", "cohort", "image"]).cumcount(), share_wrong=(own["label"] != own["predicted"]) * 1.0
    )
    means = dict.fromkeys([f"p_{name}" for name in classes] + ["share_wrong"], "mean")
    firsts = dict.fromkeys(["cell", "patient_id", "label"], "first")
    table = own.groupby(IMAGE, sort=True).agg(firsts | means).reset_index()
    probabilities = table[[f"p_{name}" for name in classes]].to_numpy(float)
    table["predicted"] = np.array(classes, dtype=object)[probabilities.argmax(1)]
    table["confidence"] = probabilities.max(1)
    table["wrong"] = (table["predicted"] != table["label"]).to_numpy()
    order = np.lexsort((np.where(table["wrong"], -table["confidence"], table["confidence"]), ~table["wrong"]))
    columns = [*IMAGE, "cell", "patient_id", "label", "predicted", "confidence", "wrong", "share_wrong"]
    return table.iloc[order][columns].reset_index(drop=True)


def confusion_pairs(images: pd.DataFrame) -> pd.DataFrame:
    """Which class is taken for which: `label, predicted, images, of_label, patients, confidence`, the most frequent
    first. `of_label`: share of the images of that class; `confidence`: mean of these mistakes.
    """
    totals = images["label"].value_counts()
    pairs = (
        images.loc[images["wrong"]]
        .groupby(["label", "predicted"])
        .agg(images=("image", "size"), patients=("patient_id", "nunique"), confidence=("confidence", "mean"))
        .reset_index()
    )
    pairs.insert(3, "of_label", [n / totals[label] for n, label in zip(pairs["images"], pairs["label"], strict=True)])
    return pairs.sort_values(["images", "label", "predicted"], ascending=[False, True, True]).reset_index(drop=True)


def patient_table(images: pd.DataFrame, *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Mistakes per patient, the worst first: `patient_id, images, wrong, share, expected, low, high`.

    `expected` and the 95 % band `low` to `high` are those of the patient at this place if mistakes fell on patients by
    lot, as many in each class as there are: patients above their place's band are worse than chance makes someone.
    """
    patient, names = pd.factorize(images["patient_id"], sort=True)
    wrong, label = images["wrong"].to_numpy(float), pd.factorize(images["label"])[0]
    counts = np.bincount(patient)
    shares = np.bincount(patient, wrong) / counts
    generator, by_lot = np.random.default_rng(seed), np.empty((draws, len(names)))
    groups = [np.flatnonzero(label == code) for code in range(label.max() + 1)]
    for draw in by_lot:
        shuffled = wrong.copy()
        for rows in groups:
            shuffled[rows] = generator.permutation(wrong[rows])
        draw[:] = np.sort(np.bincount(patient, shuffled) / counts)[::-1]
    order = np.lexsort((np.arange(len(names)), -shares))
    low, high = np.quantile(by_lot, [0.025, 0.975], axis=0)
    table = pd.DataFrame({"patient_id": np.asarray(names)[order], "images": counts[order]})
    table["wrong"] = np.bincount(patient, wrong)[order].astype(int)
    return table.assign(share=shares[order], expected=by_lot.mean(0), low=low, high=high)


def wrong_by_init(results: pd.DataFrame, predictions: pd.DataFrame, setting: Setting) -> pd.DataFrame:
    """Whether each init gets each test image wrong, at the mode, fraction and cohort of `setting`.

    Bool, a row per image (indexed by `IMAGE`), a column per (init, backbone). Images that some init never tested are
    left out.
    """
    own = pick(results, mode=setting.mode, fraction=setting.fraction, cohort=setting.cohort)
    columns = {}
    for init, backbone in sorted(set(zip(own["init"], own["backbone"], strict=True))):
        other = Setting(init, backbone, setting.mode, setting.fraction, setting.cohort)
        columns[init, backbone] = image_table(results, predictions, other).set_index(IMAGE)["wrong"]
    return pd.DataFrame(columns).dropna().astype(bool).sort_index()


def shared_mistakes(wrong: pd.DataFrame, labels: pd.Series, *, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How many images are wrong for no init, for one, ... for all: `inits, images, expected, low, high`.

    `expected` and the 95 % band: if each init's mistakes fell on the images of a class by lot, each init by itself.
    More images than that at the end are hard for all inits alike. `wrong`: of `wrong_by_init`; `labels`: by the same
    index.
    """
    values, n = wrong.to_numpy(bool), wrong.shape[1]
    codes = pd.factorize(labels.loc[wrong.index])[0]
    groups = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
    generator = np.random.default_rng(seed)
    by_lot = np.zeros((draws, n + 1))
    for draw in by_lot:
        shuffled = np.empty_like(values)
        for rows in groups:
            shuffled[rows] = generator.permuted(values[rows], axis=0)
        draw[:] = np.bincount(shuffled.sum(1), minlength=n + 1)
    low, high = np.quantile(by_lot, [0.025, 0.975], axis=0)
    observed = np.bincount(values.sum(1), minlength=n + 1)
    return pd.DataFrame(
        {"inits": np.arange(n + 1), "images": observed, "expected": by_lot.mean(0), "low": low, "high": high}
    )


def looks_of_images(pixels: np.ndarray) -> pd.DataFrame:
    """Plain facts of images uint8 `[N, H, W]` or `[N, H, W, 3]`, a row each: `brightness` (mean, 0..255), `contrast`
    (standard deviation), `sharpness` (mean change from pixel to pixel), `black` (share of pixels below 8).
    """
    grey = np.asarray(pixels, np.float64)
    grey = grey.mean(3) if grey.ndim == 4 else grey  # [N, H, W]
    change = np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
    facts = {"brightness": grey.mean((1, 2)), "contrast": grey.std((1, 2)), "sharpness": change / 2}
    return pd.DataFrame(facts | {"black": (grey < 8).mean((1, 2))})


def in_common(images: pd.DataFrame, facts: pd.DataFrame, *, replicates: int = 2000, seed: int = 0) -> pd.DataFrame:
    """What tells wrong images from right ones: `fact, right, wrong, difference, low, high`.

    `difference`: of the means, in standard deviations of the fact within classes, with its 95 % interval over patients;
    an interval that leaves 0 aside marks a fact that mistakes share beyond their class. `facts` has a row for each row
    of `images`.
    """
    patient, names = pd.factorize(images["patient_id"])
    wrong = images["wrong"].to_numpy(bool)
    weights = patient_weights(len(names), replicates, seed)[:, patient]  # [1 + R, N]
    rows = []
    for fact in facts:
        values = facts[fact].to_numpy(float)
        own = values - pd.Series(values).groupby(images["label"].to_numpy()).transform("mean").to_numpy()
        spread = own.std()
        own = own / spread if spread > 0 else own
        with np.errstate(invalid="ignore"):  # a draw without a mistake has no mean of mistakes
            means = [(weights[:, side] @ own[side]) / weights[:, side].sum(1) for side in (wrong, ~wrong)]
        gaps = means[0] - means[1]
        sides = [float(values[side].mean()) if side.any() else float("nan") for side in (~wrong, wrong)]
        rows.append((fact, *sides, float(gaps[0]), *interval(gaps[1:], len(names))))
    return pd.DataFrame(rows, columns=["fact", "right", "wrong", "difference", "low", "high"])
