"""TensorBoard shows what the history holds, also after a run was killed, and is not needed."""

from __future__ import annotations

import importlib.util

import pytest

from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.pretraining.trainer import pretrain
from tests.pretraining.short_runs import SETTINGS, history_of, same_weights


def curves_in(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {name: {event.step: event.value for event in found.Scalars(name)} for name in found.Tags()["scalars"]}


def test_the_curves_are_those_of_the_history_also_of_a_run_that_was_stopped(tmp_path, store):
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        pretrain(SETTINGS, store, tmp_path / "run", events=tmp_path / "board", stop_requested=lambda: next(steps) == 1)
    pretrain(SETTINGS, store, tmp_path / "run", events=tmp_path / "board")
    curves, history = curves_in(tmp_path / "board"), history_of(tmp_path / "run")
    assert {"loss", "lr", "rankme"} <= curves.keys()
    assert curves["loss"] == pytest.approx({row["step"]: row["loss"] for row in history})


def test_without_tensorboard_the_run_is_the_same_and_the_history_is_there(tmp_path, store, monkeypatch):
    pretrain(SETTINGS, store, tmp_path / "with", events=tmp_path / "board")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "tensorboard" else find(name))
    pretrain(SETTINGS, store, tmp_path / "without", events=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert same_weights(tmp_path / "with", tmp_path / "without")
    assert history_of(tmp_path / "without")
