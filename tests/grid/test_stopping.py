"""Asked to stop by Ctrl-C or a scheduler, a command saves its pre-training, leaves, and goes on the next time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import ssl_zoo
from ssl_zoo.config import load_experiment
from ssl_zoo.encoders.files import load_encoder
from ssl_zoo.grid.experiment import run_experiment
from ssl_zoo.grid.progress import Progress
from ssl_zoo.grid.stopping import SIGNALS, StopSignal, leave_on_signal

LONG = ("pretrain.budget.frames_seen=64000", "compute.checkpoint_every_s=1000", "compute.workers=1")


@pytest.fixture(autouse=True)
def handlers():
    """Signals are answered after a test as before it."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def checkpoints(experiment):
    return list((experiment.parent / "runs" / "study" / "encoders").glob(".work-*/step-*.pt"))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_command_with_its_status_and_one_sentence(capsys, number):
    leave_on_signal()
    with pytest.raises(SystemExit) as end:
        os.kill(os.getpid(), number)
    assert end.value.code == 128 + number
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert signal.Signals(number).name in said
    assert "run the same command again" in said


def test_a_second_warning_of_the_scheduler_does_not_cut_the_saving_short():
    leave_on_signal()
    with pytest.raises(SystemExit):
        os.kill(os.getpid(), signal.SIGUSR1)
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(SystemExit):  # but a person may
        os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_signal_is_remembered_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGUSR1)
    with StopSignal().listening() as stop:
        assert not stop()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.status == 128 + signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_command_that_is_asked_to_stop_saves_its_pretraining_at_once(experiment, monkeypatch):
    """The bar stands for a signal: it asks as soon as a pre-training run has told how far it is."""
    update = Progress.update

    def ask(bar, job, share, line):
        update(bar, job, share, line)
        if 0 < share < 1:
            raise SystemExit(143)

    monkeypatch.setattr(Progress, "update", ask)
    with pytest.raises(SystemExit) as end:
        run_experiment(load_experiment(experiment, LONG), stages=("pretrain",), progress=False, tell=lambda line: None)
    assert end.value.code == 143
    assert len(checkpoints(experiment)) == 1
    assert not (experiment.parent / "runs" / "study" / "encoders" / "simclr-s0").exists()


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers through /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_study_that_a_scheduler_stops_ends_with_the_same_weights(tmp_path, hospital, write_experiment, number):
    budget = "pretrain.budget.frames_seen=2400"
    folders = {}
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
        folders[name] = write_experiment(tmp_path / name, hospital)
    assert not run_experiment(load_experiment(folders["whole"], [budget]), stages=("pretrain",), progress=False).failed

    path = folders["cut"]
    command = [sys.executable, "-m", "ssl_zoo", "pretrain", str(path), budget, "compute.checkpoint_every_s=0.5"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 120
        while not checkpoints(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        before = {found.name for found in checkpoints(path)}
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert said.strip().count("\n") == 0, said
    assert before
    assert max(found.name for found in checkpoints(path)) > max(before)
    assert not run_experiment(load_experiment(path, [budget]), stages=("pretrain",), progress=False).failed
    whole, cut = (
        load_encoder(folders[name].parent / "runs" / "study" / "encoders" / "simclr-s0").backbone.state_dict()
        for name in ("whole", "cut")
    )
    assert all((whole[key] == cut[key]).all() for key in whole)


@pytest.mark.slow
def test_a_worker_that_is_stopped_alone_hands_its_job_to_another(experiment, monkeypatch):
    """Someone sends SIGTERM to the worker and not to the command: nothing fails, and the study ends."""
    from ssl_zoo.grid.worker import Worker

    asked, messages = [], Worker.messages

    def stop_once(worker):
        found = messages(worker)
        if any(kind == "progress" for kind, *_ in found) and not asked:
            asked.append(worker)
            worker.ask_to_stop()
        return found

    monkeypatch.setattr(Worker, "messages", stop_once)
    changes = ["pretrain.methods=[]", "transfer.modes=[linear]", "compute.workers=1"]
    outcome = run_experiment(load_experiment(experiment, changes), progress=False, tell=lambda line: None)
    assert asked
    assert outcome.failed == {}
    assert len(ssl_zoo.load_results(outcome.run)["cell"].unique()) == outcome.done == 4
