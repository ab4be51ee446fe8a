"""An encoder folder gives back exactly the network that was saved, or says what is wrong with it."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import CARD, WEIGHTS, Card, Encoder, load_encoder, save_encoder
from ssl_zoo.errors import UserError


def make(folder, backbone="resnet10t", channels=1, size=32):
    model = build_backbone(backbone, channels=channels, size=size, seed=1).eval()
    card = Card(backbone, size, channels, [0.3] * channels, [0.2] * channels)
    save_encoder(folder, model, card)
    return Encoder(model, card).eval()


@pytest.mark.parametrize(("backbone", "channels"), [("resnet10t", 1), ("resnet10t", 3), ("vit_micro_patch8", 1)])
def test_a_loaded_encoder_gives_the_same_features_to_the_bit(tmp_path, backbone, channels):
    encoder = make(tmp_path / "e", backbone, channels)
    images = torch.randint(0, 256, (3, channels, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(load_encoder(tmp_path / "e")(images), encoder(images))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_random_state():
    state = torch.get_rng_state()
    first, again, other = (build_backbone("resnet10t", channels=1, size=32, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.conv1[0].weight, again.conv1[0].weight)
    assert not torch.equal(first.conv1[0].weight, other.conv1[0].weight)


def test_uint8_and_float_images_and_other_sizes_mean_the_same(tmp_path):
    encoder = make(tmp_path / "e")
    images = torch.randint(0, 256, (2, 32, 32), dtype=torch.uint8)
    assert torch.allclose(encoder.normalise(images), encoder.normalise(images.float()[:, None] / 255))
    assert encoder.normalise(torch.zeros(2, 48, 48, dtype=torch.uint8)).shape == (2, 1, 32, 32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("bn1.weight"), ["1 missing", "bn1.weight"]),
        (lambda w: w.update(extra=torch.zeros(1)), ["1 unexpected", "extra"]),
        (lambda w: w.update({"bn1.weight": torch.zeros(2)}), ["another shape", "bn1.weight"]),
    ],
)
def test_a_partial_match_is_refused_with_the_keys_named(tmp_path, change, words):
    make(tmp_path / "e")
    weights = load_file(tmp_path / "e" / WEIGHTS)
    change(weights)
    save_file(weights, tmp_path / "e" / WEIGHTS)
    with pytest.raises(UserError) as error:
        load_encoder(tmp_path / "e")
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_truncated_or_missing_file_is_one_clear_error(tmp_path):
    make(tmp_path / "e")
    weights = tmp_path / "e" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_encoder(tmp_path / "e")
    weights.unlink()
    with pytest.raises(UserError, match="no such file"):
        load_encoder(tmp_path / "e")
    with pytest.raises(UserError, match="no such encoder folder"):
        load_encoder(tmp_path / "nowhere")


class Malicious:
    """What an attacker would pickle."""

    def __reduce__(self):
        return exec, ("raise SystemExit('code from a weight file was run')",)


def test_code_in_a_weight_file_is_not_run(tmp_path):
    make(tmp_path / "e")
    (tmp_path / "e" / WEIGHTS).write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(UserError):
        load_encoder(tmp_path / "e")


def test_a_card_with_an_unknown_field_is_refused(tmp_path):
    make(tmp_path / "e")
    card = tmp_path / "e" / CARD
    card.write_text(json.dumps(json.loads(card.read_text()) | {"colour": 1}))
    with pytest.raises(UserError, match="colour"):
        load_encoder(tmp_path / "e")


def test_an_unknown_backbone_comes_with_the_nearest_name():
    with pytest.raises(UserError, match="resnet10t"):
        build_backbone("resnet10", channels=1, size=32)


def test_a_vit_refuses_a_size_that_its_patches_do_not_tile():
    with pytest.raises(UserError, match="8-pixel patches"):
        build_backbone("vit_micro_patch8", channels=1, size=60)


@pytest.mark.parametrize("backbone", ["resnet10t", "vit_micro_patch8", "mobilenetv3_small_050"])
def test_the_stated_width_is_that_of_the_features(backbone):
    network = build_backbone(backbone, channels=1, size=32).eval()
    encoder = Encoder(network, Card(backbone=backbone, size=32, channels=1, mean=[0.0], std=[1.0]))
    assert encoder(torch.zeros(2, 32, 32)).shape == (2, encoder.num_features)
