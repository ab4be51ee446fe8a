"""A collapse is seen in the features, told wherever one looks, and may end the run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.pretraining.collapse import IN_A_ROW, has_collapsed, looks_collapsed
from ssl_zoo.pretraining.endings import Collapsed
from ssl_zoo.pretraining.monitor import feature_health, spread
from ssl_zoo.pretraining.trainer import pretrain
from tests.pretraining.short_runs import budget_of, history_of, same_weights, settings_of


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


COLLAPSED = {
    "all equal": torch.ones(64, 1) @ gaussian(1, 128),
    "equal but for rounding": gaussian(1, 128) + 1e-6 * gaussian(64, 128),  # whose centred rank is that of noise: full
    "zero": torch.zeros(64, 128),
    "on a line": gaussian(64, 1) @ gaussian(1, 128, seed=1) + 1e-3 * gaussian(64, 128, seed=2),
    "in two places": (torch.arange(64) % 2)[:, None] * gaussian(1, 128) + gaussian(1, 128, seed=1),
}
HEALTHY = {
    "spread out": gaussian(64, 128),
    "spread out about a strong common direction": 5 * gaussian(1, 128) + gaussian(64, 128),
    "of few dimensions": gaussian(64, 4) @ gaussian(4, 128, seed=1),
    "a small batch": gaussian(4, 128),
}


def health(features, embeddings=None):
    return feature_health(features) | {"embedding_std": spread(features if embeddings is None else embeddings)}


@pytest.mark.parametrize("name", COLLAPSED)
def test_collapsed_features_look_so(name):
    assert looks_collapsed(health(COLLAPSED[name]), 64)


@pytest.mark.parametrize("name", ["all equal", "equal but for rounding", "zero"])
def test_collapsed_embeddings_of_healthy_features_look_so(name):
    assert looks_collapsed(health(HEALTHY["spread out"], COLLAPSED[name]), 64)


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_features_do_not(name):
    assert not looks_collapsed(health(HEALTHY[name]), len(HEALTHY[name]))


@pytest.mark.parametrize("backbone", ["resnet10t", "vit_micro_patch8"])
def test_an_untrained_network_has_not_collapsed_on_frames(store, backbone):
    network = build_backbone(backbone, channels=1, size=32)
    frames = torch.tensor(store.frames).float().unsqueeze(1)
    with torch.no_grad():
        features = network((frames / 255 - store.mean) / store.std)
    assert not looks_collapsed(health(features), 64)


def rows(*shares, std=0.0):
    return [{"share": share, "feature_std": 0.5, "embedding_std": std, "effective_rank": 30.0} for share in shares]


def test_a_collapse_is_one_that_stays_after_the_start_of_the_run():
    late = [0.5 + 0.01 * k for k in range(IN_A_ROW)]
    assert has_collapsed(rows(*late), 64)
    assert not has_collapsed(rows(*late[1:]), 64)
    assert not has_collapsed(rows(*late[1:]) + rows(0.6, std=0.3), 64)
    assert not has_collapsed(rows(0.1, *late[1:]), 64)


@pytest.fixture
def constant_features(monkeypatch):
    """Monitors that see a collapse from the first step on."""
    monkeypatch.setattr(
        "ssl_zoo.pretraining.watch.feature_health", lambda features: feature_health(torch.ones_like(features))
    )


@pytest.mark.usefixtures("constant_features", "report_always")
def test_a_collapse_is_told_and_the_run_goes_on(tmp_path, store):
    lines = []
    pretrain(settings_of(steps=10), store, tmp_path / "e", report=lambda done, line: lines.append(line))
    at = 1 + IN_A_ROW  # a fifth of the run is done after step 2
    assert [row["step"] for row in history_of(tmp_path / "e") if row.get("event") == "collapse"] == [at]
    assert budget_of(tmp_path / "e")["collapsed_at_step"] == at
    assert [f"COLLAPSED at step {at}" in line for line in lines] == [False] * IN_A_ROW + [True] * (10 - IN_A_ROW)


@pytest.mark.usefixtures("constant_features")
def test_a_collapse_stops_the_run_if_wanted_and_again_until_it_may_go_on(tmp_path, store):
    settings = settings_of(steps=10)
    words = r"simclr: the network no longer tells images apart \(seen at step 6 of 10 steps\); .*recipes.simclr.base_lr"
    for _ in range(2):
        with pytest.raises(Collapsed, match=words):
            pretrain(settings, store, tmp_path / "e", on_collapse="stop")
    assert not (tmp_path / "e").exists()
    assert [path.name for path in tmp_path.glob(".work-*/*")] == ["step-000000006.pt"]
    pretrain(settings, store, tmp_path / "e", on_collapse="warn")
    pretrain(settings, store, tmp_path / "whole", on_collapse="warn")
    assert same_weights(tmp_path / "e", tmp_path / "whole")


@pytest.mark.slow
def test_a_vit_that_really_collapses_is_seen_while_its_loss_rests_at_the_entropy_of_its_prototypes(tmp_path, store):
    params = {"n_prototypes": 256}
    recipe = {"weight_decay": 0.05, "weight_decay_end": None}
    for name, base_lr in (("healthy", 1.6e-3), ("collapsed", 0.16)):
        changes = {"params": params, "recipe": recipe | {"base_lr": base_lr}}
        settings = settings_of("dino", backbone="vit_micro_patch8", steps=40, views={"local_crops": 0}, **changes)
        pretrain(settings, store, tmp_path / name)
    assert budget_of(tmp_path / "healthy")["collapsed_at_step"] is None
    assert budget_of(tmp_path / "collapsed")["collapsed_at_step"] is not None
    last = history_of(tmp_path / "collapsed")[-1]
    assert last["loss"] == pytest.approx(np.log(256), rel=0.1)
    assert last["effective_rank"] > 2
