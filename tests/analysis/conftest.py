"""A made-up run folder: plausible results of a whole study, without training anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score, recall_score

CNN, VIT = "resnet10t", "vit_micro_patch8"
SKILL = {  # how far pre-training takes each init beyond an untrained network
    "barlow_twins": 0.9,
    "simclr": 0.8,
    "moco": 0.55,
    "byol": 0.6,
    "mae": 0.25,
    "dino": 0.35,
    "vicreg": 0.75,
    "random": 0.0,
}
PAIRING = {  # a study with variants: three methods, five kinds of positives
    "random": 0.0,
    **{
        f"{method}@{variant}": skill + extra
        for method, skill in (("barlow_twins", 0.8), ("simclr", 0.7), ("moco", 0.3))
        for variant, extra in (
            ("same_frame", 0.0),
            ("near", 0.3),
            ("far", 0.2),
            ("far_weighted", 0.25),
            ("near_apart", 0.35),
        )
    },
}
PAIRING_YAML = """name: {name}
scans: {{source: {source}}}
pretrain:
  methods: [barlow_twins, simclr, moco]
  backbone: resnet10t
  budget: {{frames_seen: 12800}}
  variants:
    same_frame: {{pairing: same_frame}}
    near: {{pairing: temporal, window_s: 0.15}}
    far: {{pairing: temporal, window_s: 0.5}}
    far_weighted: {{pairing: temporal, window_s: 0.5, pair_weighting: linear}}
    near_apart: {{pairing: temporal, window_s: 0.15, exclude_same_scan: true}}
planes: {{source: {source}, protocol: holdout}}
"""
CLASSES = ("4CH", "LVOT", "RVOT", "3VV", "3VT")
YAML = """name: {name}
scans: {{source: {source}}}
frames: {{sampler: uniform, per_scan: 32, size: 64, channels: 1}}
pretrain: {{methods: [barlow_twins, simclr, moco, byol, mae, dino, vicreg], backbone: resnet10t, vit: vit_micro_patch8}}
planes: {{source: {source}, protocol: holdout}}
transfer: {{inits: [random], modes: [linear, finetune], fractions: [0.01, 0.05, 0.1, 0.25, 0.5, 1.0], seeds: [0, 1, 2]}}
"""


def make_cells(
    *,
    skill: dict[str, float] | None = None,
    modes: tuple[str, ...] = ("linear", "finetune"),
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0),
    seeds: tuple[int, ...] = (0, 1, 2),
    folds: int = 1,
    cohorts: tuple[str, ...] = ("internal", "external"),
    classes: tuple[str, ...] = CLASSES,
    patients: int = 30,
    repeats: int = 2,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`results` and `predictions` of made-up inits with known skill.

    The test set: `patients` per cohort x classes x `repeats` images.
    """
    skill = SKILL if skill is None else skill
    generator = np.random.default_rng(1)
    k = len(classes)
    label = np.tile(np.repeat(np.arange(k), repeats), patients)
    patient = np.repeat(np.arange(patients), k * repeats)
    hardness = {c: generator.normal(0, 0.5, patients)[patient] + generator.normal(0, 0.7, len(label)) for c in cohorts}
    names = np.array(classes, dtype=object)
    results, predictions = [], []
    starts = [(init, VIT if init == "mae" else CNN) for init in skill]
    if "mae" in skill and "random" in skill:
        starts.append(("random", VIT))
    for init, backbone in starts:
        for mode in modes:
            for fraction in fractions:
                for seed in seeds:
                    for fold in range(folds):
                        cell = f"{init}-{backbone}-{mode}-{fraction}-{seed}-{fold}"
                        for cohort in cohorts:
                            level = (
                                0.4
                                + 0.6 * np.log10(100 * fraction)
                                + 0.9 * skill[init] * (1.15 - 0.35 * np.log10(100 * fraction))
                            )
                            level += {"linear": 0.0, "finetune": 0.5 * np.log10(100 * fraction) - 0.3}.get(mode, 0.0)
                            level -= (cohort == "external") * 0.5 + (backbone == VIT) * 0.2
                            logits = generator.normal(0, 0.6, (len(label), k))
                            logits[np.arange(len(label)), label] += level + hardness[cohort]
                            logits[np.arange(len(label)), (label + 1) % k] += 0.5  # neighbours are confused
                            tested = (patient % folds == fold) | (cohort != "internal")
                            p = np.exp(logits[tested])
                            p /= p.sum(1, keepdims=True)
                            true, called = label[tested], p.argmax(1)
                            n_train = max(k, round(70 * fraction))
                            results.append(
                                {
                                    "experiment": "fake",
                                    "init": init,
                                    "method": "" if init == "random" else init.split("@")[0],
                                }
                                | {"backbone": backbone, "mode": mode, "fraction": fraction, "fold": fold, "seed": seed}
                                | {
                                    "cohort": cohort,
                                    "n_train_patients": n_train,
                                    "n_train_images": n_train * k * repeats,
                                }
                                | {"n_test_images": len(true), "accuracy": accuracy_score(true, called)}
                                | {"balanced_accuracy": balanced_accuracy_score(true, called)}
                                | {"precision_macro": precision_score(true, called, average="macro", zero_division=0)}
                                | {"recall_macro": recall_score(true, called, average="macro", zero_division=0)}
                                | {"f1_macro": f1_score(true, called, average="macro", zero_division=0)}
                                | {"f1_weighted": f1_score(true, called, average="weighted", zero_division=0)}
                                | {"auroc_macro": 0.9, "ece": 0.08, "seconds": 1.5, "cell": cell, "pretrain_seed": 0}
                            )
                            table = pd.DataFrame(p.astype(np.float32), columns=[f"p_{name}" for name in classes])
                            table.insert(0, "cell", cell)
                            table.insert(1, "image", [f"{cohort}/{i:04d}.png" for i in np.flatnonzero(tested)])
                            table.insert(2, "patient_id", [f"{cohort[0].upper()}{i:03d}" for i in patient[tested]])
                            table.insert(3, "cohort", cohort)
                            table.insert(4, "label", names[true])
                            table.insert(5, "predicted", names[called])
                            predictions.append(table)
    return pd.DataFrame(results), pd.concat(predictions, ignore_index=True)


def fan(size: int, generator: np.random.Generator, blobs: int = 4) -> np.ndarray:
    """Something that looks a little like an ultrasound sector; uint8 [size, size]."""
    y, x = np.mgrid[0:size, 0:size] / size
    sector = (np.hypot(x - 0.5, y + 0.15) < 1.05) & (np.abs(np.arctan2(x - 0.5, y + 0.15)) < 0.6)
    image = 0.35 + 0.1 * generator.standard_normal((size, size))
    for cx, cy, r in zip(
        *(generator.uniform(0.3, 0.7, blobs) for _ in range(2)), generator.uniform(0.05, 0.15, blobs), strict=True
    ):
        image = np.where(np.hypot(x - cx, y - cy) < r, 0.08, image)
    return (np.clip(image, 0, 1) * sector * 255).astype(np.uint8)


def make_run(
    folder: Path,
    *,
    name: str = "fake",
    source: str = "phantom",
    pretraining: bool = True,
    failures: int = 1,
    yaml: str = YAML,
    budgets: dict[str, dict[str, float]] | None = None,
    collapsed: dict[str, int] | None = None,
    **cells: object,
) -> Path:
    """A run folder as the grid leaves it.

    `budgets`: init -> what its budget.json has otherwise. `collapsed`: init -> the step at which it collapsed. Further
    arguments go to `make_cells`.
    """
    budgets, collapsed = budgets or {}, collapsed or {}
    run = Path(folder) / name
    (run / "cells").mkdir(parents=True)
    (run / "experiment.yaml").write_text(yaml.format(name=name, source=source))
    results, predictions = make_cells(**cells)  # type: ignore[arg-type]
    results.to_csv(run / "results.csv", index=False)
    predictions.to_parquet(run / "predictions.parquet")
    for index in range(failures):
        failed = {
            "cell": f"bad{index}",
            "init": "dino",
            "backbone": CNN,
            "mode": "finetune",
            "fraction": 0.5,
            "fold": 0,
            "seed": index,
        }
        (run / "cells" / f"bad{index}.json").write_text(
            json.dumps(failed | {"error": "MemoryError: <no memory> left & gone"})
        )
    generator = np.random.default_rng(0)
    if not pretraining:
        return run
    for place, init in enumerate(init for init in results["init"].unique() if init != "random"):
        encoder = run / "encoders" / f"{init}-s0"
        encoder.mkdir(parents=True)
        backbone = VIT if init == "mae" else CNN
        method = init.split("@")[0]
        card = {"backbone": backbone, "size": 64, "channels": 1, "mean": [0.2], "std": [0.2], "seed": 0}
        card |= {
            "method": method,
            "role": "student",
            "config_fingerprint": "c" * 16,
            "data_fingerprint": "d" * 16,
            "patients": ["S1", "S2"],
        }
        (encoder / "encoder.json").write_text(json.dumps(card))
        steps = np.arange(1, 313)
        loss = (place + 1) * (1 + 3 * np.exp(-steps / 60)) + 0.1 * (place + 1) * generator.standard_normal(len(steps))
        at = collapsed.get(init)
        frames = int(budgets.get(init, {}).get("frames_seen", 40000))
        rows = []
        for s, value in zip(steps[2::3], loss[2::3], strict=True):
            alive = 1.0 if at is None else float(1 / (1 + np.exp((s - at) / 8 + 4)))
            share = float(s) / len(steps)
            row = {
                "step": int(s),
                "frames_seen": round(frames * share),
                "share": share,
                "loss": float(value),
                "lr": 0.1,
            }
            row["feature_std"] = 0.004 + alive * (0.5 + 0.02 * place + 0.2 * float(np.exp(-s / 50)))
            row["embedding_std"] = 0.002 + alive * (0.8 - 0.02 * place)
            row["rankme"] = 1.0 + alive * (15.0 + place + s / 30 + float(generator.normal()))
            row["effective_rank"] = 1.2 + alive * (20.0 + place + s / 20 + float(generator.normal()))
            if s % 30 == 0:
                row |= {"alignment": alive * (0.3 + 0.02 * place), "uniformity": -alive * (1.2 + s / 300)}
                row["knn_accuracy"] = 0.2 + alive * (0.2 + 0.01 * place) * share
            if at is not None and 0 <= s - at < 3:
                row["event"] = "collapse"
            rows.append(row)
        (encoder / "history.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        views = {"dino": 6, "mae": 1}.get(method, 2)
        budget = {
            "frames_seen": 40000,
            "views_seen": 40000 * views,
            "forward_passes": 40000 * views * (2 if method in ("byol", "moco") else 1),
        }
        budget |= {"steps": 312, "seconds": 50.0 + 10 * place, "peak_memory_mb": 600 + 100 * place, "batch_size": 128}
        budget |= {"share_without_neighbour": 0.0, "collapsed_at_step": at} | budgets.get(init, {})
        (encoder / "budget.json").write_text(json.dumps(budget))
    store = run / "frames"
    store.mkdir()
    np.save(store / "frames.npy", np.stack([fan(64, generator) for _ in range(8 * 12)]))
    index = pd.DataFrame(
        {
            "row": range(96),
            "scan_id": [f"scan_{i // 12:03d}" for i in range(96)],
            "patient_id": [f"S{i // 24}" for i in range(96)],
        }
    )
    index.assign(frame=[3 * (i % 12) for i in range(96)], time_s=[0.1 * (i % 12) for i in range(96)]).to_parquet(
        store / "index.parquet"
    )
    summary = {
        "version": 1,
        "sampler": {"name": "uniform", "per_scan": 12},
        "size": 64,
        "channels": 1,
        "source": "a" * 16,
        "n_frames": 96,
    }
    summary |= {"n_scans": 8, "patients": ["S0", "S1", "S2", "S3"], "mean": 0.2, "std": 0.2, "fingerprint": "f" * 16}
    summary |= {"skipped": [{"scan": "broken.mp4", "reason": "not a video"}]}
    (store / "store.json").write_text(json.dumps(summary))
    labels = np.repeat(np.array(list(predictions["label"].unique()), dtype=str), 10)
    (run / "planes").mkdir()
    np.save(run / "planes" / "images.npy", np.stack([fan(64, generator) for _ in labels]))
    pd.DataFrame({"label": labels}).to_parquet(run / "planes" / "table.parquet")
    (run / "planes" / "planes.json").write_text(json.dumps({"classes": CLASSES, "by_image": False}))
    return run


@pytest.fixture(scope="session")
def whole() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Results and predictions of a full study with one seed fewer, to be quick."""
    return make_cells(seeds=(0, 1), fractions=(0.05, 0.25, 1.0))


@pytest.fixture(scope="session")
def fake_cells() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    """`make_cells`, for tests that choose its arguments."""
    return make_cells


@pytest.fixture(scope="session")
def pairing_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of three methods in five variants, 15 inits, linear probe only, two cohorts."""
    settings = {"skill": PAIRING, "modes": ("linear",), "fractions": (0.01, 0.1, 1.0), "seeds": (0,), "patients": 12}
    folder = tmp_path_factory.mktemp("pairing")
    return make_run(folder, name="pairing", yaml=PAIRING_YAML, failures=0, collapsed={"moco@far": 120}, **settings)


@pytest.fixture(scope="session")
def fake_run() -> Callable[..., Path]:
    """`make_run`, for tests that choose its arguments."""
    return make_run


def _cut_off(figure: Figure) -> list[str]:
    """Visible texts that reach beyond the figure's edge."""
    figure.draw_without_rendering()
    renderer, box = FigureCanvasAgg(figure).get_renderer(), figure.bbox
    found = []
    for axis in (axis for axis in figure.axes if axis.get_visible()):
        texts = [axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts]
        for side in (axis.xaxis, axis.yaxis):
            low, high = sorted(side.get_view_interval())
            texts += [tick.label1 for tick in side.get_major_ticks() if low <= tick.get_loc() <= high]
        for text in texts:
            if text.get_visible() and text.get_text():
                extent = text.get_window_extent(renderer)
                if extent.x0 < -1 or extent.y0 < -1 or extent.x1 > box.width + 1 or extent.y1 > box.height + 1:
                    found.append(text.get_text())
    for legend in figure.legends:
        extent = legend.get_window_extent(renderer)
        if extent.x0 < -1 or extent.x1 > box.width + 1 or extent.y0 < -1:
            found.append("legend")
    return found


@pytest.fixture(scope="session")
def cut_off() -> Callable[[Figure], list[str]]:
    """The texts of a figure that reach beyond its edge."""
    return _cut_off


# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def _lab(colour: str, vision: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture(scope="session")
def seen_as() -> Callable[[str, str], np.ndarray]:
    """A colour in CIE L*a*b*, as people with normal or red-green blind (protan, deutan) vision see it."""
    return _lab
