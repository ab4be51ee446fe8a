"""A map of the test planes: what lies near what in the features of the untrained network and of the best init.

Maps are made by t-SNE (van der Maaten and Hinton 2008) of unit-length features. Distances on such a map mean little
beyond the nearest neighbours, so the shares of neighbours that are alike are counted in the features themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssl_zoo.analysis.contest import headline_fraction
from ssl_zoo.analysis.looks import Start
from ssl_zoo.analysis.run_folder import Run
from ssl_zoo.analysis.statistics import BASELINE, pick
from ssl_zoo.analysis.style import cohort_order, mode_order
from ssl_zoo.files import read_json
from ssl_zoo.grid.feature_files import features_file
from ssl_zoo.planes.table import pictures_of

MOST = 600  # planes on a map
FEWEST = 20
PRINCIPAL = 30  # directions that t-SNE starts from
STEPS = 500
PERPLEXITY = 30.0
Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Map:
    """The map of one init. `points`: image, patient_id, label, x, y. Neighbours: shares of planes whose nearest one is
    of the same class, of the same patient, and of the same class among those of other patients.
    """

    start: Start
    points: pd.DataFrame
    same_class: float
    same_patient: float
    same_class_of_others: float


def atlas(run: Run, table: pd.DataFrame, *, most: int = MOST, seed: int = 0) -> list[Map]:
    """The maps of the untrained network and of the init that scores highest; `table`: that of `statistics.Estimates`.

    Of the first cohort and mode, at the fraction that the answer speaks of, among inits whose features the run keeps.
    Empty where it keeps none of them, or has fewer than FEWEST test planes.
    """
    folder = run.path / "planes"
    if not all((folder / name).is_file() for name in ("table.parquet", "planes.json", "splits.json")):
        return []
    planes, card = pd.read_parquet(folder / "table.parquet"), read_json(folder / "planes.json")
    cohort = cohort_order(table["cohort"])[0]
    rows = _tested(read_json(folder / "splits.json"), planes, cohort, most, seed)
    own = pick(table, cohort=cohort, mode=mode_order(table["mode"])[0])
    own = pick(own, fraction=headline_fraction(own)).sort_values("f1_macro", ascending=False, kind="stable")
    files = {start: path for start, path in feature_files(run, card).items() if path.is_file()}
    best = next((s for s in _starts(own) if s in files and s[0] != BASELINE), None)
    wanted = [] if best is None else [start for start in ((BASELINE, best[1]), best) if start in files]
    if best is None or len(rows) < FEWEST:
        return []
    return [_map(start, np.load(files[start], mmap_mode="r")[rows], planes.iloc[rows], seed) for start in wanted]


def feature_files(run: Run, card: Record) -> dict[Start, Path]:
    """Where the grid keeps the features of a run's own encoders and of its untrained networks; `card`: `planes.json`.

    Of several seeds, the first.
    """
    known: dict[Start, object] = {}
    for encoder in sorted(run.encoders, key=lambda encoder: encoder.key[3]):
        init, backbone, *_ = encoder.key
        known.setdefault((init, backbone), encoder.card.get("config_fingerprint", ""))
    store = run.store or {"mean": 0.25, "std": 0.25}
    baselines = pick(run.results, init=BASELINE)
    for backbone, own in baselines.groupby("backbone", sort=False):
        known[BASELINE, str(backbone)] = [int(own["seed"].min()), store.get("mean"), store.get("std")]
    parts = pictures_of(card["fingerprint"], card.get("sector", "keep")), card["size"], card["channels"]
    return {start: features_file(run.path, *start, key, *parts) for start, key in known.items()}


def _starts(rows: pd.DataFrame) -> list[Start]:
    return list(zip(rows["init"].astype(str), rows["backbone"].astype(str), strict=True))


def _tested(record: Record, planes: pd.DataFrame, cohort: str, most: int, seed: int) -> np.ndarray:
    """Row numbers of test planes of a cohort: whole patients drawn by lot, up to `most` planes."""
    rows = np.unique(np.concatenate([np.array(fold["test"], dtype=int) for fold in record["splits"]]))
    rows = rows[(planes["cohort"].to_numpy() == cohort)[rows]]
    patients = planes["patient_id"].astype(str).to_numpy()[rows]
    names, count = np.unique(patients, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    kept = names[order[np.cumsum(count[order]) <= most]]
    return rows[np.isin(patients, kept)]


def _map(start: Start, features: np.ndarray, planes: pd.DataFrame, seed: int) -> Map:
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    x = np.asarray(features, np.float64)  # [N, D]
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    few = min(PRINCIPAL, *x.shape)
    principal = PCA(few, svd_solver="full").fit_transform(x)  # [N, few]
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    place = TSNE(perplexity=perplexity, max_iter=STEPS, init="pca", random_state=seed).fit_transform(principal)
    points = planes[["image", "patient_id", "label"]].astype(str).reset_index(drop=True)
    points = points.assign(x=place[:, 0], y=place[:, 1])
    label, patient = points["label"].to_numpy(), points["patient_id"].to_numpy()
    alike = x @ x.T  # [N, N]
    np.fill_diagonal(alike, -np.inf)
    nearest = alike.argmax(1)
    foreign = np.where(patient[:, None] == patient[None], -np.inf, alike)
    several = len(set(patient)) > 1
    return Map(
        start,
        points,
        same_class=float((label[nearest] == label).mean()),
        same_patient=float((patient[nearest] == patient).mean()),
        same_class_of_others=float((label[foreign.argmax(1)] == label).mean()) if several else float("nan"),
    )


def atlas_table(maps: list[Map]) -> pd.DataFrame:
    """All points: init, backbone, image, patient_id, label, x, y."""
    return (
        pd.concat([found.points.assign(init=found.start[0], backbone=found.start[1]) for found in maps])
        .set_index(["init", "backbone"])
        .reset_index()
    )
