"""The monitors have known values where the spread of the features is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.pretraining.monitor import alignment_and_uniformity, feature_health


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_equal_features_are_a_collapse_on_every_monitor():
    health = feature_health(torch.ones(32, 1) @ gaussian(1, 16))
    assert health["feature_std"] == pytest.approx(0, abs=1e-4)
    assert health["rankme"] == pytest.approx(1, abs=1e-2)


def test_features_all_zero_have_rank_one_and_no_nan():
    assert feature_health(torch.zeros(8, 4)) == {"feature_std": 0.0, "rankme": 1.0, "effective_rank": 1.0}


def test_orthonormal_features_have_full_rank():
    assert feature_health(torch.eye(16))["rankme"] == pytest.approx(16, rel=1e-4)


def test_gaussian_features_fill_the_sphere():
    assert feature_health(gaussian(4096, 64))["feature_std"] == pytest.approx(1, abs=0.02)


def test_a_common_direction_hides_a_collapse_from_rankme_but_not_from_the_centred_rank():
    line = gaussian(256, 1) @ gaussian(1, 32, seed=1)
    health = feature_health(line + 100 * gaussian(1, 32, seed=2))
    assert health["effective_rank"] == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("batch", "width"), [(2, 3), (17, 5), (64, 128)])
def test_alignment_and_uniformity_are_those_of_the_paper(batch, width):
    first, second = gaussian(batch, width), gaussian(batch, width, seed=1)
    found = alignment_and_uniformity(first, second)
    x, y = (
        side.double().numpy() / np.linalg.norm(side.double().numpy(), axis=1, keepdims=True) for side in (first, second)
    )
    assert found["alignment"] == pytest.approx(np.mean(np.linalg.norm(x - y, axis=1) ** 2), rel=1e-5)
    uniformity = []
    for side in (x, y):
        kernel = [
            np.exp(-2 * np.linalg.norm(side[i] - side[j]) ** 2) for i in range(batch) for j in range(batch) if i < j
        ]
        uniformity.append(np.log(np.mean(kernel)))
    assert found["uniformity"] == pytest.approx(np.mean(uniformity), rel=1e-4)


def test_equal_features_are_perfectly_aligned_and_not_uniform_at_all():
    features = torch.ones(8, 4)
    assert alignment_and_uniformity(features, features) == pytest.approx({"alignment": 0, "uniformity": 0}, abs=1e-5)


def test_an_even_spread_over_many_dimensions_has_uniformity_of_nearly_minus_four():
    assert alignment_and_uniformity(gaussian(512, 256))["uniformity"] == pytest.approx(-4, abs=0.1)


def test_the_scale_of_features_and_the_order_of_images_do_not_matter():
    first, second = gaussian(16, 8), gaussian(16, 8, seed=1)
    order = torch.randperm(16)
    moved = alignment_and_uniformity(3 * first[order], 0.1 * second[order])
    assert moved == pytest.approx(alignment_and_uniformity(first, second), rel=1e-5)


def test_a_single_view_has_uniformity_alone_and_a_single_image_is_no_error():
    assert alignment_and_uniformity(gaussian(16, 8)).keys() == {"uniformity"}
    assert alignment_and_uniformity(torch.ones(1, 4), torch.ones(1, 4)) == {"alignment": 0.0, "uniformity": 0.0}
