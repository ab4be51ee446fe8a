from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.transfer import features, finetune
from ssl_zoo.transfer.classifier import Classifier
from ssl_zoo.transfer.features import extract_features, images_at_once


@pytest.mark.parametrize("training", [True, False])
def test_extraction_changes_nothing_in_the_encoder(encoder, striped, training):
    model = encoder().train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    features = extract_features(model, striped(10)[0], batch_size=4)
    assert features.shape == (10, model.num_features)
    assert features.dtype == np.float32
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training == training for module in model.modules())


def test_features_do_not_depend_on_the_batch(encoder, striped):
    images, _ = striped(9)
    model = encoder()
    together = extract_features(model, images)
    assert extract_features(model, images, batch_size=1) == pytest.approx(together, abs=1e-4)
    assert extract_features(model, images, batch_size=4) == pytest.approx(together, abs=1e-4)


def test_a_memory_map_and_colour_images_are_taken(encoder, striped, tmp_path):
    images, _ = striped(4)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert (extract_features(encoder(), mapped) == extract_features(encoder(), images)).all()
    colour = np.repeat(images[..., None], 3, -1)
    model = encoder(channels=3)
    assert extract_features(model, colour) == pytest.approx(extract_features(model, images), abs=1e-4)


def test_an_encoder_that_diverged_is_refused(encoder, striped):
    model = encoder()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="image 0"):
        extract_features(model, striped(2)[0])


@pytest.mark.parametrize(
    ("name", "size", "channels", "expected"),
    [
        ("resnet50", 64, 1, 256),
        ("vit_base_patch16_224", 256, 3, 256),
        ("resnet50", 512, 3, 256),
        ("samvit_mean", 224, 3, 256),
        ("samvit_mean", 512, 3, 16),
        ("samvit_mean", 1024, 3, 1),
        ("samvit_base_patch16", 1024, 3, 1),
    ],
)
def test_as_many_images_are_looked_at_together_as_a_networks_attention_leaves_room_for(name, size, channels, expected):
    with torch.device("meta"):
        encoder = Encoder(build_backbone(name, channels=channels, size=size), Card(name, size, channels, [0.5], [0.5]))
    assert images_at_once(encoder) == expected
    assert images_at_once(encoder, 20) == min(20, expected)


@pytest.mark.parametrize("use", ["features", "classifier", "fine-tuned"])
def test_no_batch_is_larger_than_that(monkeypatch, use):
    arguments = {"depth": 2, "embed_dim": 24, "num_heads": 2, "global_attn_indexes": (1,)}
    backbone = build_backbone("samvit_mean", channels=1, size=64, **arguments)
    encoder = Encoder(backbone, Card("samvit_mean", 64, 1, [0.5], [0.25], arguments=arguments)).eval()
    monkeypatch.setattr(features, "FLOATS", 3 * 2 * 14**4)  # three times what two heads add in a window of 14 x 14
    sizes = []
    backbone.register_forward_hook(lambda module, given, _: sizes.append(len(given[0])))
    images = np.zeros((7, 64, 64), np.uint8)
    if use == "features":
        extract_features(encoder, images)
    elif use == "classifier":
        Classifier(encoder, np.zeros((2, 24)), np.zeros(2), "ab").predict(images)
    else:
        finetune.Classifier(encoder, 2, dropout=0.0, generator=torch.Generator()).predict(images)
    assert sizes == [3, 3, 1]
