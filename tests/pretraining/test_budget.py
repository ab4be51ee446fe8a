"""A budget is one of three, and says at every step how much of it is gone."""

from __future__ import annotations

import itertools
import time

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.methods.byol import BYOL
from ssl_zoo.pretraining.budget import Budget, Clock
from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.pretraining.trainer import pretrain
from ssl_zoo.training.optim import lr_factor
from tests.pretraining.short_runs import budget_of, history_of, same_weights, settings_of


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, r"exactly one of frames_seen, steps and seconds \(given: none\)"),
        ({"frames_seen": 64, "seconds": 2.0}, r"given: frames_seen=64, seconds=2.0"),
        ({"steps": 0}, "budget.steps is 0"),
        ({"seconds": float("inf")}, "budget.seconds is inf"),
        ({"seconds": float("nan")}, "budget.seconds is nan"),
    ],
)
def test_a_budget_is_exactly_one_positive_number(given, words):
    with pytest.raises(UserError, match=words):
        Budget(**given)


def test_a_remainder_of_less_than_a_batch_is_not_spent():
    assert settings_of(frames_seen=79).steps == 4
    assert settings_of(steps=4).frames_seen == 64
    assert (settings_of(seconds=1.0).steps, settings_of(seconds=1.0).frames_seen) == (None, None)


def test_the_same_budget_in_steps_and_in_frames_gives_the_same_weights(tmp_path, store):
    pretrain(settings_of(frames_seen=70), store, tmp_path / "frames")
    pretrain(settings_of(steps=4), store, tmp_path / "steps")
    assert same_weights(tmp_path / "frames", tmp_path / "steps")
    assert budget_of(tmp_path / "frames")["frames_seen"] == 64


def test_the_schedule_of_seconds_is_that_of_steps_at_the_same_share():
    recipe = BYOL.recipe
    clocked, counted = Budget(seconds=50.0).timeline(16), Budget(steps=5000).timeline(16)
    for step in range(0, 5000, 7):
        assert lr_factor(recipe, *clocked.place(1, step / 100)) == pytest.approx(
            lr_factor(recipe, *counted.place(step, 0)), abs=0.003
        )
    assert clocked.place(9, 60.0) == (999_999, 1_000_000)  # a step that began in time may end late
    assert (clocked.over(3, 49.9), clocked.over(3, 50.0)) == (False, True)


@pytest.mark.parametrize("steps", [7, 100, 640])
def test_marks_are_evenly_spaced_and_the_last_step_is_one(steps):
    timeline = Budget(steps=steps).timeline(16)
    marks = [step for step in range(1, steps + 1) if timeline.is_mark(10, step, 0, 0)]
    assert marks[-1] == steps
    assert min(10, steps) <= len(marks) < 20
    gaps = [later - earlier for earlier, later in itertools.pairwise(marks[:-1])]
    assert len(set(gaps)) <= 1

    timeline = Budget(seconds=5.0).timeline(16)
    times = [5.0 * step / steps for step in range(steps + 1)]
    marks = [step for step in range(1, steps + 1) if timeline.is_mark(10, step, times[step - 1], times[step])]
    assert marks[-1] == steps
    assert min(7, steps) <= len(marks) <= 10


def test_a_paused_clock_stands_still():
    clock = Clock(100.0)
    with clock.paused():
        before = clock.elapsed()
        time.sleep(0.02)
        assert clock.elapsed() == before
    assert 100.0 <= clock.elapsed() < before + 0.02


@pytest.fixture
def tenths(monkeypatch):
    """Every look at the clock finds a tenth of a second gone."""
    monkeypatch.setattr(Clock, "_now", staticmethod(itertools.count(0, 0.1).__next__))


@pytest.mark.usefixtures("tenths")
def test_a_budget_in_seconds_ends_when_they_are_spent_and_its_schedule_with_it(tmp_path, store):
    pretrain(settings_of("byol", seconds=2.05), store, tmp_path / "e")
    history, budget = history_of(tmp_path / "e"), budget_of(tmp_path / "e")
    assert 2.05 <= budget["seconds"] < 2.5
    assert budget["steps"] == history[-1]["step"] > 5
    assert budget["frames_seen"] == 16 * budget["steps"]
    shares = [row["share"] for row in history]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    lr = [row["lr"] for row in history]
    assert lr[-1] < 0.1 * max(lr)


@pytest.mark.usefixtures("tenths")
def test_a_run_by_the_clock_that_is_cut_off_has_only_the_rest_of_its_seconds(tmp_path, store):
    asked = iter([False] * 6 + [True])
    with pytest.raises(Interrupted):
        pretrain(settings_of(seconds=2.05), store, tmp_path / "e", stop_requested=lambda: next(asked))
    pretrain(settings_of(seconds=2.05), store, tmp_path / "e")
    assert 2.05 <= budget_of(tmp_path / "e")["seconds"] < 2.5
    shares = [row["share"] for row in history_of(tmp_path / "e")]
    assert shares == sorted(shares)
