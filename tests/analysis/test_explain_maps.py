"""Maps and what they are held to, on a network whose answer is known: brightness in the upper left corner."""

import re
import sys

import numpy as np
import pytest
import torch
from torch import nn

from ssl_zoo.analysis.explain import cams
from ssl_zoo.analysis.explain.cams import TECHNIQUES, check_techniques, class_map
from ssl_zoo.analysis.explain.deletion import STEPS, blurred_away, deletion
from ssl_zoo.analysis.explain.layers import choose_layer
from ssl_zoo.analysis.explain.randomised import rank_correlation, with_shuffled_weights
from ssl_zoo.analysis.explain.summary import summarise
from ssl_zoo.analysis.explain.truth import middle_blob, on_target
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.errors import UserError
from ssl_zoo.transfer import features
from ssl_zoo.transfer.classifier import Classifier

SIZE = 32


class Corners(nn.Module):
    """Maps of brightness (channel 0) and darkness (channel 1), averaged: features [B, 2]."""

    num_features = 2

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.Conv2d(1, 2, 4, stride=4)
        with torch.no_grad():
            self.pool.weight[0], self.pool.weight[1] = 1 / 16, -1 / 16
            self.pool.bias.fill_(-0.4)  # a little brighter or darker is nothing
        self.act = nn.ReLU()

    def forward(self, images):
        return self.act(self.pool(images)).mean((2, 3))


@pytest.fixture
def bright():
    """Says "bright" of images with something bright in them."""
    encoder = Encoder(Corners(), Card("corners", SIZE, 1, [0.5], [0.5]))
    return Classifier(encoder, 120.0 * np.eye(2), np.array([0.0, 2.0]), ("bright", "dark"))


@pytest.fixture
def corner():
    """A mid-grey image with a bright, textured square in its upper left corner."""
    image = np.full((SIZE, SIZE), 128, np.uint8)
    image[4:12, 4:12] = 255
    return image


@pytest.mark.parametrize("technique", ["grad_cam", "score_cam"])
def test_a_map_lies_where_the_class_is(bright, corner, technique):
    found = class_map(bright, choose_layer(bright.encoder, "act"), corner, 0, technique)
    assert found.shape == (SIZE, SIZE)
    assert found.min() >= 0
    assert found.max() == pytest.approx(1)
    assert found[:16, :16].sum() > 0.9 * found.sum()


def test_the_same_image_has_another_map_for_another_class(bright):
    image = np.full((SIZE, SIZE), 128, np.uint8)
    image[4:12, 4:12], image[20:28, 20:28] = 255, 0
    layer = choose_layer(bright.encoder, "act")
    first, second = (class_map(bright, layer, image, target, "grad_cam") for target in (0, 1))
    assert first[:16, :16].sum() > 0.9 * first.sum()
    assert second[16:, 16:].sum() > 0.9 * second.sum()


@pytest.mark.parametrize("technique", list(TECHNIQUES))
@pytest.mark.parametrize("backbone", ["resnet10t", "vit_micro_patch8"])
def test_every_technique_works_on_cnns_and_transformers_and_leaves_no_trace(backbone, technique):
    encoder = Encoder(build_backbone(backbone, channels=1, size=SIZE), Card(backbone, SIZE, 1, [0.3], [0.2]))
    generator = np.random.default_rng(0)
    classifier = Classifier(encoder, generator.normal(size=(3, encoder.num_features)), np.zeros(3), "abc")
    image = generator.integers(0, 255, (SIZE, SIZE), np.uint8)
    before = classifier.predict(image[None])
    found = class_map(classifier, choose_layer(encoder), image, 1, technique)
    again = class_map(classifier, choose_layer(encoder), image, 1, technique)
    assert found.shape == (SIZE, SIZE)
    assert np.isfinite(found).all()
    assert np.array_equal(found, again)
    assert np.array_equal(before, classifier.predict(image[None]))
    assert not any(module._forward_hooks for module in classifier.modules())
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_score_cam_is_that_of_the_library_and_holds_few_masked_images_at_a_time(monkeypatch):
    import pytorch_grad_cam

    encoder = Encoder(build_backbone("resnet10t", channels=1, size=SIZE), Card("resnet10t", SIZE, 1, [0.3], [0.2]))
    generator = np.random.default_rng(1)
    classifier = Classifier(encoder, generator.normal(size=(3, encoder.num_features)), np.zeros(3), "abc")
    image = generator.integers(0, 255, (SIZE, SIZE), np.uint8)
    layer = choose_layer(encoder, "layer3")
    monkeypatch.setattr(cams, "CHANNELS_AT_ONCE", 5)
    largest = []
    handle = encoder.backbone.register_forward_pre_hook(lambda module, inputs: largest.append(len(inputs[0])))
    found = class_map(classifier, layer, image, 2, "score_cam")
    handle.remove()
    assert max(largest) == 5
    monkeypatch.setattr("tqdm.tqdm", lambda items: items)
    with pytorch_grad_cam.ScoreCAM(classifier, [layer.module]) as cam:
        theirs = cam(encoder.normalise(torch.from_numpy(image[None])), [lambda logits: logits[2]])[0]
    assert np.abs(found - theirs).max() < 1e-5


@pytest.mark.parametrize("look", ["deletion", "score_cam"])
def test_large_images_are_looked_at_a_few_at_a_time(bright, corner, monkeypatch, look):
    def found():
        if look == "score_cam":
            return class_map(bright, choose_layer(bright.encoder), corner, 0, "score_cam")
        return deletion(bright, corner, 0, np.ones((SIZE, SIZE)), (8, 8), seed=0).by_map

    whole = found()
    monkeypatch.setattr(features, "FLOATS", 2 * SIZE * SIZE)
    largest = []
    handle = bright.encoder.backbone.register_forward_pre_hook(lambda module, inputs: largest.append(len(inputs[0])))
    few = found()
    handle.remove()
    assert max(largest) <= 2
    assert np.allclose(few, whole, atol=1e-6)


def test_deletion_gains_on_a_map_that_points_at_the_class_and_loses_on_one_that_points_away(bright, corner):
    target = np.zeros((SIZE, SIZE), np.float32)
    target[4:12, 4:12] = 1
    right = deletion(bright, corner, 0, target, (8, 8), seed=0)
    away = deletion(bright, corner, 0, 1 - target, (8, 8), seed=0)
    assert right.gain > 0.2
    assert away.gain < 0
    assert right.by_map[0] == pytest.approx(right.at_random[0])
    assert right.by_map[-1] == pytest.approx(right.at_random[-1])


def test_an_empty_map_gains_nothing_by_the_order_of_the_pixels(bright, corner):
    gains = [deletion(bright, corner, 0, np.zeros((SIZE, SIZE)), (8, 8), seed=seed).gain for seed in range(4)]
    assert abs(np.mean(gains)) < 0.15


def test_an_image_is_blurred_away_step_by_step(corner):
    order = np.arange(SIZE * SIZE).reshape(SIZE, SIZE)
    images = blurred_away(corner, order)
    assert images.shape == (STEPS + 1, SIZE, SIZE)
    assert np.array_equal(images[0], corner)
    assert np.array_equal(images[4][SIZE // 4 :], corner[SIZE // 4 :])
    assert images[-1].max() < 255


def test_shuffled_weights_forget_the_class_and_keep_every_value(bright):
    forgot = with_shuffled_weights(bright, seed=3)
    for name, value in bright.state_dict().items():
        assert torch.equal(value.flatten().sort()[0], forgot.state_dict()[name].flatten().sort()[0])
    encoder = Encoder(build_backbone("resnet10t", channels=1, size=SIZE), Card("resnet10t", SIZE, 1, [0.3], [0.2]))
    classifier = Classifier(encoder, np.ones((2, encoder.num_features)), np.zeros(2), "ab")
    one, two = with_shuffled_weights(classifier, 0), with_shuffled_weights(classifier, 0)
    weight = "encoder.backbone.layer1.0.conv1.weight"
    assert not torch.equal(classifier.state_dict()[weight], one.state_dict()[weight])
    assert torch.equal(one.state_dict()[weight], two.state_dict()[weight])


def test_a_map_correlates_with_itself_and_a_flat_one_with_nothing():
    found = np.random.default_rng(0).random((8, 8))
    assert rank_correlation(found, found**3) == pytest.approx(1)
    assert np.isnan(rank_correlation(found, np.zeros((8, 8))))


def test_energy_and_pointing_are_shares_of_what_lies_on_the_target():
    area = np.zeros((8, 8), np.float32)
    area[2:4, 2:4] = 1
    found = np.zeros((8, 8), np.float32)
    found[2, 2], found[6, 6] = 3, 1
    held = on_target(found, area)
    assert (held.area, held.energy, held.pointing) == (pytest.approx(4 / 64), pytest.approx(0.75), 1.0)
    empty = on_target(np.zeros((8, 8)), area)
    assert np.isnan(empty.energy)
    assert empty.pointing == 0
    assert on_target(np.ones((8, 8)), area).energy == pytest.approx(4 / 64)
    assert np.unravel_index(middle_blob(9).argmax(), (9, 9)) == (4, 4)


def test_doubts_name_maps_that_mean_nothing():
    import pandas as pd

    generator = np.random.default_rng(0)
    rows = []
    for cell, gain, correlation in (("good", 0.2, 0.1), ("bad", 0.0, 0.9)):
        for k in range(30):
            row = {"init": cell, "backbone": "b", "mode": "linear", "cell": cell, "technique": "grad_cam"}
            row |= {"patient_id": f"P{k // 2}", "label": "a", "predicted": "a", "empty": 0.0, "probability": 0.9}
            row |= {"gain": gain + generator.normal(0, 0.05), "correlation": correlation, "deletion": 0.1}
            rows.append(row | {"deletion_random": 0.3})
    table = summarise(pd.DataFrame(rows)).set_index("init")
    assert table.loc["good", "doubt"] == ""
    assert "no better than a random order" in table.loc["bad", "doubt"]
    assert "shuffled weights" in table.loc["bad", "doubt"]
    assert table.loc["good", "n_patients"] == 15
    assert table.loc["good", "gain_low"] < table.loc["good", "gain"] < table.loc["good", "gain_high"]


def test_a_missing_library_and_an_unknown_technique_are_told_in_one_sentence(monkeypatch):
    with pytest.raises(UserError, match=re.escape("unknown technique 'gradcam'; did you mean 'grad_cam'?")):
        check_techniques(["gradcam"])
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(UserError, match=re.escape("pip install 'ssl_zoo[explain]'")):
        check_techniques(["grad_cam"])
