"""Reading a run folder for people: whatever of it is there, complete or not."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ssl_zoo.analysis.cell_records import CellRecords, read_cell_records
from ssl_zoo.analysis.looks import PretrainingKey, Starts, looks
from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json

NEEDED = ("init", "backbone", "mode", "fraction", "fold", "seed", "cohort", "f1_macro", "n_train_patients", "cell")


@dataclass(frozen=True)
class Pretrained:
    """One encoder of the run: its card, its training history (may be empty), its budget (may be empty)."""

    name: str
    card: dict[str, Any]
    history: pd.DataFrame
    budget: dict[str, Any]

    @property
    def key(self) -> PretrainingKey:
        """(init, backbone, method, seed); the init is the folder's name without its seed, `byol-s0` is `byol`."""
        init = re.sub(r"-s\d+$", "", self.name)
        card = self.card
        return init, str(card.get("backbone", "")), str(card.get("method", "")), int(card.get("seed", 0))


@dataclass(frozen=True)
class Run:
    """What a run folder holds. Parts that do not exist yet are None or empty."""

    path: Path
    name: str
    config_text: str
    config: dict[str, Any]
    results: pd.DataFrame
    predictions: pd.DataFrame | None
    encoders: list[Pretrained] = field(default_factory=list)
    records: CellRecords = field(default_factory=CellRecords)
    tuning: list[dict[str, Any]] = field(default_factory=list)  # one record per init whose learning rate was tuned
    store: dict[str, Any] | None = None
    planes: tuple[np.ndarray, np.ndarray] | None = None  # images uint8 [N, H, W(, 3)], labels [N]
    by_image: bool = False  # whether there are no patients, so that each image counts as one

    @property
    def synthetic(self) -> bool:
        """Whether planes come from the phantom, or scans do; a study that pre-trains nothing has no scans."""
        scans, planes, pretrain = (self.config.get(name) for name in ("scans", "planes", "pretrain"))
        section = pretrain if isinstance(pretrain, dict) else {}
        none = section.get("methods") == [] and not section.get("variants")
        used = [planes] if none else [scans, planes]
        return any(isinstance(section, dict) and section.get("source") == "phantom" for section in used)


def run_looks(run: Run) -> Starts:
    """The looks of all inits of a run, evaluated or only pre-trained; variants in the order of its experiment."""
    results = run.results
    starts = list(zip(results["init"], results["backbone"], results["method"], strict=True))
    starts += [encoder.key[:3] for encoder in run.encoders]
    return looks(starts, variant_names(run))


def variant_names(run: Run) -> list[str]:
    """The variants of the run's experiment, in its order."""
    pretrain = run.config.get("pretrain")
    variants = pretrain.get("variants") if isinstance(pretrain, dict) else None
    return [str(name) for name in variants] if isinstance(variants, dict) else []


def read_run(path: Path) -> Run:
    """Read a run folder; only `results.csv` must be there. Broken files are UserErrors that name them."""
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such run folder")
    text, config = _read_config(path / "experiment.yaml")
    store = path / "frames" / "store.json"
    about = read_json(path / "planes" / "planes.json") if (path / "planes" / "planes.json").is_file() else {}
    results = read_results(path / "results.csv")
    return Run(
        path=path,
        name=str(config.get("name") or path.name),
        config_text=text,
        config=config,
        results=results,
        predictions=_read_predictions(path / "predictions.parquet"),
        encoders=[_read_encoder(folder) for folder in _encoder_folders(path / "encoders")],
        records=read_cell_records(path / "cells", set(results["cell"])),
        tuning=_read_tuning(path / "tuning"),
        store=read_json(store) if store.is_file() else None,
        by_image=bool(about.get("by_image", False)) or about.get("unit") == "image",
        planes=_read_planes(path / "planes"),
    )


def read_results_and_predictions(run: Path) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Only the two tables of a run folder; a folder that is not there is a UserError."""
    if not run.is_dir():
        raise UserError(f"{run}: no such run folder")
    return read_results(run / "results.csv"), _read_predictions(run / "predictions.parquet")


def read_results(path: Path) -> pd.DataFrame:
    """`results.csv`, one row per cell and cohort; a missing column is a UserError."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; the report needs the results of at least one cell")
    try:
        results = pd.read_csv(
            path, dtype={"cell": str, "init": str, "backbone": str, "mode": str, "cohort": str, "method": str}
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable table ({error})") from None
    missing = [column for column in NEEDED if column not in results]
    if missing:
        raise UserError(f"{path}: column '{missing[0]}' is missing")
    if results.empty:
        raise UserError(f"{path}: the table has no rows; the report needs the results of at least one cell")
    if "method" not in results:
        results["method"] = ""
    return results.assign(method=results["method"].fillna(""))


def _read_config(path: Path) -> tuple[str, dict[str, Any]]:
    if not path.is_file():
        return "", {}
    text = path.read_text(encoding="utf-8")
    try:
        config = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: not valid YAML ({error})") from None
    return text, {str(key): value for key, value in config.items()} if isinstance(config, dict) else {}


def _read_predictions(path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    try:
        predictions = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable parquet file ({error})") from None
    if predictions.empty:
        return None
    for column in ("cell", "patient_id", "cohort", "label", "predicted"):
        if column not in predictions:
            raise UserError(f"{path}: column '{column}' is missing")
    return predictions.astype({"cell": str, "cohort": str})


def _encoder_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    wanted = ("history.jsonl", "budget.json")  # baselines have neither and belong to no pre-training figure
    return sorted(folder for folder in path.iterdir() if any((folder / name).is_file() for name in wanted))


def _read_encoder(folder: Path) -> Pretrained:
    card, budget = (
        read_json(folder / name) if (folder / name).is_file() else {} for name in ("encoder.json", "budget.json")
    )
    return Pretrained(folder.name, card, _read_history(folder / "history.jsonl"), budget)


def _read_history(path: Path) -> pd.DataFrame:
    """Rows of a JSON-lines file; a last line that is still being written is left out."""
    if not path.is_file():
        return pd.DataFrame()
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise UserError(f"{path}, line {number}: not valid JSON ({error})") from None
    return pd.DataFrame(rows)


def _read_tuning(folder: Path) -> list[dict[str, Any]]:
    """`tuning/<init>.json`: the choice of each learning rate, with its ladder."""
    found = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        record = read_json(path)
        for key in ("init", "backbone", "by", "base_lr", "rungs"):
            if not isinstance(record, dict) or key not in record:
                raise UserError(f"{path}: no record of a learning rate (it has no '{key}')")
        found.append(record)
    return found


def _read_planes(folder: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """The labelled planes as the run saw them: images as a memory map, and their labels."""
    if not ((folder / "images.npy").is_file() and (folder / "table.parquet").is_file()):
        return None
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = pd.read_parquet(folder / "table.parquet")["label"].to_numpy().astype(str)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: not a readable folder of planes ({error})") from None
    if len(images) != len(labels):
        raise UserError(f"{folder}: images.npy holds {len(images)} planes and table.parquet {len(labels)}")
    return images, labels
