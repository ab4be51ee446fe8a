"""Where jobs run: how many at a time, and on which processor each."""

from __future__ import annotations

import os

import torch

from ssl_zoo.config import ComputeConfig
from ssl_zoo.errors import UserError
from ssl_zoo.pretraining.processes import launch_of


def devices_of(compute: ComputeConfig) -> list[str]:
    """The device of each worker, of which a pre-training run takes `compute.devices`.

    On GPUs every worker has that many of them, the first of which is named and evaluates alone; on the CPU there is a
    worker for each `threads * devices` cores of this machine, or of this process's part in a Slurm job. With
    `executor: slurm` the devices are elsewhere, and the tasks there look for themselves (see `grid.slurm`).
    Raises UserError for devices that are not there.
    """
    if compute.executor == "slurm":
        return [compute.device]
    cuda = torch.cuda.is_available()
    if compute.device == "cuda" and not cuda:
        raise UserError("compute.device: 'cuda' is asked for, and torch finds no CUDA device")
    if cuda and compute.device != "cpu":
        count = torch.cuda.device_count()
        if compute.devices > count:
            raise UserError(f"compute.devices: {compute.devices} GPUs are asked for, and torch finds {count}")
        groups = count // compute.devices
        return [f"cuda:{k % groups * compute.devices}" for k in range(compute.workers or groups)]
    cores = _cores()
    return ["cpu"] * (compute.workers or max(1, min(16, cores // (compute.threads * compute.devices))))


def _cores() -> int:
    """The cores that this process may use: where Slurm does not bind its tasks to theirs, it says how many they are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, int(os.environ.get("SLURM_CPUS_PER_TASK", cores)))


def processes_of(compute: ComputeConfig) -> int:
    """How many processes share a pre-training run: those that torchrun or srun started, else `compute.devices`.

    Raises UserError where the experiment asks for something else than what was started.
    """
    asked, launch = compute.devices * compute.num_nodes, launch_of()
    if launch.size == 1:
        if compute.num_nodes > 1:
            raise UserError(
                f"compute.num_nodes: {compute.num_nodes} machines are asked for, and nothing started this command on "
                "them; start it with torchrun or srun"
            )
        return asked
    if asked not in (1, launch.size):
        raise UserError(
            f"compute.devices x compute.num_nodes is {compute.devices} x {compute.num_nodes}, and {launch.by} started "
            f"{launch.size} processes"
        )
    return launch.size
