"""The four published studies as a user runs them, on stand-ins for their data and weights, at tiny size.

The command runs in this process, because tiny networks stand in the registry of this process alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import ssl_zoo
from ssl_zoo import cli
from ssl_zoo.encoders import published
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.grid import experiment as grid
from ssl_zoo.grid.run import left_of
from ssl_zoo.grid.work import do_job
from tests.encoders.published_files import TINY, tiny_entry, write_published

EXPERIMENTS = Path(ssl_zoo.__file__).parents[1] / "experiments"
TINY_STUDY = (  # all that is other than in the experiment files: budgets and sizes
    "frames.size=64",
    "transfer.seeds=[0]",
    "transfer.finetune.steps=2",
    "transfer.finetune.batch_size=4",
    "compute.device=cpu",
    "compute.workers=1",
)
FILES = {  # the names under which the experiment files look for published weights
    "usf_mae": "USF-MAE_full_pretrain_43dataset_100epochs.pt",
    "usfm": "USFM_latest.pth",
    "mofo": "mofo_weight_sel.pth",
    "ultrasam": "UltraSam.pth",
    "fetalclip": "FetalCLIP_weights.pt",
    "dinov3": "dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth",
}


def in_this_process(study, jobs, *, failed=None, progress=True):
    """What `run_jobs` does, without workers."""
    for job in jobs:
        do_job(study, left_of(study, job), "cpu", lambda share, line: None, lambda: False)
    return {}


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """The command `ssl-zoo` as a function of its arguments, in an empty folder: its exit status and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(grid, "run_jobs", in_this_process)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["ssl-zoo", *map(str, arguments)])
        status = 0
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """`weights(name, ...)`: a folder with stand-ins of published encoders under the names of their downloads."""
    for name in TINY:
        monkeypatch.setitem(PUBLISHED, name, tiny_entry(name))
    published._checked.cache_clear()
    folder = tmp_path / "weights"
    folder.mkdir()

    def write(*names):
        for name in names:
            write_published(name, folder / FILES[name], entry=PUBLISHED[name])
        return folder

    yield write
    for file in folder.iterdir():  # hundreds of megabytes, which pytest would keep
        file.unlink()
    published._checked.cache_clear()


@pytest.fixture
def imagenet(tmp_path):
    """`imagenet(backbone)`: the init of a network that nobody has trained, from a file in timm's format."""
    files = []

    def write(backbone):
        file = tmp_path / f"{backbone}.safetensors"
        model = build_backbone(backbone, channels=3, size=224, num_classes=1000)
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
        files.append(file)
        return f"imagenet@{backbone}:{file}"

    yield write
    for file in files:
        file.unlink()


def write_planes(root: Path, patients: list[tuple[str, ...]], split: list[str] | None = None) -> Path:
    """`planes.csv` of one image for each label of each patient, all different; optionally with their split."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    lines = ["image,label,patient_id" + (",split" if split else "")]
    for patient, labels in enumerate(patients):
        for place, label in enumerate(labels):
            name = f"images/{patient}-{place}.png"
            Image.fromarray(rng.integers(0, 255, (40, 48), np.uint8)).save(root / name)
            lines.append(f"{name},{label},P{patient:03d}" + (f",{split[patient]}" if split else ""))
    (root / "planes.csv").write_text("\n".join(lines) + "\n")
    return root


def write_scans(root: Path, patients: int = 4) -> Path:
    """`scans.csv` of one stack of twenty frames for each patient."""
    rng = np.random.default_rng(1)
    lines = ["scan,patient_id"]
    for patient in range(patients):
        np.save(root / f"{patient}.npy", rng.integers(0, 255, (20, 72, 72), np.uint8))
        lines.append(f"{patient}.npy,S{patient}")
    (root / "scans.csv").write_text("\n".join(lines) + "\n")
    return root
