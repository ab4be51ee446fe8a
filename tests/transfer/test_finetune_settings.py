"""Each step's rate, each layer's rate, the views: what follows from the settings, without any training."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import nn

from ssl_zoo.encoders.backbones import SMALL, build_backbone
from ssl_zoo.errors import UserError
from ssl_zoo.training.view_recipes import MILD
from ssl_zoo.training.views import view_settings
from ssl_zoo.transfer.finetune import mild_view
from ssl_zoo.transfer.finetune_settings import FinetuneSettings, lr_factor, parameter_groups, view_recipe

# One whose last block feeds the head, one with a norm of the mean before it, one with a class token.
BACKBONES = ["resnet10t", "vit_micro_patch8", "vit_tiny_patch16_224"]


def by_name(backbone, settings):
    """Peak rate and weight decay of every parameter, by name, those of the head as `head.weight` and `head.bias`."""
    head = nn.Linear(backbone.num_features, 5)
    names = {id(p): name for name, p in backbone.named_parameters()}
    names |= {id(p): f"head.{name}" for name, p in head.named_parameters()}
    groups = parameter_groups(backbone, head, settings)
    found = {names[id(p)]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(found) == len(names) == sum(len(group["params"]) for group in groups)  # each learns, once
    return found


@pytest.mark.parametrize(("steps", "warmup", "final_lr"), [(100, 0.1, 0.0), (37, 0.25, 0.01), (5, 0.0, 0.5), (1, 0, 0)])
def test_the_rate_is_its_closed_form_at_every_step(steps, warmup, final_lr):
    settings = FinetuneSettings(steps=steps, warmup=warmup, final_lr=final_lr)
    first = round(warmup * steps)  # steps of warm-up
    expected = []
    for step in range(steps):
        turn = math.pi * (step - first) / (steps - 1 - first) if steps - 1 > first else 0.0
        expected.append((step + 1) / first if step < first else final_lr + (1 - final_lr) * math.cos(turn / 2) ** 2)
    assert [lr_factor(settings, step) for step in range(steps)] == pytest.approx(expected, abs=1e-12)


def test_the_rate_rises_to_its_peak_and_ends_where_it_should():
    rates = [lr_factor(FinetuneSettings(steps=100, warmup=0.1, final_lr=0.01), step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.01)


@pytest.mark.parametrize("name", BACKBONES)
def test_layers_learn_at_the_rates_that_timm_gives_to_the_whole_classifier(name):
    settings = FinetuneSettings(lr=2e-3, layer_decay=0.6, weight_decay=0.03)
    found = by_name(build_backbone(name, channels=1, size=32), settings)
    timm_name, special = SMALL.get(name, (name, {}))
    arguments: Any = special | ({"img_size": 32} if name.startswith("vit") else {})
    whole: Any = timm.create_model(timm_name, num_classes=5, in_chans=1, **arguments)
    names = {
        id(p): name.replace("fc.", "head.") if name.startswith("fc.") else name for name, p in whole.named_parameters()
    }
    undecayed = getattr(whole, "no_weight_decay", tuple)()
    for group in param_groups_layer_decay(whole, 0.03, tuple(undecayed), layer_decay=0.6):
        for parameter in group["params"]:
            rate, decay = found.pop(names[id(parameter)])
            assert rate == pytest.approx(2e-3 * group["lr_scale"]), names[id(parameter)]
            assert decay == group["weight_decay"], names[id(parameter)]
    assert not found


@pytest.mark.parametrize("name", BACKBONES)
def test_the_head_learns_fastest_the_stem_slowest_and_norms_and_biases_do_not_decay(name):
    backbone = build_backbone(name, channels=1, size=32)
    found = by_name(backbone, FinetuneSettings(lr=1.0, layer_decay=0.5, weight_decay=0.1))
    stem = "patch_embed.proj.weight" if name.startswith("vit") else "conv1.0.weight"
    last = [key for key in found if key.startswith(("blocks.", "layer"))][-1]
    assert found["head.weight"] == (1.0, 0.1)
    assert found["head.bias"] == (1.0, 0.0)
    assert found[last][0] == 0.5  # the layer below the head
    assert found[stem][0] == min(rate for rate, _ in found.values()) < found[last][0]
    for key, parameter in backbone.named_parameters():
        assert (found[key][1] == 0) == (parameter.ndim <= 1 or key in ("cls_token", "pos_embed")), key


def test_a_layer_decay_of_one_is_one_rate_for_all():
    found = by_name(build_backbone("resnet10t", channels=1, size=32), FinetuneSettings(lr=1e-3, layer_decay=1.0))
    assert {rate for rate, _ in found.values()} == {1e-3}


def test_the_view_is_mild_but_for_what_is_named():
    assert view_recipe(view_settings({})) == MILD
    changed = view_recipe(view_settings({"rotation": 180, "flip": 0, "blur": 0.5, "noise": 0.1, "tgc": 0.3}))
    assert changed == dataclasses.replace(MILD, rotation=180, flip=0, blur=0.5, noise=0.1, tgc=0.3)
    ultrasound = view_recipe(view_settings({"preset": "ultrasound"}))
    assert min(ultrasound.tgc, ultrasound.cells, ultrasound.haze, ultrasound.shadow, ultrasound.tilt) > 0


@pytest.mark.parametrize("views", [{"local_crops": 2}, {"blur_sigma": [0.1, 1.0]}, {"jitter": 0, "gain": 0.3}])
def test_a_change_of_the_view_that_would_change_nothing_is_refused(views):
    with pytest.raises(UserError, match="changes nothing"):
        view_recipe(view_settings(views))


def test_left_stays_left_where_flips_are_switched_off(encoder):
    images = torch.zeros(64, 32, 32, dtype=torch.uint8)
    images[:, :, :16] = 200  # the left half is bright

    def brighter_on_the_left(**views):
        view = mild_view(encoder(), view_recipe(view_settings({"rotation": 0, **views})))
        seen = view(images, torch.Generator().manual_seed(0))
        return (seen[..., :16].mean((1, 2, 3)) > seen[..., 16:].mean((1, 2, 3))).float().mean().item()

    assert brighter_on_the_left(flip=0) == 1.0
    assert 0.2 < brighter_on_the_left() < 0.8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 1),
        ("steps", 0),
        ("lr", 0.0),
        ("lr", math.inf),
        ("lr_choices", ()),
        ("lr_choices", (1e-3, 1e-3)),
        ("lr_choices", (1e-3, -1.0)),
        ("layer_decay", 1.5),
        ("warmup", 1.0),
        ("dropout", 1.0),
    ],
)
def test_impossible_settings_name_the_key(name, value):
    with pytest.raises(UserError, match=name):
        FinetuneSettings(**{name: value})
