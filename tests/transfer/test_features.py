from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.transfer.features import extract_features


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
