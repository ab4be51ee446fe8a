"""Confidence that means what it says, frames set aside, and planes found in time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.scans.reader import open_scan
from ssl_zoo.transfer.abstention import fit_abstainer
from ssl_zoo.transfer.calibration import at_temperature, fit_temperature
from ssl_zoo.transfer.classifier import Classifier
from ssl_zoo.transfer.predictor import fit_predictor, predict_scan
from ssl_zoo.transfer.timeline import durations, findings, runs_of, smooth


def softmax(logits):
    values = np.exp(logits - logits.max(1, keepdims=True))
    return values / values.sum(1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_an_overconfident_classifier_is_found(temperature):
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20_000, 4))
    labels = np.array([rng.choice(4, p=p) for p in softmax(logits)])  # so that softmax(logits) is the truth
    assert fit_temperature(softmax(logits * temperature), labels) == pytest.approx(temperature, rel=0.05)


def test_a_temperature_changes_no_prediction_and_one_changes_nothing():
    probabilities = softmax(np.random.default_rng(0).normal(size=(50, 5)))
    np.testing.assert_allclose(at_temperature(probabilities, 1.0), probabilities)
    hot = at_temperature(probabilities, 4.0)
    assert (hot.argmax(1) == probabilities.argmax(1)).all()
    assert (hot.max(1) < probabilities.max(1)).all()
    np.testing.assert_allclose(hot.sum(1), 1)
    assert np.isfinite(fit_temperature(np.eye(3), np.arange(3)))  # a classifier that is always sure and always right


def test_frames_far_from_all_classes_are_set_aside_though_the_classifier_is_sure_of_them():
    rng = np.random.default_rng(0)
    centres = 6 * rng.normal(size=(3, 20))
    labels = np.repeat(np.arange(3), 60)
    features, validation = (centres[labels] + rng.normal(size=(180, 20)) for _ in range(2))
    confidence = rng.uniform(0.6, 1.0, 180)
    fitted = fit_abstainer(features, labels, validation=validation, confidence=confidence, keep=0.9)
    assert 0.9 <= fitted.kept <= 1.0
    assert fitted.accepts(validation, confidence).mean() == pytest.approx(fitted.kept)
    strange = 6 * rng.normal(size=(200, 20))
    assert fitted.accepts(strange, np.ones(200)).mean() < 0.02
    assert not fitted.accepts(validation, np.full(180, 0.5)).any()  # and those the classifier is unsure of


def test_fewer_images_than_features_and_constant_features_do_no_harm():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 100))
    features[:, 50:] = 1.0
    fitted = fit_abstainer(
        features, np.array([0, 0, 1, 1, 3, 3]), validation=features[:2], confidence=np.array([0.5, 0.9])
    )
    assert np.isfinite(fitted.distances(rng.normal(size=(3, 100)))).all()


def test_a_scan_of_noise_among_planes_is_set_aside(tmp_path):
    """Planes are dark or light; the scan shows dark ones, then what no plane looks like."""
    rng = np.random.default_rng(0)

    def pictures(level, count):
        return rng.normal(level, 8, (count, 32, 32)).clip(0, 255).astype(np.uint8)

    images = np.concatenate([pictures(60, 60), pictures(160, 60)])
    labels = np.repeat([0, 1], 60)
    encoder = random_encoder()
    with torch.no_grad():
        features = encoder(torch.from_numpy(images)).numpy()
    means = np.stack([features[labels == k].mean(0) for k in (0, 1)])
    classifier = Classifier(encoder, 2 * means, -(means**2).sum(1), ["dark", "light"])  # the nearer mean
    held_out = np.arange(0, 120, 3)
    train = np.setdiff1d(np.arange(120), held_out)
    predictor = fit_predictor(classifier, images, labels, train=train, validation=held_out)
    stripes = np.tile((np.arange(32) % 2 * 255).astype(np.uint8), (25, 32, 1))
    np.save(tmp_path / "scan.npy", np.concatenate([pictures(60, 25), stripes]))
    prediction = predict_scan(predictor, open_scan(tmp_path / "scan.npy"), smooth_s=0.0)
    assert prediction.accepted[:25].mean() > 0.8
    assert not prediction.accepted[25:].any()
    assert prediction.missing == ["light"]
    frames = prediction.table()
    assert set(frames.loc[25:, "predicted"]) == {"none"}
    every_third = predict_scan(predictor, open_scan(tmp_path / "scan.npy"), every=3, smooth_s=0.0)
    assert every_third.frames.tolist() == list(range(0, 50, 3))
    np.testing.assert_allclose(every_third.probabilities, prediction.probabilities[::3], atol=1e-5)
    assert fit_predictor(classifier, images, labels, train=train, validation=held_out[:19]).abstainer is None


def random_encoder():
    card = Card(backbone="resnet10t", size=32, channels=1, mean=[0.3], std=[0.2])
    return Encoder(build_backbone("resnet10t", channels=1, size=32, seed=0), card).eval()


def test_smoothing_follows_the_clock_and_not_the_frame_number():
    rng = np.random.default_rng(0)
    seconds = np.sort(rng.uniform(0, 4, 400))
    truth = np.where(seconds < 2, 0, 1)
    logits = np.eye(2)[truth] * 1.0 + rng.normal(size=(400, 2))
    single, smoothed = softmax(logits), smooth(softmax(logits), seconds, 0.15)
    assert (smoothed.argmax(1) == truth).mean() > 0.95 > (single.argmax(1) == truth).mean()
    np.testing.assert_allclose(smoothed.sum(1), 1)
    np.testing.assert_array_equal(smooth(single, seconds, 0.0), single)
    far = smooth(single[:2], np.array([0.0, 100.0]), 0.2)  # neighbours in number, not in time
    np.testing.assert_allclose(far, single[:2])


def test_long_scans_are_smoothed_in_parts_without_seams(monkeypatch):
    probabilities = softmax(np.random.default_rng(0).normal(size=(500, 3)))
    times = np.arange(500) / 25
    whole = smooth(probabilities, times, 0.2)
    monkeypatch.setattr("ssl_zoo.transfer.timeline.CHUNK", 37)
    np.testing.assert_allclose(smooth(probabilities, times, 0.2), whole, rtol=1e-3)


def test_a_plane_is_found_where_a_run_of_accepted_frames_lasts_long_enough():
    times = np.arange(50) / 25
    predicted = np.repeat([0, 1, 0, 2], [20, 3, 7, 20])
    probabilities = np.eye(4)[predicted] * 0.6 + 0.1
    probabilities[10] = [0.85, 0.05, 0.05, 0.05]
    accepted = np.ones(50, bool)
    accepted[30:] = False
    four, three, two, one = findings(probabilities, accepted, times, ["A", "B", "C", "D"])
    assert (four.frame, four.found, four.confidence) == (10, True, pytest.approx(0.85))
    assert four.seconds == pytest.approx(27 / 25)
    assert four.longest_s == pytest.approx(20 / 25)
    assert three.frame is not None
    assert not three.found
    assert (two.frame, two.found) == (None, False)  # set aside
    assert (one.frame, one.seconds) == (None, 0.0)


def test_the_one_frame_of_a_still_counts_however_short_it_is():
    probabilities, still = np.array([[0.9, 0.1]]), np.zeros(1)
    four, three = findings(probabilities, np.ones(1, bool), still, ["A", "B"])
    assert (four.frame, four.found, four.seconds) == (0, True, 0.0)
    assert not three.found
    assert not any(finding.found for finding in findings(probabilities, np.zeros(1, bool), still, ["A", "B"]))


def test_runs_and_durations():
    assert runs_of(np.array([1, 1, 0, 1], bool)) == [(0, 2), (3, 4)]
    assert runs_of(np.zeros(3, bool)) == []
    assert runs_of(np.ones(2, bool)) == [(0, 2)]
    np.testing.assert_allclose(durations(np.array([0.0, 0.1, 0.3])), [0.1, 0.2, 0.15])
    assert durations(np.array([0.0])).tolist() == [0.0]
