"""Reading a run folder from a notebook or a script: one function for each thing that a run leaves, changing nothing.

`ssl_zoo.load_results` and `ssl_zoo.load_predictions` read the scores; these functions read the rest, and are public
as `ssl_zoo.load_histories` and so on. A part that a run does not have is empty, or a UserError that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ssl_zoo.analysis.figures.budgets import budget_table
from ssl_zoo.analysis.figures.views import ViewPage
from ssl_zoo.analysis.looks import PretrainingKey
from ssl_zoo.analysis.run_folder import read_run
from ssl_zoo.analysis.size_and_diversity import StoreFacts, encoder_points
from ssl_zoo.analysis.size_study import store_folders
from ssl_zoo.analysis.statistics import pick
from ssl_zoo.analysis.view_sheet import choose_rows, page_of, shown_together
from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import read_json
from ssl_zoo.scans import diversity
from ssl_zoo.scans.diversity import Diversity
from ssl_zoo.scans.store import FrameStore

COMMON = "frames"  # the store that every encoder learns from which has none of its own


@dataclass(frozen=True, eq=False)
class LabelledPlanes:
    """The labelled planes as a run saw them: `images` uint8 `[N, S, S]` or `[N, S, S, 3]`, a read-only memory map, and
    `table` with the rows in the same order: `image, label, patient_id, cohort` and what else their source tells.
    """

    images: np.ndarray
    table: pd.DataFrame
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def rows_of(self, predictions: pd.DataFrame) -> np.ndarray:
        """Which plane each prediction is about: rows of `images`, int64 `[M]`.

        `predictions`: rows of `load_predictions`, whole cells of them. Frames of one video share its name, and are told
        by their order within a cell, or by a column `nth` (0, 1, ...) where there is one. Raises UserError where an
        image is not among the planes.
        """
        keys = ["cohort", "image"]
        if missing := [name for name in keys if name not in self.table]:
            raise UserError(f"planes/table.parquet: column '{missing[0]}' is missing")
        known = self.table[keys].assign(nth=self.table.groupby(keys).cumcount(), row=np.arange(len(self)))
        nth = predictions["nth"] if "nth" in predictions else predictions.groupby(["cell", *keys]).cumcount()
        rows = predictions[keys].assign(nth=nth).merge(known, on=[*keys, "nth"], how="left")["row"]
        if rows.isna().any():
            name = predictions["image"].to_numpy()[rows.isna().to_numpy()][0]
            raise UserError(f"predictions.parquet: image '{name}' is none of the run's planes")
        return rows.to_numpy(np.int64)


def load_histories(run: Path | str) -> dict[PretrainingKey, pd.DataFrame]:
    """The course of every pre-training of a run, by (init, backbone, method, seed); the figures of training take it.

    A row per look: `step, frames_seen, share` (of the budget, 0..1), `loss, lr` and the monitors (`feature_std`,
    `rankme`, `effective_rank`, `alignment`, `uniformity`, `knn_accuracy` ..., NaN where a look does not measure one),
    and `event` where something happened, such as "collapse".
    """
    encoders = read_run(Path(run)).encoders
    return {encoder.key: encoder.history for encoder in encoders if len(encoder.history)}


def load_budgets(run: Path | str) -> pd.DataFrame:
    """What each pre-training was given and spent, one row each: `init, backbone, method, seed, frames_seen, views_seen,
    forward_passes, steps, seconds, peak_memory_mb, batch_size, share_without_neighbour, collapsed_at_step`.

    What a run did not record is NaN. Frames and views are images; memory is in MB.
    """
    return budget_table({encoder.key: encoder.budget for encoder in read_run(Path(run)).encoders if encoder.budget})


def load_stores(run: Path | str) -> dict[str, FrameStore]:
    """All frame stores of a run by name, the common one (`frames`) first, then those of its variants."""
    _check_folder(run)
    return {folder.name: FrameStore.open(folder) for folder in store_folders(Path(run))}


def load_store(run: Path | str, name: str = COMMON) -> FrameStore:
    """One frame store of a run: `frames` uint8 `[N, S, S]` or `[N, S, S, 3]`, a memory map, and their `index`.

    Raises UserError where the run has no store of this name.
    """
    names = [folder.name for folder in store_folders(Path(run))]
    if name not in names:
        raise unknown(f"frame store of {Path(run).name}", name, names)
    return FrameStore.open(Path(run) / name)


def load_diversity(run: Path | str, name: str = COMMON) -> Diversity:
    """How diverse a frame store of a run is: as its diversity.json says, or measured (20 s for 100,000 frames) where
    there is none that fits. Nothing is written.
    """
    store = load_store(run, name)
    path = store.path / diversity.FILE
    card = read_json(path) if path.is_file() else {}
    if (card.get("version"), card.get("near")) == (diversity.VERSION, diversity.NEAR):
        found = Diversity.from_json(card)
        if found.store == store.fingerprint:
            return found
    return diversity.diversity(store)


def load_encoder_points(run: Path | str, *, mode: str, cohort: str) -> pd.DataFrame:
    """One row per pre-trained encoder whose frame store is in the run: how many frames it learned from, how many
    different ones they amount to, and its mean macro-F1 over the label fractions of this mode and cohort.

    Columns `init, method, seed, store, frames, effective, scans, log2_frames, log2_effective, f1`, as
    `analysis.size_and_diversity` takes them.
    """
    contents, stores = read_run(Path(run)), load_stores(run)
    by_fingerprint = {store.fingerprint: name for name, store in stores.items()}
    used = {encoder.key[0]: encoder.card.get("data_fingerprint") for encoder in contents.encoders}
    store_of = {init: by_fingerprint[mark] for init, mark in used.items() if mark in by_fingerprint}
    facts = {
        name: StoreFacts(len(stores[name]), load_diversity(run, name).whole.effective, stores[name].meta["n_scans"])
        for name in sorted(set(store_of.values()))
    }
    own = pick(contents.results, mode=mode, cohort=cohort)
    return encoder_points(own, facts, store_of, contents.predictions)


def load_planes(run: Path | str) -> LabelledPlanes:
    """The labelled planes of a run; UserError where they are not there or do not fit together."""
    _check_folder(run)
    folder = Path(run) / "planes"
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        table = pd.read_parquet(folder / "table.parquet")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no readable planes of a run here ({error})") from None
    if len(images) != len(table):
        raise UserError(f"{folder}: images.npy holds {len(images)} planes and table.parquet {len(table)}")
    return LabelledPlanes(images, table, tuple(read_json(folder / "planes.json")["classes"]))


def load_view_pages(run: Path | str, *, scans: int = 3, draws: int | None = None, seed: int = 0) -> dict[str, ViewPage]:
    """What the methods of a run are given, made of real frames of its store as in training: a contact sheet for all
    methods that get the same views, by their names. `figures.views.view_page` draws one.

    `scans`: frames, one each of different scans, drawn by `seed`. `draws`: sets of views for each frame (None: as many
    as fit a page).
    """
    store, experiment = load_store(run), load_experiment(Path(run) / "experiment.yaml")
    rows = choose_rows(store.index, scans, seed)
    groups = shown_together(experiment)
    return {", ".join(group.labels): page_of(store, rows, group, draws=draws, seed=seed) for group in groups}


def _check_folder(run: Path | str) -> None:
    if not Path(run).is_dir():
        raise UserError(f"{run}: no such run folder")
