"""Encoders are told apart by the store that they were trained on, whose size and diversity go into the regression."""

from __future__ import annotations

import pandas as pd
import pytest

from ssl_zoo.analysis.run_folder import Pretrained, Run
from ssl_zoo.analysis.size_study import size_study, store_folders, untrained_score
from ssl_zoo.scans.diversity import FILE
from tests.pretraining.short_runs import write_store

SIZES = {"frames": 8, "frames@a": 2, "frames@b": 4, "frames@c": 6}


@pytest.fixture
def run(tmp_path):
    stores = {name: write_store(tmp_path / name, per_scan=n, seed=n) for name, n in SIZES.items()}
    rows, encoders = [("random", "", None, 0.2)], []
    for place, (name, store) in enumerate(stores.items()):
        init = f"simclr@{name.partition('@')[2] or 'all'}"
        rows.append((init, "simclr", 0, 0.3 + place / 10))
        card = {"backbone": "resnet10t", "method": "simclr", "seed": 0, "data_fingerprint": store.fingerprint}
        encoders.append(Pretrained(f"{init}-s0", card, pd.DataFrame(), {}))
    results = pd.DataFrame(rows, columns=["init", "method", "pretrain_seed", "f1_macro"])
    results = results.assign(backbone="resnet10t", mode="linear", cohort="internal", fraction=1.0, fold=0, seed=0)
    results["cell"] = results.index.astype(str)
    return Run(tmp_path, "study", "", {}, results, None, encoders)


def test_every_encoder_has_the_size_and_diversity_of_its_own_store(run):
    points = size_study(run, "linear", "internal")
    assert points is not None
    assert points["store"].tolist() == list(SIZES)
    assert points["frames"].tolist() == [8 * n for n in SIZES.values()]
    assert set(points["scans"]) == {8}
    assert (points["effective"] <= points["frames"]).all()
    assert points["f1"].tolist() == pytest.approx([0.3, 0.4, 0.5, 0.6])
    assert all((folder / FILE).is_file() for folder in store_folders(run.path))
    assert untrained_score(run, "linear", "internal") == pytest.approx(0.2)


def test_a_study_of_few_stores_has_no_regression(run):
    few = Run(run.path, "study", "", {}, run.results, None, run.encoders[:3])
    assert size_study(few, "linear", "internal") is None
