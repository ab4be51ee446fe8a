"""Predictions on scans against what every frame truly shows, where that is known (on the phantom, for one)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, roc_auc_score

from ssl_zoo.analysis.style import number
from ssl_zoo.analysis.tables import Table
from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json
from ssl_zoo.transfer.predictor import ScanPrediction
from ssl_zoo.transfer.timeline import durations, long_enough, runs_of

TRUTH = "truth.json"
COLUMNS = {
    "frame_f1": "frame F1",
    "frame_f1_planes": "F1 on frames with a plane",
    "best_frame_hits": "best-frame hits",
    "abstention_precision": "set aside: precision",
    "abstention_recall": "recall",
    "abstention_auroc": "AUROC",
    "missing_right": "found or missing: right",
}


def truth_table(timelines: Path) -> Table | None:
    """The scores of every classifier that has a folder with a known truth in `timelines`; None where none has."""
    rows = []
    for path in sorted(timelines.glob(f"*/{TRUTH}")):
        scores = read_json(path)
        values = [scores.get(key) for key in COLUMNS]
        rows.append([path.parent.name, *("–" if value is None else number(value) for value in values)])
    return Table(["classifier", *COLUMNS.values()], rows, 1) if rows else None


def read_truth(path: Path, prediction: ScanPrediction) -> pd.Series:
    """What each frame looked at shows: a plane, or "none". `path`: a table with `frame` and `plane`.

    Raises UserError where the table lacks a column or a frame, or names a plane that the classifier does not know.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; --truth holds a table of each scan, SCAN_ID.csv")
    table = pd.read_csv(path, dtype={"plane": str}, keep_default_na=False)
    for column in ("frame", "plane"):
        if column not in table:
            raise UserError(f"{path}: no column '{column}' (it has {', '.join(table)})")
    by_frame = table.set_index("frame")["plane"]
    lacking = [int(frame) for frame in prediction.frames if frame not in by_frame.index]
    if lacking:
        raise UserError(f"{path}: no row for frame {lacking[0]}")
    truth = by_frame.loc[prediction.frames].reset_index(drop=True)
    if strange := sorted(set(truth) - {*prediction.planes, "none"}):
        raise UserError(f"{path}: '{strange[0]}' is neither a plane of the classifier nor 'none'")
    return truth


def truth_scores(
    predictions: list[ScanPrediction], truths: list[pd.Series], *, least_s: float = 0.2
) -> dict[str, float]:
    """How right the predictions are over all frames of some scans; every value lies between 0 and 1.

    `frame_f1`: macro-F1 over the planes and "none", those of them that any frame truly shows; `frame_f1_planes`: over
    the planes, on frames that show one, none of them set aside. `best_frame_hits`: of the planes that a scan truly
    shows for at least `least_s`, the share whose best frame shows that plane. `abstention_precision`,
    `abstention_recall`: of setting "none" aside; `abstention_auroc`: of the confidence alone, 0.5 for chance.
    `missing_right`: share of planes rightly called found or lacking.
    """
    planes = predictions[0].planes
    shown, truth = (np.concatenate(parts) for parts in ([p.predicted for p in predictions], truths))
    single = np.concatenate([np.array(planes, dtype=object)[p.smoothed.argmax(1)] for p in predictions])
    confidence = np.concatenate([p.smoothed.max(1) for p in predictions])
    nothing, aside = truth == "none", shown == "none"
    hits, lacking = [], []
    for prediction, own in zip(predictions, truths, strict=True):
        lasts = durations(prediction.times)
        for finding in prediction.findings:
            runs = runs_of((own == finding.plane).to_numpy())
            there = long_enough([float(lasts[a:b].sum()) for a, b in runs], prediction.times, least_s)
            lacking.append(finding.found == there)
            if there:
                hits.append(finding.frame is not None and own[finding.frame] == finding.plane)
    both = 0 < nothing.sum() < len(nothing)
    return {
        "frame_f1": _macro_f1(truth, shown, [*planes, "none"]),
        "frame_f1_planes": _macro_f1(truth[~nothing], single[~nothing], planes),
        "best_frame_hits": float(np.mean(hits)) if hits else float("nan"),
        "abstention_precision": float(nothing[aside].mean()) if aside.any() else float("nan"),
        "abstention_recall": float(aside[nothing].mean()) if nothing.any() else float("nan"),
        "abstention_auroc": float(roc_auc_score(nothing, -confidence)) if both else float("nan"),
        "missing_right": float(np.mean(lacking)),
    }


def _macro_f1(truth: np.ndarray, shown: np.ndarray, classes: Sequence[str]) -> float:
    """Mean F1 over those classes that are truly there; NaN where none is."""
    there = [name for name in classes if (truth == name).any()]
    return float(f1_score(truth, shown, labels=there, average="macro")) if there else float("nan")
