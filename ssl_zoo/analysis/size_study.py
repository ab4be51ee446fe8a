"""The stores of a run and the encoders trained on them, for the regression on size and diversity."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssl_zoo.analysis.pooling import pooled_scores
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.size_and_diversity import StoreFacts, encoder_points
from ssl_zoo.analysis.statistics import BASELINE, START, pick
from ssl_zoo.scans.diversity import known_diversity
from ssl_zoo.scans.store import CARD, FrameStore

FEWEST = 4  # stores, for a regression with two predictors to say anything


def store_folders(run: Path) -> list[Path]:
    """The frame stores of a run folder: the common one first, then those of variants."""
    return sorted(path.parent for path in run.glob(f"frames*/{CARD}"))


def size_study(run: Run, mode: str, cohort: str) -> pd.DataFrame | None:
    """The points of `size_and_diversity.encoder_points`; None where fewer than `FEWEST` stores have encoders.

    The diversity of a store is measured here where no `diversity.json` lies in it.
    """
    by_fingerprint = {}
    for folder in store_folders(run.path):
        store = FrameStore.open(folder)
        by_fingerprint[store.fingerprint] = store
    used = {encoder.key[0]: encoder.card.get("data_fingerprint") for encoder in run.encoders}
    store_of = {init: by_fingerprint[mark].path.name for init, mark in used.items() if mark in by_fingerprint}
    if len(set(store_of.values())) < FEWEST:
        return None
    facts = {}
    for store in by_fingerprint.values():
        if store.path.name in store_of.values():
            found = known_diversity(store)
            facts[store.path.name] = StoreFacts(len(store), found.whole.effective, store.meta["n_scans"])
    return encoder_points(pick(run.results, mode=mode, cohort=cohort), facts, store_of, run.predictions)


def untrained_score(run: Run, mode: str, cohort: str) -> float | None:
    """The macro-F1 of the untrained network, as an encoder's is taken; None where it did not run or on several nets."""
    rows = pick(run.results, mode=mode, cohort=cohort, init=BASELINE)
    if rows["backbone"].nunique() != 1:
        return None
    return float(pooled_scores(rows, run.predictions, START)["f1_macro"].mean())
