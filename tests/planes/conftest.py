"""A small plane table on disk, and Planes without any files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssl_zoo.planes.table import Planes


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes `planes.csv` with the given rows and a grey PNG for every image name that ends in .png."""

    def write(rows: list[dict[str, str]]) -> Path:
        for number, row in enumerate(rows):
            path = tmp_path / row.get("image", "")
            if path.suffix == ".png" and not path.exists() and ".." not in path.parts:
                path.parent.mkdir(exist_ok=True)
                Image.fromarray(np.full((20, 30), 10 * number, np.uint8)).save(path)
        pd.DataFrame(rows).to_csv(tmp_path / "planes.csv", index=False)
        return tmp_path / "planes.csv"

    return write


@pytest.fixture
def planes() -> Callable[..., Planes]:
    """Planes of given patients and labels, without files."""

    def make(patients: list, labels: list[int], *, n_classes: int | None = None, **columns: list) -> Planes:
        n_classes = n_classes or max(labels) + 1
        classes = tuple(f"class{label}" for label in range(n_classes))
        size = len(patients)
        frame = pd.DataFrame({"image": [f"{row}.png" for row in range(size)], "patient_id": [str(p) for p in patients]})
        frame["path"] = frame["image"]
        frame["label"] = [classes[label] for label in labels]
        frame["split"], frame["cohort"], frame["site"] = "", "internal", ""
        frame["where"] = [f"planes.csv, row {row + 1}" for row in range(size)]
        for name, values in columns.items():
            frame[name] = values
        return Planes(frame, classes, "0" * 16)

    return make
