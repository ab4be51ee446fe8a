"""Several processes pre-train as one: what they make is what one process makes, up to rounding."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from filelock import FileLock

import ssl_zoo
from ssl_zoo.config import load_experiment
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import load_encoder
from ssl_zoo.grid.launch import share_out
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.study import prepare
from ssl_zoo.pretraining.endings import Diverged, Interrupted

pytestmark = pytest.mark.slow

LONG = "pretrain.budget.frames_seen=64000"


def weights(experiment):
    encoder = load_encoder(experiment.parent / "runs" / "study" / "encoders" / "simclr-s0")
    return _line(encoder.backbone)


def _line(backbone):
    return torch.cat([value.double().flatten() for value in backbone.state_dict().values()])


def assert_same_training(first, second):
    """Rounding moves weights a hundred times less than two steps of training do."""
    start = _line(build_backbone("resnet10t", channels=1, size=32, seed=0))
    assert (first - second).norm() < 0.01 * (first - start).norm()


def launched(*arguments, **options):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += ["-m", "ssl_zoo", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def test_devices_share_each_pretraining_and_the_study_ends_alike(finished_study, experiment, command):
    said = command("run", experiment, "compute.devices=2", "compute.workers=1", "transfer.modes=[linear]")
    assert said.returncode == 0, said.stderr
    assert_same_training(weights(finished_study[0]), weights(experiment))
    budget = json.loads((experiment.parent / "runs/study/encoders/simclr-s0/budget.json").read_text())
    assert budget["devices"] == 2
    assert budget["views_seen"] == 64


def test_processes_that_are_asked_to_stop_save_their_place_and_go_on(experiment):
    study = prepare(load_experiment(experiment, [LONG, "compute.devices=2"]), progress=False)
    training = make_plan(study).pretrainings[0].training
    shares = []
    with pytest.raises(Interrupted):
        share_out(study.run, training, 2, "cpu", lambda done, line: shares.append(done), lambda: bool(shares))
    assert shares
    assert len(list((study.run / "encoders").glob(".work-*/step-*.pt"))) == 1


def test_a_run_of_processes_that_diverges_says_so(experiment):
    study = prepare(load_experiment(experiment, ["pretrain.budget.frames_seen=64"]), progress=False)
    training = make_plan(study).pretrainings[0].training
    wild = dataclasses.replace(training, settings=dataclasses.replace(training.settings, recipe={"base_lr": 1e30}))
    with pytest.raises(Diverged, match="simclr"):
        share_out(study.run, wild, 2, "cpu", lambda done, line: None, lambda: False)


def test_no_process_outlives_the_one_that_started_it(experiment, tmp_path):
    study = prepare(load_experiment(experiment, [LONG]), progress=False)
    code = (
        "import sys; from pathlib import Path\n"
        "from ssl_zoo.grid.launch import share_out; from ssl_zoo.grid.study import open_study\n"
        "from ssl_zoo.grid.plan import make_plan\n"
        "study = open_study(Path(sys.argv[1]))\n"
        "training = make_plan(study).pretrainings[0].training\n"
        "share_out(study.run, training, 2, 'cpu', lambda done, line: print(done, flush=True), lambda: False)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", code, str(study.run)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    assert float(starter.stdout.readline()) > 0
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 60
    while (left := _processes_of(study.run)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not left


def _processes_of(run):
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if "ssl_zoo.grid.ranks" in line and str(run) in line]


def test_under_torchrun_all_processes_pretrain_and_the_first_one_evaluates(finished_study, experiment):
    process = launched("run", experiment)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert said.count("macro-F1") == 1
    assert_same_training(weights(finished_study[0]), weights(experiment))
    alone, together = (ssl_zoo.load_results(path.parent / "runs" / "study") for path in (finished_study[0], experiment))
    same = alone["init"] == "random"
    pd.testing.assert_frame_equal(alone.loc[same].drop(columns="seconds"), together.loc[same].drop(columns="seconds"))
    assert len(alone) == len(together)


def test_under_torchrun_a_ladder_is_climbed_together(experiment):
    changes = ["pretrain.recipe=tuned", "pretrain.tuning.ladder=[1,1e30]", "pretrain.tuning.share=1"]
    process = launched("run", experiment, *changes, "pretrain.budget.frames_seen=64", "transfer.modes=[linear]")
    said, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "x1e+30 lost" in said
    assert json.loads((experiment.parent / "runs/study/tuning/simclr.json").read_text())["chosen_factor"] == 1


def test_under_torchrun_wrong_use_is_one_sentence(experiment):
    process = launched("run", experiment, "pretrain.pairing=tempral")
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert errors.count("error: pretrain.pairing: unknown pairing 'tempral'") == 1


def test_processes_of_a_launch_that_may_not_work_in_the_run_folder_all_leave(experiment):
    """Started as srun does, which lets the others go on where one has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    lock = load_experiment(experiment).run_folder / ".lock"
    lock.parent.mkdir(parents=True)
    group = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    with FileLock(lock):
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "ssl_zoo", "run", str(experiment)],
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, **group, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            )
            for rank in "01"
        ]
        errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 1]
    assert ["another ssl-zoo process is working" in said for said in errors] == [True, False]


def test_under_torchrun_a_scheduler_can_stop_all_of_them(experiment):
    process = launched("pretrain", experiment, LONG, "compute.checkpoint_every_s=0.5")
    encoders = experiment.parent / "runs" / "study" / "encoders"
    deadline = time.monotonic() + 120
    while not list(encoders.glob(".work-*/step-*.pt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    before = {path.name for path in encoders.glob(".work-*/step-*.pt")}
    process.send_signal(signal.SIGTERM)  # torchrun passes it on to each process
    _, errors = process.communicate(timeout=120)
    assert "SIGTERM: what is done is saved" in errors
    assert max(path.name for path in encoders.glob(".work-*/step-*.pt")) > max(before)
