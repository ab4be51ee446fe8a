"""The positive pairs of a run's methods, drawn as in training: how far apart in time, and how alike beside others.

Frames are compared by the cosine distance (1 - cosine) of their descriptors, as `scans.diversity` does: 0 for copies.
A pairing that gives partners hardly nearer than any other frame asks a method for what the frames do not hold.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ssl_zoo.analysis.reading import load_store
from ssl_zoo.config import load_experiment
from ssl_zoo.grid.entrants import entrants, pretrain_settings
from ssl_zoo.methods import METHODS
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.descriptors import describe
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.training.views import view_recipes, view_settings

PAIRING_COLUMNS = ["init", "method", "store", "views", "pairing", "window_s", "weighting", "lonely"]
PARTNER, SAME_SCAN, OTHER_SCAN = "its partner", "another frame of its scan", "a frame of another scan"


def load_pairings(run: Path | str) -> pd.DataFrame:
    """How each pre-training of a run pairs frames: `init, method, store, views, pairing, window_s, weighting, lonely`.

    `views`: how many a pair gives. `pairing` is "none" where a method has one view, so that no pair is drawn. `lonely`
    is the share of the frames without a partner, NaN where none is looked for.
    """
    experiment, rows = load_experiment(Path(run) / "experiment.yaml"), []
    for entrant in entrants(experiment):
        settings = pretrain_settings(experiment, entrant, seed=0)
        views = len(view_recipes(METHODS[entrant.method].views, view_settings(settings.views)))
        pairing = settings.pairing if views > 1 else "none"
        window, weighting, lonely = float("nan"), "", float("nan")
        if pairing == "temporal":
            window, weighting = settings.window_s, settings.pair_weighting
            lonely = PairSampler(load_store(run, entrant.store).index, pairing, window, weighting).lonely
        rows.append((entrant.name, entrant.method, entrant.store, views, pairing, window, weighting, lonely))
    return pd.DataFrame(rows, columns=PAIRING_COLUMNS)


def draw_pairs(
    store: FrameStore, *, window_s: float, weighting: str = "uniform", draws: int = 400, seed: int = 0
) -> pd.DataFrame:
    """Temporal pairs of random frames of a store, and two controls for each: `anchor, other, kind, apart_s, distance`.

    `anchor`, `other`: rows of the store. `kind`: the partner that training would draw, any other frame of the same
    scan, or a frame of another scan; a control that a store does not have is left out, and so is a frame without a
    partner. `apart_s`: seconds, NaN between scans. `distance`: cosine distance of the descriptors, 0 to 2.
    """
    generator = np.random.default_rng(seed)
    index = store.index.sort_values("row")
    scan, time = pd.factorize(index["scan_id"])[0], index["time_s"].to_numpy(float)
    anchors = generator.choice(len(store), min(draws, len(store)), replace=False)
    partners = PairSampler(store.index, "temporal", window_s, weighting).pairs(anchors, generator)
    parts = [(PARTNER, anchors, partners)]
    rows = np.arange(len(store))
    for kind, same in ((SAME_SCAN, True), (OTHER_SCAN, False)):
        fitting = [rows[((scan == scan[row]) == same) & (rows != row)] for row in anchors]
        chosen = [
            int(generator.choice(rows)) if len(rows) else int(row) for rows, row in zip(fitting, anchors, strict=True)
        ]
        parts.append((kind, anchors, np.array(chosen)))
    tables = []
    for kind, first, second in parts:
        first, second = first[first != second], second[first != second]
        apart = np.where(scan[first] == scan[second], np.abs(time[first] - time[second]), np.nan)
        columns = {"anchor": first, "other": second, "kind": kind, "apart_s": apart}
        tables.append(pd.DataFrame(columns | {"distance": _distances(store, first, second)}))
    return pd.concat(tables, ignore_index=True)


def _distances(store: FrameStore, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine distance of frame by frame, float64 `[P]`."""
    if not len(first):
        return np.empty(0)
    a, b = (describe(store.batch(rows)).astype(np.float64) for rows in (first, second))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return 1 - (a * b).sum(1) / np.maximum(lengths, 1e-9)
