"""A classifier that is kept: what it predicts, and what its folder holds."""

import re

import numpy as np
import pytest

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.errors import UserError
from ssl_zoo.transfer.classifier import Classifier, load_classifier
from ssl_zoo.transfer.features import extract_features
from ssl_zoo.transfer.probe import fit_probe


@pytest.fixture(scope="module")
def encoder():
    return Encoder(build_backbone("resnet10t", channels=1, size=32), Card("resnet10t", 32, 1, [0.3], [0.2])).eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 255, (24, 32, 32), np.uint8)


@pytest.fixture(scope="module")
def probe(encoder, images):
    labels = np.arange(24) % 3
    return fit_probe(extract_features(encoder, images), labels, np.arange(24).astype(str), n_classes=4)


@pytest.fixture(scope="module")
def classifier(encoder, probe):
    parts = (probe.coefficients, probe.intercepts, probe.mean, probe.scale)
    return Classifier.on_standardised(encoder, *parts, ["a", "b", "c", "never seen"], {"fraction": 1.0})


def test_a_probe_in_a_classifier_predicts_what_the_probe_predicts(classifier, encoder, probe, images):
    assert np.abs(classifier.predict(images) - probe.predict(extract_features(encoder, images))).max() < 1e-6


def test_a_class_without_training_images_has_probability_zero(classifier, images):
    assert classifier.predict(images)[:, 3].max() == 0


def test_a_saved_classifier_comes_back_bit_for_bit_and_its_encoder_is_an_encoder_folder(classifier, images, tmp_path):
    from ssl_zoo.encoders.files import load_encoder

    folder = classifier.save(tmp_path / "kept")
    again = load_classifier(folder)
    assert np.array_equal(classifier.predict(images), again.predict(images))
    assert (again.classes, again.about) == (classifier.classes, classifier.about)
    assert load_encoder(folder / "encoder").card == classifier.encoder.card
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.pkl"))


def test_batches_do_not_change_a_prediction(classifier, images):
    assert np.abs(classifier.predict(images, batch_size=5) - classifier.predict(images)).max() < 1e-3


def test_a_head_that_does_not_fit_is_refused(encoder):
    with pytest.raises(UserError, match=re.escape("a head of shape [2, 7] with 2 biases does not fit 3 classes")):
        Classifier(encoder, np.zeros((2, 7)), np.zeros(2), "abc")


@pytest.mark.parametrize(
    ("file", "message"), [("classifier.json", "not a classifier folder"), ("classifier.safetensors", "no such file")]
)
def test_a_folder_with_a_missing_file_is_refused(classifier, tmp_path, file, message):
    folder = classifier.save(tmp_path / "kept")
    (folder / file).unlink()
    with pytest.raises(UserError, match=message):
        load_classifier(folder)


def test_a_truncated_head_is_refused(classifier, tmp_path):
    folder = classifier.save(tmp_path / "kept")
    file = folder / "classifier.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_classifier(folder)
