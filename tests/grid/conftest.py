"""A hospital of twelve patients: videos of six, labelled images of ten others; and one finished run on it."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ssl_zoo.config import load_experiment
from ssl_zoo.grid.study import prepare

CLASSES = ("dark", "grey", "light")


def write_hospital(root: Path, *, scans: int = 6, patients: int = 10) -> Path:
    """`scans.csv` with short videos and `planes.csv` with images whose class is their brightness."""
    rng = np.random.default_rng(0)
    (root / "videos").mkdir(parents=True)
    (root / "images").mkdir()
    lines = ["scan,patient_id"]
    for scan in range(scans):
        name = f"videos/scan {scan}.mp4"
        with av.open(str(root / name), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width = stream.height = 48
            stream.pix_fmt = "yuv420p"
            base = rng.integers(0, 200, (6, 6))
            for frame in range(10):
                picture = np.kron(np.roll(base, frame // 3, axis=0), np.ones((8, 8))).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.stack([picture] * 3, -1), format="rgb24")))
            container.mux(stream.encode(None))
        lines.append(f"{name},S{scan:02d}")
    (root / "scans.csv").write_text("\n".join(lines) + "\n")
    lines = ["image,label,patient_id,cohort"]
    for patient in range(patients):
        cohort = "external" if patient >= patients - 2 else "internal"
        for k, label in enumerate(CLASSES):
            name = f"images/{patient}-{label}.png"
            pixels = rng.normal(60 + 60 * k, 30, (40, 50)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name)
            lines.append(f"{name},{label},P{patient:02d},{cohort}")
    (root / "planes.csv").write_text("\n".join(lines) + "\n")
    return root


def experiment_file(folder: Path, hospital: Path) -> Path:
    """A study of one method, six cells an init, that takes seconds."""
    path = folder / "study.yaml"
    path.write_text(
        f"""
name: study
runs: {folder / "runs"}
scans: {{source: {hospital / "scans.csv"}}}
frames: {{per_scan: 8, size: 32}}
pretrain: {{methods: [simclr], budget: {{frames_seen: 32}}, batch_size: 16}}
planes: {{source: {hospital / "planes.csv"}, test_fraction: 0.3, val_fraction: 0.1}}
transfer:
  fractions: [0.5, 1.0]
  seeds: [0, 1]
  finetune: {{steps: 3, batch_size: 4, seeds: [0]}}
"""
    )
    return path


def run_command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "ssl_zoo", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def hospital(tmp_path_factory):
    return write_hospital(tmp_path_factory.mktemp("hospital") / "data")


@pytest.fixture
def experiment(tmp_path, hospital):
    return experiment_file(tmp_path, hospital)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory, hospital):
    """The experiment file of a study that has been run, and what the command said."""
    path = experiment_file(tmp_path_factory.mktemp("finished"), hospital)
    return path, run_command("run", path)


@pytest.fixture(scope="session")
def prepared_study(tmp_path_factory, hospital):
    """The experiment's file, and the study made ready once; nothing may be written into its run folder."""
    path = experiment_file(tmp_path_factory.mktemp("prepared"), hospital)
    return path, prepare(load_experiment(path), progress=False)


@pytest.fixture
def study_of(prepared_study, tmp_path):
    """`study_of(override, ...)`: the same scans, frames, planes and splits under other keys, with an own run folder."""
    path, study = prepared_study
    return lambda *overrides: dataclasses.replace(study, experiment=load_experiment(path, overrides), run=tmp_path)


@pytest.fixture
def command():
    """The command as a function: arguments in, the finished process out."""
    return run_command


@pytest.fixture
def write_experiment():
    """The writer of the experiment file, for tests that bring their own hospital."""
    return experiment_file
