"""Encoders for other programs: the same features there, or no file."""

import dataclasses
import re
import sys

import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file

from ssl_zoo import load_encoder
from ssl_zoo.encoders import export as module
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.export import TORCHVISION, export_encoder
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.encoders.model_card import model_card
from ssl_zoo.errors import UserError


def encoder_of(name, channels=1, size=32, **facts):
    card = Card(name, size, channels, [0.3] * channels, [0.2] * channels, **facts)
    encoder = Encoder(build_backbone(name, channels=channels, size=size, seed=1), card).eval()
    with torch.no_grad():  # BatchNorm with statistics of its own, as after training
        encoder.train()(torch.rand(4, channels, size, size))
    return encoder.eval()


@pytest.mark.parametrize("name", ["resnet10t", "vit_micro_patch8"])
def test_a_timm_file_gives_the_encoders_features_in_timm(name, tmp_path):
    encoder = encoder_of(name)
    out = tmp_path / "encoder.safetensors"
    exported = export_encoder(encoder, out, "timm")
    timm_name, arguments = module.timm_arguments(encoder)
    model = timm.create_model(timm_name, **arguments).eval()
    model.load_state_dict(load_file(out), strict=True)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(model((images - 0.3) / 0.2), encoder(images))
    assert exported.difference == 0
    assert 'load_file("encoder.safetensors")' in exported.usage


@pytest.mark.parametrize(("name", "channels"), [("resnet18", 1), ("resnet18", 3), ("densenet121", 1)])
def test_a_torchvision_file_gives_the_encoders_features_in_torchvision(name, channels, tmp_path):
    import torchvision

    encoder = encoder_of(name, channels)
    out = tmp_path / "encoder.safetensors"
    export_encoder(encoder, out, "torchvision")
    model = torchvision.models.get_model(name)
    setattr(model, "fc" if name == "resnet18" else "classifier", torch.nn.Identity())
    model.load_state_dict(load_file(out), strict=True)
    images = torch.rand(2, channels, 32, 32)
    with torch.no_grad():
        features = model.eval()(((images - 0.3) / 0.2).expand(-1, 3, -1, -1))
        assert torch.allclose(features, encoder(images), atol=1e-4)


def test_a_network_that_torchvision_lacks_is_refused_by_name(tmp_path):
    with pytest.raises(UserError, match=re.escape("torchvision has no 'resnet10t' with the same weights")):
        export_encoder(encoder_of("resnet10t"), tmp_path / "a.safetensors", "torchvision")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["resnet10t", "vit_micro_patch8"])
def test_an_onnx_file_takes_pixels_and_gives_the_encoders_features(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    encoder = encoder_of(name)
    exported = export_encoder(encoder, tmp_path / "encoder.onnx", "onnx")
    images = torch.rand(5, 1, 32, 32)
    (features,) = onnxruntime.InferenceSession(tmp_path / "encoder.onnx").run(None, {"images": images.numpy()})
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(features), encoder(images), atol=1e-4)
    assert exported.difference < 1e-4


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_network_is_written_as_onnx_as_a_folder_and_for_timm_where_timm_has_it(name, tiny, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")
    path, _ = tiny(name)
    encoder = load_encoder(f"{name}:{path}")
    images = torch.rand(5, 3, encoder.card.size, encoder.card.size)
    with torch.no_grad():
        wanted = encoder(images)
    export_encoder(encoder, tmp_path / "encoder.onnx", "onnx")
    (features,) = onnxruntime.InferenceSession(tmp_path / "encoder.onnx").run(None, {"images": images.numpy()})
    assert torch.allclose(torch.from_numpy(features), wanted, rtol=1e-4, atol=1e-4)
    export_encoder(encoder, tmp_path / "encoder", "folder")
    with torch.no_grad():
        assert torch.equal(load_encoder(tmp_path / "encoder")(images), wanted)
    if name in ("mofo", "ultrasam"):  # networks of our own, by construction or by their norms
        with pytest.raises(UserError, match="that timm does not have; --format onnx"):
            export_encoder(encoder, tmp_path / "encoder.safetensors", "timm")
    else:
        assert export_encoder(encoder, tmp_path / "encoder.safetensors", "timm").difference == 0


def test_a_folder_that_is_there_is_not_written_over(tmp_path):
    encoder = encoder_of("resnet10t", init="usf_mae")
    export_encoder(encoder, tmp_path / "mine.1", "folder")
    assert load_encoder(tmp_path / "mine.1").card == encoder.card
    with pytest.raises(UserError, match="is a folder; --out names a new one"):
        export_encoder(encoder, tmp_path / "mine.1", "folder")


def test_a_file_whose_features_differ_is_not_written(tmp_path, monkeypatch):
    encoder = encoder_of("resnet18")
    monkeypatch.setattr(module, "_grey_note", lambda encoder: "")
    with torch.no_grad():
        written = module._write_torchvision(encoder, tmp_path / "b.safetensors")[0]
    monkeypatch.setitem(
        module.FORMATS, "torchvision", (lambda e, p: (p.touch(), (written * 1.01, ""))[1], ".safetensors")
    )
    with pytest.raises(UserError, match="not written, because its features differ"):
        export_encoder(encoder, tmp_path / "a.safetensors", "torchvision")
    assert [path.name for path in tmp_path.iterdir()] == ["b.safetensors"]


def test_wrong_formats_suffixes_and_a_missing_package_are_told_in_one_sentence(tmp_path, monkeypatch):
    encoder = encoder_of("resnet10t")
    with pytest.raises(UserError, match=re.escape("unknown format 'onx'; did you mean 'onnx'?")):
        export_encoder(encoder, tmp_path / "a.onnx", "onx")
    with pytest.raises(UserError, match=re.escape("the format onnx is written as .onnx")):
        export_encoder(encoder, tmp_path / "a.pt", "onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=re.escape("pip install 'ssl_zoo[export]'")):
        export_encoder(encoder, tmp_path / "a.onnx", "onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_every_named_torchvision_network_has_the_same_features(name, tmp_path):
    exported = export_encoder(encoder_of(name, size=64), tmp_path / "a.safetensors", "torchvision")
    assert exported.difference < 1e-4


def test_the_model_card_says_what_was_seen_spent_and_scored_and_names_no_patient(tmp_path):
    facts = {"method": "byol", "init": "byol", "patients": ["Jane Doe", "John Doe"], "data_fingerprint": "feed"}
    encoder = encoder_of("resnet10t", **facts)
    folder = tmp_path / "run" / "encoders" / "byol-s0"
    folder.mkdir(parents=True)
    (folder / "budget.json").write_text('{"frames_seen": 12800, "steps": 200, "batch_size": 64}')
    (tmp_path / "run" / "frames").mkdir()
    (tmp_path / "run" / "frames" / "store.json").write_text('{"n_frames": 64, "n_scans": 2, "fingerprint": "feed"}')
    rows = [
        {"init": init, "backbone": "resnet10t", "pretrain_seed": seed, "mode": "linear", "fraction": 0.1}
        | {"cohort": "external", "f1_macro": f1}
        for init, seed, f1 in (("byol", 0, 0.6), ("byol", 0, 0.7), ("byol", 1, 0.1), ("random", None, 0.3))
    ]
    exported = export_encoder(encoder, tmp_path / "a.safetensors", "timm")
    results = pd.DataFrame(rows).astype({"pretrain_seed": "Int64"})
    card = model_card(encoder.card, exported, folder=folder, results=results, licence="CC BY 4.0", synthetic=True)
    assert "| frames | 64 of 2 scans |" in card
    assert "| frames seen | 12 800 |" in card
    assert "| external | linear probe | 10 % | 0.650 | 0.300 | 2 |" in card
    assert "CC BY 4.0" in card
    assert "no clinical evidence" in card
    assert "Doe" not in card


def test_a_card_without_a_run_says_what_is_not_known(tmp_path):
    encoder = encoder_of("resnet10t")
    card = model_card(encoder.card, export_encoder(encoder, tmp_path / "a.safetensors", "timm"))
    assert "Not measured in this study." in card
    assert "Not stated." in card


def test_the_card_of_a_fine_tuned_encoder_calls_it_no_copy(tmp_path):
    facts = {"init": "usf_mae", "patients": ["Jane Doe", "John Doe"]}
    encoder = encoder_of("resnet10t", **facts)
    exported = export_encoder(encoder, tmp_path / "a.safetensors", "timm")
    assert "This file is a copy" in model_card(encoder.card, exported)
    card = model_card(dataclasses.replace(encoder.card, finetuned=["fetal_planes_db"]), exported)
    assert card.startswith("# USF-MAE, masked autoencoder, ViT-B/16, fine-tuned\n")
    assert "| labelled planes | fetal_planes_db |" in card
    assert "| patients | 2, " in card
    assert "MIT (repository)" in card
    assert "This file is a copy" not in card
    assert "not seen in fine-tuning" in card
    assert "Doe" not in card
