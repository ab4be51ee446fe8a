"""Runs that take a moment: their frames, their settings, and what they leave."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import torch

from ssl_zoo.encoders.files import load_encoder
from ssl_zoo.files import write_json
from ssl_zoo.methods import METHODS
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.settings import PretrainSettings
from ssl_zoo.scans.store import FrameStore

CNN = "test_resnet"  # of timm: a ResNet of 0.4 million weights

SETTINGS = PretrainSettings(
    method="simclr",
    backbone=CNN,
    size=32,
    channels=1,
    budget=Budget(frames_seen=64),
    batch_size=16,
    precision="fp32",
)


def settings_of(method="simclr", **changes):
    """Settings of a short run; `frames_seen`, `steps` or `seconds` among the changes is its budget."""
    budget = {name: changes.pop(name) for name in ("frames_seen", "steps", "seconds") if name in changes}
    if budget:
        changes["budget"] = Budget(**budget)
    backbone = "vit_micro_patch8" if METHODS[method].needs == "vit" else CNN
    return dataclasses.replace(SETTINGS, **{"method": method, "backbone": backbone, **changes})


def weights(folder):
    return load_encoder(folder).backbone.state_dict()


def same_weights(first, second):
    """Whether two encoder folders hold the same weights to the bit."""
    first, second = weights(first), weights(second)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def history_of(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def budget_of(folder):
    return json.loads((folder / "budget.json").read_text())


class Killed(Exception):
    """Stands for the end of the process in the middle of a step."""


def kill_at(share):
    """A `report` that ends the run where this share of it is done; needs SHOW_EVERY_S = 0."""

    def report(done, line):
        if done >= share:
            raise Killed

    return report


def write_store(folder, *, scans=8, per_scan=8, size=32, seed=0):
    """Scans of a bright disc that wanders: neighbouring frames look alike, scans do not."""
    rng = np.random.default_rng(seed)
    grid = np.mgrid[:size, :size] / size
    frames, index = [], []
    for scan in range(scans):
        place, radius, step = rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.3), rng.normal(0, 0.02, 2)
        for frame in range(per_scan):
            inside = np.hypot(*(grid - (place + frame * step)[:, None, None])) < radius
            frames.append((60 + 120 * inside + rng.normal(0, 15, inside.shape)).clip(0, 255).astype(np.uint8))
            index.append((len(index), f"scan{scan}", f"S{scan}", frame, frame / 25))
    folder.mkdir(parents=True)
    np.save(folder / "frames.npy", np.stack(frames))
    table = pd.DataFrame(index, columns=["row", "scan_id", "patient_id", "frame", "time_s"])
    table.to_parquet(folder / "index.parquet", index=False)
    patients = sorted(table["patient_id"].unique())
    pixels = np.stack(frames) / 255
    write_json(
        folder / "store.json",
        {
            "version": 1,
            "n_frames": len(frames),
            "n_scans": scans,
            "patients": patients,
            "mean": float(pixels.mean()),
            "std": float(pixels.std()),
            "skipped": [],
            "fingerprint": f"fake-{seed}",
        },
    )
    return FrameStore.open(folder)
