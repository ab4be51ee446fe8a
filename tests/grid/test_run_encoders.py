"""An encoder is found by its folder, its spec or its name in a run, and exported with what is known of it."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_zoo import cli
from ssl_zoo.config import dump, load_experiment
from ssl_zoo.encoders import published
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.files import Card, save_encoder
from ssl_zoo.errors import UserError
from ssl_zoo.grid.run_encoders import open_encoder
from tests.encoders.published_files import tiny_entry, write_published


@pytest.fixture
def usf_mae(tmp_path, monkeypatch):
    """A stand-in's file in USF-MAE's published format."""
    monkeypatch.setitem(PUBLISHED, "usf_mae", tiny_entry("usf_mae"))
    published._checked.cache_clear()
    write_published("usf_mae", tmp_path / "file.pt", entry=PUBLISHED["usf_mae"])
    yield tmp_path / "file.pt"
    published._checked.cache_clear()


def encoder_folder(folder, seed=0, **facts):
    card = Card("resnet10t", 32, 1, [0.3], [0.2], seed=seed, **facts)
    save_encoder(folder, build_backbone("resnet10t", channels=1, size=32, seed=seed), card)
    return folder


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    """A file in the format of timm's ImageNet weights."""
    file = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    weights = build_backbone("resnet18", channels=3, size=32, num_classes=1000).state_dict()
    save_file({name: value.contiguous() for name, value in weights.items()}, file)
    yield file
    file.unlink()


@pytest.fixture
def run(tmp_path, prepared_study, usf_mae, resnet18):
    """A run folder with two pre-trained encoders, and three that it was given."""
    path, study = prepared_study
    mine = encoder_folder(tmp_path / "mine", method="mine")
    inits = [f"usf_mae:{usf_mae}", f"imagenet@resnet18:{resnet18}", str(mine)]
    run = tmp_path / "run"
    for part in ("planes", "frames"):
        shutil.copytree(study.run / part, run / part)
    experiment = load_experiment(path, [f"transfer.inits=[{','.join(repr(init) for init in inits)}]"])
    (run / "experiment.yaml").write_text(dump(experiment))
    for seed in (10, 2):
        encoder_folder(run / "encoders" / f"simclr-s{seed}", seed, method="simclr", init="simclr")
    return run


def test_a_name_in_a_run_is_the_encoder_that_its_cells_start_from(run):
    first = open_encoder("simclr", run)
    assert (first.init, first.encoder.card.seed, first.folder) == ("simclr", 2, run / "encoders" / "simclr-s2")
    assert open_encoder("simclr-s10", run).encoder.card.seed == 10
    for name in ("imagenet", "imagenet@resnet18"):
        found = open_encoder(name, run)
        card = found.encoder.card  # as in the study: grey, of the study's size
        assert (found.init, card.backbone, card.size, card.channels) == ("imagenet", "resnet18", 32, 1)
    assert open_encoder("usf_mae", run).encoder.card.init == "usf_mae"
    assert open_encoder("mine", run).init == "mine"
    assert open_encoder("random@resnet10t", run).encoder.card.init == "random"


def test_a_folder_and_a_spec_need_no_run(run, usf_mae, resnet18, tmp_path):
    found = open_encoder(str(run / "encoders" / "simclr-s10"))
    assert (found.init, found.run) == ("simclr", run)
    assert open_encoder(f"usf_mae:{usf_mae}").run is None
    assert open_encoder(str(tmp_path / "mine")).init == "mine"
    assert open_encoder(f"imagenet@resnet18:{resnet18}").encoder.card.channels == 3


def test_a_wrong_name_is_told_with_the_nearest(run):
    for name, where, words in (
        ("simclrr", run, "did you mean 'simclr'"),
        ("simclr-s3", run, "did you mean 'simclr-s2'"),
        ("imagnet", run, "did you mean 'imagenet'"),
        ("usf_mea:/path/file.pt", None, "unknown encoder 'usf_mea'; did you mean 'usf_mae'"),
        ("byol", None, "unknown encoder 'byol'"),
        ("runs/none/encoders/byol-s0", None, "no such encoder folder"),
    ):
        with pytest.raises(UserError, match=words):
            open_encoder(name, where)


def test_a_file_that_has_gone_is_missed_only_by_the_encoder_that_needs_it(run, usf_mae):
    usf_mae.unlink()
    assert open_encoder("imagenet", run).init == "imagenet"
    with pytest.raises(UserError, match=r"file\.pt: no such file"):
        open_encoder("usf_mae", run)


@pytest.fixture
def command(monkeypatch, capsys):
    """`ssl-zoo export ...`: its exit status and what it said on stderr."""

    def call(*arguments):
        monkeypatch.setattr("signal.signal", lambda *_: None)
        monkeypatch.setattr("sys.argv", ["ssl-zoo", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, capsys.readouterr().err

    return call


def test_a_published_encoder_is_exported_with_its_licence_and_what_it_has_seen(run, tmp_path, command):
    rows = [
        {"init": init, "backbone": backbone, "mode": "linear", "fraction": 1.0, "cohort": "internal", "f1_macro": f1}
        for init, backbone, f1 in (("usf_mae", "vit_base_patch16_224", 0.8125), ("random", "resnet10t", 0.3))
    ]
    common = {"fold": 0, "seed": 0, "n_train_patients": 5, "cell": "c", "method": ""}
    pd.DataFrame([row | common for row in rows]).to_csv(run / "results.csv", index=False)
    out = tmp_path / "usf_mae.safetensors"
    status, err = command("usf_mae", "--run", run, "--out", out, "--licence", "For the ward alone.")
    assert status == 0, err
    assert torch.equal(load_file(out)["cls_token"], open_encoder("usf_mae", run).encoder.backbone.cls_token)
    card, entry = out.with_suffix(".md").read_text(), PUBLISHED["usf_mae"]
    assert card.startswith(f"# {entry.title}")
    for words in (entry.licence, "For the ward alone.", entry.paper, "FETAL_PLANES_DB, FEFT, CACTUS", "0.812"):
        assert words in card


def test_an_encoder_of_ones_own_has_its_own_scores_and_an_imagenet_one_timms_licence(run, tmp_path, command):
    row = {"mode": "linear", "fraction": 1.0, "cohort": "internal", "fold": 0, "seed": 0, "n_train_patients": 5}
    row |= {"backbone": "resnet10t", "cell": "c", "method": ""}
    scores = [row | {"init": "random", "f1_macro": 0.125}, row | {"init": "mine", "f1_macro": 0.75}]
    pd.DataFrame(scores).to_csv(run / "results.csv", index=False)
    out = tmp_path / "a.safetensors"
    assert command(tmp_path / "mine", "--run", run, "--out", out)[0] == 0
    assert "| 0.750 | 0.125 |" in out.with_suffix(".md").read_text()
    assert command("imagenet", "--run", run, "--out", out, "--format", "torchvision")[0] == 0
    card = out.with_suffix(".md").read_text()
    assert "resnet18.a1_in1k as: apache-2.0" in card
    assert "no ultrasound" in card


def test_a_bad_name_ends_with_status_2_and_one_sentence(run, tmp_path, command):
    for arguments in (("usf_mea:/x",), ("simclrr", "--run", run), ("simclr", "--run", tmp_path)):
        status, err = command(*arguments, "--out", tmp_path / "a.safetensors")
        assert status == 2
        assert err.startswith("error: ")
        assert err.strip().count("\n") == 0
    assert not (tmp_path / "a.safetensors").exists()
