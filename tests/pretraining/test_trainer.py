"""Pre-training gives the same encoder for the same seed, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from ssl_zoo.encoders.files import load_encoder, read_card
from ssl_zoo.errors import UserError
from ssl_zoo.methods import METHODS
from ssl_zoo.pretraining.trainer import Diverged, PretrainSettings, batch_rows, pretrain

SETTINGS = PretrainSettings(
    method="simclr", backbone="resnet10t", size=32, channels=1, frames_seen=64, batch_size=16, precision="fp32"
)


def settings_of(method, **changes):
    backbone = "vit_micro_patch8" if METHODS[method].needs == "vit" else "resnet10t"
    return dataclasses.replace(SETTINGS, method=method, backbone=backbone, **changes)


def weights(folder):
    return load_encoder(folder).backbone.state_dict()


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_exports_its_encoder(tmp_path, store, method):
    pretrain(settings_of(method, frames_seen=48), store, tmp_path / "e")
    card = read_card(tmp_path / "e")
    assert (card.method, card.init, card.patients) == (method, method, store.patients)
    history = [json.loads(line) for line in (tmp_path / "e" / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) and row["rankme"] >= 1 for row in history)
    budget = json.loads((tmp_path / "e" / "budget.json").read_text())
    assert budget["frames_seen"] == 48
    assert budget["views_seen"] % 48 == 0
    assert not list(tmp_path.glob(".work-*"))


def test_a_seed_repeats_to_the_bit_and_another_differs(tmp_path, store):
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        pretrain(dataclasses.replace(SETTINGS, seed=seed), store, tmp_path / name)
    assert equal(weights(tmp_path / "a"), weights(tmp_path / "again"))
    assert not equal(weights(tmp_path / "a"), weights(tmp_path / "b"))


class Killed(Exception):
    """Stands for the end of the process in the middle of a step."""


@pytest.mark.parametrize("method", ["moco", "byol", "mae", "dino"])
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path, store, method):
    settings = settings_of(method)
    pretrain(settings, store, tmp_path / "whole")

    def stop_half_way(done, line):
        if done >= 0.5:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_zoo.pretraining.trainer.SHOW_EVERY_S", 0.0)
        with pytest.raises(Killed):
            pretrain(settings, store, tmp_path / "cut", report=stop_half_way, checkpoint_every_s=0.0)
    assert not (tmp_path / "cut").exists()
    steps_again = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_zoo.pretraining.trainer.SHOW_EVERY_S", 0.0)
        pretrain(settings, store, tmp_path / "cut", report=lambda done, line: steps_again.append(done))
    assert len(steps_again) < settings.steps
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def _train_slowly(folder, out):
    torch.set_num_threads(1)
    from ssl_zoo.scans.frames import FrameStore

    pretrain(dataclasses.replace(SETTINGS, frames_seen=640), FrameStore.open(folder), out, checkpoint_every_s=0.2)


@pytest.mark.slow
def test_a_run_killed_by_the_system_goes_on_to_the_same_weights(tmp_path, store):
    context = multiprocessing.get_context("spawn")
    for name, kills in (("whole", 0), ("cut", 3)):
        for _ in range(kills):
            process = context.Process(target=_train_slowly, args=(store.path, tmp_path / name))
            process.start()
            deadline = time.monotonic() + 60
            before = {path.name for path in tmp_path.glob(".work-*/step-*.pt")}
            while {path.name for path in tmp_path.glob(".work-*/step-*.pt")} == before and time.monotonic() < deadline:
                time.sleep(0.01)
            assert process.pid
            os.kill(process.pid, signal.SIGKILL)
            process.join()
        process = context.Process(target=_train_slowly, args=(store.path, tmp_path / name))
        process.start()
        process.join()
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_torn_checkpoint_is_passed_over_for_the_one_before(tmp_path, store):
    settings = settings_of("simclr")
    pretrain(settings, store, tmp_path / "whole")

    def stop(done, line):
        if done >= 0.75:
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssl_zoo.pretraining.trainer.SHOW_EVERY_S", 0.0)
        with pytest.raises(Killed):
            pretrain(settings, store, tmp_path / "cut", report=stop, checkpoint_every_s=0.0)
    newest = max(tmp_path.glob(".work-cut-*/step-*.pt"))
    newest.write_bytes(newest.read_bytes()[:2000])
    with pytest.warns(UserWarning, match="torn checkpoint"):
        pretrain(settings, store, tmp_path / "cut")
    assert equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_loss_that_is_not_a_number_stops_the_run_and_says_where(tmp_path, store):
    # The scale of the views is beyond float32's range: the first loss is not finite.
    broken = dataclasses.replace(store, meta={**store.meta, "std": 1e-38})
    with pytest.raises(Diverged, match=r"simclr: the loss is .* at step 0 of 4"):
        pretrain(SETTINGS, broken, tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_a_batch_larger_than_the_store_is_refused(tmp_path, store):
    with pytest.raises(UserError, match="64 frames, fewer than one batch of 128"):
        pretrain(dataclasses.replace(SETTINGS, batch_size=128, frames_seen=256), store, tmp_path / "e")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"params": {"temprature": 1}}, "pretrain.params.simclr.*temprature"),
        ({"recipe": {"lr": 1}}, "pretrain.recipes.simclr.*lr"),
        ({"views": {"crop": 1}}, "pretrain.views.*crop"),
    ],
)
def test_a_setting_that_no_method_knows_is_named(tmp_path, store, change, words):
    with pytest.raises(UserError, match=words):
        pretrain(dataclasses.replace(SETTINGS, **change), store, tmp_path / "e")


def test_every_epoch_shows_each_frame_at_most_once_and_batches_are_full():
    rows = [batch_rows(70, 16, step, seed=0) for step in range(9)]
    for epoch in (rows[:4], rows[4:8]):
        assert len(set(np.concatenate(epoch))) == 64
    assert not np.array_equal(rows[0], rows[4])
    assert np.array_equal(rows[5], batch_rows(70, 16, 5, seed=0))
    assert not np.array_equal(rows[5], batch_rows(70, 16, 5, seed=1))


def test_a_run_is_known_by_everything_that_decides_its_weights():
    prints = {SETTINGS.fingerprint("store"), SETTINGS.fingerprint("other")}
    for change in (
        {"seed": 1},
        {"method": "byol"},
        {"frames_seen": 65},
        {"params": {"temperature": 0.2}},
        {"window_s": 1.0},
        {"views": {"flip": 0.0}},
        {"recipe": {"base_lr": 1.0}},
        {"pairing": "same_frame"},
        {"precision": "auto"},
    ):
        prints.add(dataclasses.replace(SETTINGS, **change).fingerprint("store"))
    assert len(prints) == 11
