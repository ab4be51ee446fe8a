"""The monitors have known values where the spread of the features is known."""

from __future__ import annotations

import pytest
import torch

from ssl_zoo.pretraining.monitor import feature_health


def test_equal_features_are_a_collapse_on_every_monitor():
    health = feature_health(torch.ones(32, 1) @ torch.randn(1, 16))
    assert health["feature_std"] == pytest.approx(0, abs=1e-4)
    assert health["rankme"] == pytest.approx(1, abs=1e-2)


def test_features_all_zero_have_rank_one_and_no_nan():
    assert feature_health(torch.zeros(8, 4)) == {"feature_std": 0.0, "rankme": 1.0, "effective_rank": 1.0}


def test_orthonormal_features_have_full_rank():
    assert feature_health(torch.eye(16))["rankme"] == pytest.approx(16, rel=1e-4)


def test_gaussian_features_fill_the_sphere():
    features = torch.randn(4096, 64, generator=torch.Generator().manual_seed(0))
    assert feature_health(features)["feature_std"] == pytest.approx(1, abs=0.02)


def test_a_common_direction_hides_a_collapse_from_rankme_but_not_from_the_centred_rank():
    generator = torch.Generator().manual_seed(0)
    line = torch.randn(256, 1, generator=generator) @ torch.randn(1, 32, generator=generator)
    health = feature_health(line + 100 * torch.randn(1, 32, generator=generator))
    assert health["effective_rank"] == pytest.approx(1, abs=0.05)
