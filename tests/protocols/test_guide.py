"""The README's guide "Benchmark your foundation model", step by step as a reader types it, on stand-ins."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

import ssl_zoo
from ssl_zoo.encoders.backbones import build_backbone
from tests.planes.published_trees import african, fetal_planes_db
from tests.protocols.conftest import EXPERIMENTS, TINY_STUDY

README = Path(ssl_zoo.__file__).parents[1] / "README.md"
SMALLER = (*TINY_STUDY, "planes.folds=2")


def guide() -> str:
    return README.read_text().partition("## Benchmark your foundation model")[2].partition("\n## ")[0]


def python_block() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", guide(), re.DOTALL)
    return block


def typed(**there: str) -> list[list[str]]:
    """The guide's commands, `"$@"` expanded, with each path that it names replaced by one that is there."""
    blocks = re.findall(r"```(\w*)\n(.*?)```", guide(), re.DOTALL)
    text = "\n".join(block for language, block in blocks if not language).replace("\\\n", " ")
    for named, real in there.items():
        text = text.replace(named, real)
    keys: list[str] = []
    found = []
    for line in text.splitlines():
        words = shlex.split(line)
        if words[:2] == ["set", "--"]:
            keys = words[2:]
        elif words:
            expanded = [key for word in words[1:] for key in (keys if word == "$@" else [word])]
            found.append(
                [str(EXPERIMENTS.parent / word) if word.startswith("experiments/") else word for word in expanded]
            )
    return found


def write_own_encoder() -> None:
    """Run the guide's own lines, on a smaller network, in the working folder."""
    code = python_block().replace("vit_tiny_patch16_224", "vit_micro_patch8").replace(", 224", ", 64")
    torch.save(build_backbone("vit_micro_patch8", channels=3, size=64, seed=3).state_dict(), "my_weights.pt")
    exec(compile(code, "README.md", "exec"), {})


def test_the_guides_example_writes_an_encoder_that_loads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_own_encoder()
    encoder = ssl_zoo.load_encoder("encoders/mine")
    assert encoder(torch.zeros(2, 40, 50, dtype=torch.uint8)).shape == (2, 192)


def test_the_guides_commands_are_those_that_there_are():
    verbs = [words[0] for words in typed()]
    assert verbs == ["encoders", "encoders", "run", "audit", "run", "status", "report"]


@pytest.mark.slow
def test_the_guide_can_be_followed(command, weights, imagenet, tmp_path):
    write_own_encoder()
    fetal_planes_db(tmp_path / "data" / "FETAL_PLANES_ZENODO")
    african(tmp_path / "data" / "Zenodo_dataset", centers=("Ghana",))
    there = {"/data/weights": str(weights("usf_mae")), "folder=/data": f"folder={tmp_path / 'data'}"}
    said = []
    for words in typed(**there, **{"imagenet@resnet18": f'"{imagenet("resnet18")}"'}):
        smaller = SMALLER if words[0] in ("run", "audit") else ()
        status, out, err = command(*words, *smaller)
        assert status == 0, (words, err)
        said.append(out)
    overview, checked, planned, audited, _, status_of_run, _ = said
    assert "usf_mae: USF-MAE" in overview
    assert "0 missing, 0 unexpected" in checked
    assert "cells" in planned
    assert "allowed by planes.audit=warn" in audited
    assert "usf_mae has seen FETAL_PLANES_DB" in (tmp_path / "runs" / "mine" / "audit.json").read_text()
    assert "mine" in status_of_run
    results = ssl_zoo.load_results("runs/mine")
    assert set(results["init"]) == {"mine", "usf_mae", "imagenet", "random"}
    assert set(results["mode"]) == {"linear"}
    assert "USF-MAE" in (tmp_path / "runs" / "mine" / "report.html").read_text()
