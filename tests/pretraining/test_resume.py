"""A run that is cut off anywhere goes on to the weights of an undisturbed one, to the bit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.pretraining.trainer import pretrain
from ssl_zoo.scans.store import FrameStore
from tests.pretraining.short_runs import Killed, budget_of, history_of, kill_at, same_weights, settings_of

SAME = ("frames_seen", "views_seen", "steps", "forward_passes", "megapixels_seen")  # in budget.json, but for the clock


def check_equal(whole, cut):
    assert same_weights(whole, cut)
    assert history_of(whole) == history_of(cut)
    assert [budget_of(whole)[name] for name in SAME] == [budget_of(cut)[name] for name in SAME]


@pytest.mark.usefixtures("report_always")
@pytest.mark.parametrize("method", ["moco", "byol", "mae", "dino"])
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path, store, method):
    settings = settings_of(method)
    pretrain(settings, store, tmp_path / "whole")
    with pytest.raises(Killed):
        pretrain(settings, store, tmp_path / "cut", report=kill_at(0.5), checkpoint_every_s=0.0)
    assert not (tmp_path / "cut").exists()
    steps_again = []
    pretrain(settings, store, tmp_path / "cut", report=lambda done, line: steps_again.append(done))
    assert len(steps_again) < settings.steps
    check_equal(tmp_path / "whole", tmp_path / "cut")
    assert not list(tmp_path.glob(".work-*"))


@pytest.mark.usefixtures("report_always")
def test_a_run_goes_on_in_the_middle_of_an_epoch_after_the_first(tmp_path, store):
    settings = settings_of(steps=7)  # an epoch has 4 steps
    pretrain(settings, store, tmp_path / "whole")
    with pytest.raises(Killed):
        pretrain(settings, store, tmp_path / "cut", report=kill_at(6 / 7), checkpoint_every_s=0.0)
    pretrain(settings, store, tmp_path / "cut")
    check_equal(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.usefixtures("report_always")
def test_a_torn_checkpoint_is_passed_over_for_the_one_before(tmp_path, store):
    pretrain(settings_of(), store, tmp_path / "whole")
    with pytest.raises(Killed):
        pretrain(settings_of(), store, tmp_path / "cut", report=kill_at(0.75), checkpoint_every_s=0.0)
    newest = max(tmp_path.glob(".work-cut-*/step-*.pt"))
    newest.write_bytes(newest.read_bytes()[:2000])
    with pytest.warns(UserWarning, match=rf"{newest.name}: torn checkpoint passed over"):
        pretrain(settings_of(), store, tmp_path / "cut")
    check_equal(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.usefixtures("report_always")
def test_what_a_killed_checkpoint_leaves_behind_is_swept_up(tmp_path, store):
    with pytest.raises(Killed):
        pretrain(settings_of(), store, tmp_path / "e", report=kill_at(0.5), checkpoint_every_s=0.0)
    (work,) = tmp_path.glob(".work-*")
    (work / ".tmp-0123-step-000000002.pt").write_bytes(bytes(100))
    pretrain(settings_of(), store, tmp_path / "e")
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_a_run_that_is_asked_to_stop_saves_that_very_step_and_goes_on_from_it(tmp_path, store):
    pretrain(settings_of("byol"), store, tmp_path / "whole")
    asked = iter([False, False, True])
    with pytest.raises(Interrupted, match="byol: stopped at step 3 of 4 steps"):
        pretrain(settings_of("byol"), store, tmp_path / "cut", stop_requested=lambda: next(asked))
    assert [path.name for path in tmp_path.glob(".work-cut-*/*")] == ["step-000000003.pt"]
    pretrain(settings_of("byol"), store, tmp_path / "cut")
    check_equal(tmp_path / "whole", tmp_path / "cut")


def test_a_run_that_is_asked_to_stop_in_its_last_step_ends_well(tmp_path, store):
    asked = iter([False, False, False, True])
    pretrain(settings_of(), store, tmp_path / "e", stop_requested=lambda: next(asked))
    assert budget_of(tmp_path / "e")["steps"] == 4


@pytest.mark.usefixtures("report_always")
def test_a_full_disk_is_told_and_the_run_goes_on_later_from_what_was_saved(tmp_path, store, monkeypatch):
    pretrain(settings_of(), store, tmp_path / "whole")
    with pytest.raises(Killed):
        pretrain(settings_of(), store, tmp_path / "cut", report=kill_at(0.5), checkpoint_every_s=0.0)
    with monkeypatch.context() as patch:

        def full(*arguments):
            raise OSError(28, "No space left on device")

        patch.setattr("ssl_zoo.training.checkpoint.torch.save", full)
        with pytest.raises(UserError, match="No space left on device"):
            pretrain(settings_of(), store, tmp_path / "cut", checkpoint_every_s=0.0)
    pretrain(settings_of(), store, tmp_path / "cut")
    check_equal(tmp_path / "whole", tmp_path / "cut")


def _train_slowly(folder, out, die_in_save=0):
    """A child process: a run of some seconds that stops on SIGTERM, or dies in the middle of its n-th checkpoint."""
    torch.set_num_threads(1)
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    fsync, calls = os.fsync, []

    def fsync_or_die(descriptor):
        calls.append(descriptor)
        if len(calls) == die_in_save:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = fsync_or_die
    settings = settings_of(frames_seen=640)
    store = FrameStore.open(folder)
    try:
        pretrain(settings, store, out, checkpoint_every_s=0.2, stop_requested=lambda: bool(asked))
    except Interrupted:
        sys.exit(75)


def _start(*arguments, **options):
    process = multiprocessing.get_context("spawn").Process(target=_train_slowly, args=arguments, kwargs=options)
    process.start()
    return process


def _wait_for_a_checkpoint(folder):
    before = {path.name for path in folder.glob(".work-*/step-*.pt")}
    deadline = time.monotonic() + 60
    while {path.name for path in folder.glob(".work-*/step-*.pt")} == before and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, store):
    out = tmp_path_factory.mktemp("undisturbed") / "whole"
    _start(store.path, out).join()
    return out


@pytest.mark.slow
def test_a_run_killed_by_the_system_goes_on_to_the_same_weights(tmp_path, store, undisturbed):
    for _ in range(3):
        process = _start(store.path, tmp_path / "cut")
        _wait_for_a_checkpoint(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    _start(store.path, tmp_path / "cut").join()
    check_equal(undisturbed, tmp_path / "cut")


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_checkpoint_goes_on_to_the_same_weights(tmp_path, store, undisturbed):
    process = _start(store.path, tmp_path / "cut", die_in_save=2)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".work-*/.tmp-*"))) == 1
    _start(store.path, tmp_path / "cut").join()
    check_equal(undisturbed, tmp_path / "cut")
    assert [path.name for path in tmp_path.iterdir()] == ["cut"]


@pytest.mark.slow
def test_a_run_that_gets_the_clusters_warning_leaves_a_checkpoint_and_goes_on(tmp_path, store, undisturbed):
    process = _start(store.path, tmp_path / "cut")
    _wait_for_a_checkpoint(tmp_path)
    os.kill(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 75
    _start(store.path, tmp_path / "cut").join()
    check_equal(undisturbed, tmp_path / "cut")
