"""Pre-training gives the same encoder for the same seed, and says what it was given that cannot work."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ssl_zoo.encoders.files import read_card
from ssl_zoo.errors import UserError
from ssl_zoo.methods import METHODS
from ssl_zoo.methods.byol import BYOL
from ssl_zoo.methods.simclr import SimCLR
from ssl_zoo.pretraining.batches import batch_rows
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.endings import Diverged
from ssl_zoo.pretraining.trainer import pretrain
from tests.pretraining.short_runs import SETTINGS, budget_of, history_of, same_weights, settings_of


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_exports_its_encoder(tmp_path, store, method):
    pretrain(settings_of(method, frames_seen=48), store, tmp_path / "e")
    card = read_card(tmp_path / "e")
    assert (card.method, card.init, card.patients) == (method, method, store.patients)
    history = history_of(tmp_path / "e")
    assert [row["step"] for row in history] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) and row["rankme"] >= 1 for row in history)
    budget = budget_of(tmp_path / "e")
    assert budget["frames_seen"] == 48
    assert budget["views_seen"] % 48 == 0
    assert budget["forward_passes"] >= 48
    assert not list(tmp_path.glob(".work-*"))


def test_a_seed_repeats_to_the_bit_and_another_differs(tmp_path, store):
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        pretrain(settings_of(seed=seed), store, tmp_path / name)
    assert same_weights(tmp_path / "a", tmp_path / "again")
    assert not same_weights(tmp_path / "a", tmp_path / "b")
    assert history_of(tmp_path / "a") == history_of(tmp_path / "again")


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_where(tmp_path, store):
    # The scale of the views is beyond float32's range: the first loss is not finite.
    broken = dataclasses.replace(store, meta={**store.meta, "std": 1e-38})
    with pytest.raises(Diverged, match=r"the loss is .* at step 0 of 4 steps of simclr; .*recipes.simclr.base_lr"):
        pretrain(SETTINGS, broken, tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_reaches_the_weights(tmp_path, store, monkeypatch):
    monkeypatch.setattr(
        BYOL, "cancel_gradients", lambda self, progress: self.predictor.layers[-1].weight.grad.fill_(np.inf)
    )
    with pytest.raises(Diverged, match="the norm of the gradient is inf at step 0"):
        pretrain(settings_of("byol", recipe={"clip_norm": 1.0}), store, tmp_path / "e")


def test_a_batch_larger_than_the_store_is_refused(tmp_path, store):
    with pytest.raises(UserError, match="64 frames, fewer than one batch of 128"):
        pretrain(settings_of(batch_size=128, frames_seen=256), store, tmp_path / "e")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"params": {"temprature": 1}}, "pretrain.params.simclr.*temprature"),
        ({"recipe": {"lr": 1}}, "pretrain.recipes.simclr.*lr"),
        ({"recipe": {"warmup": 2.0}}, "pretrain.recipes.simclr: warmup is a share"),
        ({"views": {"crop": 1}}, "views: unknown key .crop."),
        ({"pair_weighting": "liner"}, "did you mean 'linear'"),
        ({"accumulate": 0}, "pretrain.accumulate is 0"),
        ({"frames_seen": 15}, "frames_seen is 15, less than one batch of 16"),
    ],
)
def test_a_setting_that_cannot_work_is_named(tmp_path, store, change, words):
    with pytest.raises(UserError, match=words):
        pretrain(settings_of(**change), store, tmp_path / "e")


def test_an_unknown_answer_to_a_collapse_is_named(tmp_path, store):
    with pytest.raises(UserError, match="did you mean 'stop'"):
        pretrain(SETTINGS, store, tmp_path / "e", on_collapse="stopp")


def test_every_epoch_shows_each_frame_at_most_once_and_batches_are_full():
    rows = [batch_rows(70, 16, step, seed=0) for step in range(9)]
    for epoch in (rows[:4], rows[4:8]):
        assert len(set(np.concatenate(epoch))) == 64
    assert not np.array_equal(rows[0], rows[4])
    assert np.array_equal(rows[5], batch_rows(70, 16, 5, seed=0))
    assert not np.array_equal(rows[5], batch_rows(70, 16, 5, seed=1))


def test_a_run_is_known_by_everything_that_decides_its_weights():
    changes = (
        {"seed": 1},
        {"method": "byol"},
        {"budget": Budget(frames_seen=65)},
        {"budget": Budget(steps=4)},
        {"params": {"temperature": 0.2}},
        {"window_s": 1.0},
        {"views": {"flip": 0.0}},
        {"recipe": {"base_lr": 1.0}},
        {"pairing": "same_frame"},
        {"pair_weighting": "linear"},
        {"exclude_same_scan": True},
        {"accumulate": 2},
        {"precision": "auto"},
    )
    prints = {dataclasses.replace(SETTINGS, **change).fingerprint("store") for change in changes}
    assert len(prints | {SETTINGS.fingerprint("store"), SETTINGS.fingerprint("other")}) == len(changes) + 2


def test_the_encoder_is_watched_at_the_ends_of_epochs_and_at_ten_places(tmp_path, store):
    pretrain(settings_of(steps=40, batch_size=2), store, tmp_path / "e")  # an epoch has 32 steps
    history = history_of(tmp_path / "e")
    watched = [row["step"] for row in history if "alignment" in row]
    assert watched == [4, 8, 12, 16, 20, 24, 28, 32, 36, 40]
    assert all(0 <= row["alignment"] <= 4 and row["uniformity"] <= 0 for row in history if "alignment" in row)
    assert all(row["share"] == row["step"] / 40 for row in history)


def spied(monkeypatch, method):
    """The arguments of every call of a method's forward."""
    calls = []
    forward = method.forward

    def spy(self, *arguments):
        calls.append(arguments)
        return forward(self, *arguments)

    monkeypatch.setattr(method, "forward", spy)
    return calls


def test_a_method_with_negatives_is_told_the_scan_of_each_frame(tmp_path, store, monkeypatch):
    calls = spied(monkeypatch, SimCLR)
    pretrain(settings_of(exclude_same_scan=True), store, tmp_path / "e")
    scan = store.index["scan_id"].to_numpy()
    for step, (views, scans) in enumerate(calls):
        rows = batch_rows(len(store), 16, step, seed=0)
        assert (len(views[0]), scans.shape) == (16, (16,))
        np.testing.assert_array_equal(scans[:, None] == scans, scan[rows][:, None] == scan[rows])


def test_a_method_without_negatives_or_without_the_wish_is_called_with_views_alone(tmp_path, store, monkeypatch):
    byol, simclr = spied(monkeypatch, BYOL), spied(monkeypatch, SimCLR)
    pretrain(settings_of("byol", exclude_same_scan=True), store, tmp_path / "byol")
    pretrain(settings_of("simclr"), store, tmp_path / "simclr")
    assert [len(arguments) for arguments in byol + simclr] == [1] * 8
