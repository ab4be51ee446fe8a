"""A study's cells start from published encoders, each fed with images of its own size and fitting."""

from __future__ import annotations

import dataclasses
import shlex

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from ssl_zoo.cli import app
from ssl_zoo.config import load_experiment
from ssl_zoo.encoders import matching, published
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.files import Card, save_encoder
from ssl_zoo.encoders.fitting import Fit
from ssl_zoo.errors import UserError
from ssl_zoo.grid.cells import read_cell
from ssl_zoo.grid.inits import given_inits
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.plane_images import as_seen_by
from ssl_zoo.grid.work import build_encoder, cached_features, run_cell
from ssl_zoo.planes.table import load_images
from tests.encoders.published_files import TINY, tiny_entry, write_published


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Stand-ins' files in the published formats, of tiny networks."""
    for name in TINY:
        monkeypatch.setitem(PUBLISHED, name, tiny_entry(name))
    published._checked.cache_clear()
    for name in ("usf_mae", "ultrasam", "fetalclip"):
        write_published(name, tmp_path / f"{name}.pth", entry=PUBLISHED[name])
    return tmp_path


@pytest.fixture
def study_with(study_of, prepared_study, tmp_path):
    """The prepared study with these inits, in a run folder of its own that has the planes."""

    def make(*specs, **overrides):
        keys = [f"{key}={value}" for key, value in overrides.items()]
        study = study_of(f"transfer.inits=[{','.join(specs)}]", "pretrain.methods=[]", *keys)
        (tmp_path / "planes").mkdir(exist_ok=True)
        return dataclasses.replace(study, stores={})

    return make


def init_of(study, name):
    return next(init for init in given_inits(study.experiment) if init.name == name)


@pytest.mark.parametrize("name", ["usf_mae", "ultrasam", "fetalclip"])
def test_an_init_is_fed_with_images_of_its_own_size_and_fitting(study_with, weights, name):
    study = study_with("random", f"{name}:{weights / name}.pth")
    init = init_of(study, name)
    entry = PUBLISHED[name]
    fed = as_seen_by(study, init)
    expected = load_images(study.planes, entry.size, 1, fit=Fit(entry.size, entry.fitting, entry.resampling))
    assert np.array_equal(fed.images, expected)
    file = study.run / "planes" / f"images-{entry.size}-{entry.fitting}-{entry.resampling}.npy"
    before = file.stat().st_mtime_ns
    assert np.array_equal(as_seen_by(study, init).images, expected)
    assert file.stat().st_mtime_ns == before  # made once
    assert as_seen_by(study, init_of(study, "random")) is study


@pytest.mark.parametrize("mode", ["linear", "finetune"])
def test_cells_of_published_inits_run(study_with, weights, mode):
    study = study_with(f"usf_mae:{weights / 'usf_mae'}.pth", f"ultrasam@64:{weights / 'ultrasam'}.pth")
    cells = [cell for cell in make_plan(study).cells if cell.mode == mode and cell.init.published]
    for name in ("usf_mae", "ultrasam@64"):
        cell = next(cell for cell in cells if cell.init.name == name)
        run_cell(study, cell, "cpu")
        record = read_cell(study.run, cell.key)
        assert record is not None
        assert 0 <= record["cohorts"]["internal"]["accuracy"] <= 1


@torch.no_grad()
def test_features_are_those_of_the_encoder_on_its_own_images(study_with, weights, capsys):
    study = study_with(f"fetalclip:{weights / 'fetalclip'}.pth")
    init = init_of(study, "fetalclip")
    features = cached_features(study, init, 0, "cpu")
    encoder = build_encoder(study, init, 0)
    images = torch.from_numpy(np.array(as_seen_by(study, init).images))
    assert np.allclose(features, encoder(images).numpy(), atol=1e-5)
    assert features.shape == (len(study.planes), PUBLISHED["fetalclip"].features)


def test_the_account_of_a_file_is_told_once(study_with, weights, capsys):
    study = study_with(f"usf_mae:{weights / 'usf_mae'}.pth")
    matching.say_once.cache_clear()
    for _ in range(2):
        given_inits(study.experiment)
    assert capsys.readouterr().err.count("matched, 0 missing, 0 unexpected") == 1


def test_keys_of_cells_follow_size_fitting_and_file(study_with, weights, monkeypatch):
    def keys(spec):
        study = study_with(spec)
        return {cell.key for cell in make_plan(study).cells if cell.init.published}

    spec = f"usf_mae:{weights / 'usf_mae'}.pth"
    before = keys(spec)
    assert keys(spec) == before
    assert not keys(f"usf_mae@32:{weights / 'usf_mae'}.pth") & before
    with monkeypatch.context() as patch:
        patch.setitem(PUBLISHED, "usf_mae", dataclasses.replace(PUBLISHED["usf_mae"], fitting="letterbox"))
        assert not keys(spec) & before
    write_published("usf_mae", weights / "usf_mae.pth", entry=PUBLISHED["usf_mae"], seed=2)
    assert not keys(spec) & before


def test_published_inits_bring_no_random_baseline_of_their_own(study_with, weights):
    study = study_with(f"usf_mae:{weights / 'usf_mae'}.pth")
    assert [init.name for init in given_inits(study.experiment)] == ["usf_mae"]
    named = study_with("random", f"usf_mae:{weights / 'usf_mae'}.pth")
    assert next((i.name, i.backbone) for i in given_inits(named.experiment)) == ("random", "resnet10t")


def test_imagenet_takes_a_backbone_of_its_own(study_with, tmp_path):
    save_file(
        build_backbone("resnet18", channels=3, size=32, num_classes=1000).state_dict(), tmp_path / "r.safetensors"
    )
    study = study_with(f"imagenet@resnet18:{tmp_path / 'r.safetensors'}")
    init = init_of(study, "imagenet")
    assert (init.backbone, init.fit) == ("resnet18", None)
    assert build_encoder(study, init, 0).card.channels == study.experiment.frames.channels
    assert [i.backbone for i in given_inits(study.experiment) if i.name == "random"] == ["resnet18"]


def test_a_folder_made_for_other_images_is_given_its_own(study_with, tmp_path):
    for folder, size in (("same", 32), ("larger", 64)):
        card = Card("resnet10t", size, 1, [0.3], [0.2])
        save_encoder(tmp_path / folder, build_backbone("resnet10t", channels=1, size=size), card)
    study = study_with(str(tmp_path / "same"), str(tmp_path / "larger"))
    assert as_seen_by(study, init_of(study, "same")) is study
    assert as_seen_by(study, init_of(study, "larger")).images.shape[1:] == (64, 64)


@pytest.mark.parametrize("kind", ["usf_mae", "imagenet"])
def test_two_files_of_one_encoder_are_compared_when_one_is_saved_as_a_folder_as_the_error_says(
    study_with, weights, monkeypatch, kind
):
    specs = []
    for seed in (1, 2):
        file = weights / f"a file {seed}.pth"
        if kind == "imagenet":
            torch.save(build_backbone("resnet10t", channels=3, size=64, num_classes=1000).state_dict(), file)
            specs.append(f"'imagenet@resnet10t:{file}'")
        else:
            write_published("usf_mae", file, entry=PUBLISHED["usf_mae"], seed=seed)
            specs.append(f"'usf_mae:{file}'")
    monkeypatch.chdir(weights)
    with pytest.raises(UserError, match=f"two inits are called '{kind}'") as error:
        given_inits(study_with(*specs).experiment)
    command = shlex.split(str(error.value).partition("ssl-zoo ")[2])
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    study = study_with(specs[0], f"encoders/{kind}_2")
    assert {init.name for init in given_inits(study.experiment)} >= {kind, f"{kind}_2"}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("usf_mea:/x", "unknown init 'usf_mea'; did you mean 'usf_mae'"),
        ("usf_mae", "not shipped"),
        ("usf_mae:/nowhere", "/nowhere: no such file"),
        ("mofo@448:/x", "64 pixels only"),
        ("imagenet@resnet5", "unknown backbone 'resnet5'"),
        ("some/folder", "is not an encoder folder"),
    ],
)
def test_a_wrong_init_is_refused_before_any_work(prepared_study, weights, spec, words):
    path, _ = prepared_study
    with pytest.raises(UserError, match=words) as error:
        given_inits(load_experiment(path, [f"transfer.inits=['{spec}']"]))
    assert str(error.value).startswith("transfer.inits: ")


def test_a_file_of_another_encoder_is_refused_before_any_work(prepared_study, weights):
    path, _ = prepared_study
    with pytest.raises(UserError, match=r"not the weights of usf_mae .* missing"):
        given_inits(load_experiment(path, [f"transfer.inits=['usf_mae:{weights / 'ultrasam'}.pth']"]))
