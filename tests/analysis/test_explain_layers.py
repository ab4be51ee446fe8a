"""Where maps are read from: grid, layout and prefix tokens come from the network."""

import re

import numpy as np
import pytest
import torch

from ssl_zoo.analysis.explain.cams import TECHNIQUES, class_map
from ssl_zoo.analysis.explain.layers import choose_layer, map_layers
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.errors import UserError
from ssl_zoo.transfer.classifier import Classifier
from tests.encoders.published_files import network, tiny_entry


def encoder_of(name, size, **arguments):
    backbone = build_backbone(name, channels=1, size=size, **arguments)
    return Encoder(backbone, Card(name, size, 1, [0.5], [0.25])).eval()


@pytest.mark.parametrize(
    ("name", "size", "arguments", "expected"),
    [
        ("resnet10t", 224, {}, ("layer4", (7, 7), "channels first", 0)),
        ("resnet10t", 64, {}, ("layer2", (8, 8), "channels first", 0)),  # the last stage that is not too coarse
        ("vit_micro_patch8", 64, {}, ("blocks.5.norm1", (8, 8), "tokens", 1)),
        ("vit_tiny_patch16_224", 64, {"depth": 2, "reg_tokens": 4}, ("blocks.1.norm1", (4, 4), "tokens", 5)),
        ("deit_tiny_distilled_patch16_224", 64, {"depth": 2}, ("blocks.1.norm1", (4, 4), "tokens", 2)),
        ("vit_tiny_patch16_224", 64, {"depth": 2, "class_token": False, "global_pool": "avg"}, (None, (4, 4), "", 0)),
        ("beit_base_patch16_224", 32, {"depth": 1}, ("blocks.0.norm1", (2, 2), "tokens", 1)),
        ("swin_tiny_patch4_window7_224", 224, {"depths": (1, 1, 1, 1)}, ("norm", (7, 7), "channels last", 0)),
    ],
)
def test_layer_grid_and_prefix_tokens_are_read_off_the_network(name, size, arguments, expected):
    layer = choose_layer(encoder_of(name, size, **arguments))
    assert layer.grid == expected[1]
    assert layer.prefix == expected[3]
    assert expected[0] in (None, layer.name)
    assert expected[2] in ("", layer.layout)


def test_a_token_of_the_sequence_comes_out_at_its_place_in_the_image():
    encoder = encoder_of("vit_tiny_patch16_224", 64, depth=1, reg_tokens=4)
    layer = choose_layer(encoder)
    tokens = torch.arange(5 + 16).float().view(1, -1, 1)
    assert torch.equal(layer.maps(tokens)[0, 0], torch.arange(5, 21).float().view(4, 4))


def test_channels_last_are_put_first():
    layer = choose_layer(encoder_of("swin_tiny_patch4_window7_224", 224, depths=(1, 1, 1, 1)))
    assert layer.maps(torch.zeros(1, 7, 7, 768)).shape == (1, 768, 7, 7)


def test_looking_for_layers_leaves_no_hook_and_no_other_mode():
    encoder = encoder_of("resnet10t", 64)
    encoder.train()
    map_layers(encoder)
    assert encoder.backbone.training
    assert not any(module._forward_hooks for module in encoder.modules())


def test_a_layer_can_be_named_and_a_wrong_name_is_told():
    encoder = encoder_of("resnet10t", 64)
    assert choose_layer(encoder, "layer3").grid == (4, 4)
    with pytest.raises(UserError, match=re.escape("unknown layer of resnet10t 'layer33'; did you mean 'layer3'?")):
        choose_layer(encoder, "layer33")


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_network_has_maps_on_the_grid_of_its_own_patches(name):
    entry = tiny_entry(name)
    card = Card(entry.backbone, entry.size, 3, list(entry.mean), list(entry.std), init=name)
    encoder = Encoder(network(entry), card).eval()
    layer = choose_layer(encoder)
    patches = getattr(encoder.backbone, "patch_embed", None)
    if patches is not None:  # a transformer: its own grid, whatever stands before the patches
        assert layer.grid == tuple(patches.grid_size)
        assert layer.layout == ("channels last" if name == "ultrasam" else "tokens")
    else:  # MOFO's CSWin, whose map shrinks: the last one that is not too coarse
        assert layer.grid == (8, 8)
    assert layer.prefix == (entry.prefix_tokens if layer.layout == "tokens" else 0)
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(3, encoder.num_features))
    classifier = Classifier(encoder, weights, np.zeros(3), "abc")
    image = generator.integers(0, 255, (entry.size, entry.size), np.uint8)
    for technique in TECHNIQUES:
        found = class_map(classifier, layer, image, 1, technique)
        assert found.shape == (entry.size, entry.size)
        assert found.max() <= 1
        assert np.ptp(found) > 0.5 or technique != "eigen_cam"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet169", "tf_efficientnetv2_s", "vit_base_patch16_224"])
def test_the_networks_of_the_published_studies_have_maps(name):
    encoder = encoder_of(name, 224)
    layer = choose_layer(encoder)
    assert layer.grid == ((14, 14) if "vit" in name else (7, 7))
    generator = np.random.default_rng(0)
    classifier = Classifier(encoder, generator.normal(size=(2, encoder.num_features)), np.zeros(2), "ab")
    found = class_map(classifier, layer, generator.integers(0, 255, (224, 224), np.uint8), 1, "grad_cam")
    assert found.shape == (224, 224)
