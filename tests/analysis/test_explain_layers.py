"""Where maps are read from: grid, layout and prefix tokens come from the network."""

import re

import pytest
import torch

from ssl_zoo.analysis.explain.layers import choose_layer, map_layers
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.errors import UserError


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
