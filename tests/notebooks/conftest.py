"""Made-up runs that the notebooks can read: one as the grid leaves it, and one whose variants have own stores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.analysis.conftest import fan, make_run

SMALL = {"fractions": (0.1, 1.0), "seeds": (0, 1), "patients": 8, "repeats": 1, "modes": ("linear",)}
SIZES = {"few": 16, "some": 32, "many": 64, "most": 96}
VARIANTS = """name: {{name}}
scans: {{{{source: {{source}}}}}}
frames: {{{{per_scan: 12, size: 64}}}}
pretrain:
  methods: [simclr, mae]
  variants:
{variants}
planes: {{{{source: {{source}}}}}}
""".format(variants="\n".join(f"    {name}: {{{{frames: {{{{frames: {n}}}}}}}}}" for name, n in SIZES.items()))


def with_planes(run: Path) -> Path:
    """Give a made-up run the planes that its predictions are about."""
    table = pd.read_parquet(run / "predictions.parquet").drop_duplicates(["cohort", "image"])
    table = table[["image", "label", "patient_id", "cohort"]].reset_index(drop=True)
    generator = np.random.default_rng(0)
    np.save(run / "planes" / "images.npy", np.stack([fan(32, generator) for _ in range(len(table))]))
    table.to_parquet(run / "planes" / "table.parquet")
    return run


def with_stores(run: Path) -> Path:
    """Give each variant of a made-up run the first frames of the common store, so many as `SIZES` says."""
    frames, index = np.load(run / "frames" / "frames.npy"), pd.read_parquet(run / "frames" / "index.parquet")
    card = json.loads((run / "frames" / "store.json").read_text())
    for name, size in SIZES.items():
        store = run / f"frames@{name}"
        store.mkdir()
        np.save(store / "frames.npy", frames[:size])
        index.iloc[:size].to_parquet(store / "index.parquet")
        patients = sorted(index.iloc[:size]["patient_id"].unique())
        own = {"n_frames": size, "n_scans": size // 12 + 1, "patients": patients, "fingerprint": f"{name:x<16}"}
        (store / "store.json").write_text(json.dumps(card | own))
        for encoder in (run / "encoders").glob(f"*@{name}-s0"):
            about = json.loads((encoder / "encoder.json").read_text())
            (encoder / "encoder.json").write_text(json.dumps(about | {"data_fingerprint": f"{name:x<16}"}))
    return run


@pytest.fixture(scope="session")
def plain_run(tmp_path_factory) -> Path:
    """Two methods on one store."""
    skill = {"random": 0.0, "simclr": 0.8, "mae": 0.3}
    return with_planes(make_run(tmp_path_factory.mktemp("plain"), name="plain", skill=skill, failures=0, **SMALL))


@pytest.fixture(scope="session")
def stores_run(tmp_path_factory) -> Path:
    """Two methods on four stores of different sizes."""
    skill = {"random": 0.0} | {
        f"{method}@{name}": 0.2 + place * step
        for place, name in enumerate(SIZES)
        for method, step in (("simclr", 0.2), ("mae", 0.1))
    }
    folder = tmp_path_factory.mktemp("stores")
    run = make_run(folder, name="stores", yaml=VARIANTS, skill=skill, failures=0, **SMALL)
    return with_stores(with_planes(run))
