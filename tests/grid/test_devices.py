"""How many jobs run at a time and where, and what a launch by torchrun or srun must agree with."""

from __future__ import annotations

import pytest
import torch

from ssl_zoo.config import ComputeConfig
from ssl_zoo.errors import UserError
from ssl_zoo.grid import devices
from ssl_zoo.grid.devices import devices_of, processes_of
from ssl_zoo.grid.launch import _environment, _last_words


@pytest.fixture
def four_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def test_a_worker_has_the_gpus_that_a_run_shares(four_gpus):
    assert devices_of(ComputeConfig()) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert devices_of(ComputeConfig(devices=2)) == ["cuda:0", "cuda:2"]
    assert devices_of(ComputeConfig(devices=2, workers=3)) == ["cuda:0", "cuda:2", "cuda:0"]
    with pytest.raises(UserError, match=r"compute\.devices: 8 GPUs are asked for, and torch finds 4"):
        devices_of(ComputeConfig(devices=8))


def test_a_worker_has_the_cores_that_a_run_shares(eight_cores):
    assert len(devices_of(ComputeConfig(device="cpu", threads=2))) == 4
    assert len(devices_of(ComputeConfig(device="cpu", threads=2, devices=2))) == 2


def test_the_processes_of_a_run_see_their_own_gpus_alone(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert _environment(2, "cuda:2")["CUDA_VISIBLE_DEVICES"] == "2,3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert _environment(2, "cuda:2")["CUDA_VISIBLE_DEVICES"] == "6,7"
    assert _environment(2, "cpu")["CUDA_VISIBLE_DEVICES"] == "4,5,6,7"


def test_a_launch_must_be_what_the_experiment_asks_for(monkeypatch):
    assert processes_of(ComputeConfig(devices=2)) == 2
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert processes_of(ComputeConfig()) == 4
    assert processes_of(ComputeConfig(devices=2, num_nodes=2)) == 4
    with pytest.raises(UserError, match="3 x 1, and torchrun started 4 processes"):
        processes_of(ComputeConfig(devices=3))


def test_what_a_dead_process_said_first_is_what_is_told():
    said = "some warning\nprocess 1: OutOfMemoryError: too large\nE1122 torchrun: failed\n[...] exitcode: 1"
    assert _last_words(said) == "process 1: OutOfMemoryError: too large"
    assert _last_words("a\nb\n\n") == "b"
    assert _last_words("") == "it said nothing"
