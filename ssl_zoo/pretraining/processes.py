"""The processes that share one pre-training run, by torchrun or Slurm, through Lightning Fabric.

Every process goes through the same steps with its own part of each batch. Nothing here, and nothing in the loop, has a
random draw that depends on the rank: the processes together do what one process would do alone, up to rounding.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ssl_zoo.errors import UserError
from ssl_zoo.training.precision import resolve_precision

Anything = TypeVar("Anything")

# torch renamed it in 2.14 and warns of the old name.
DDP_KEYS = inspect.signature(DistributedDataParallel).parameters
KEEP_BUFFERS: dict[str, Any] = {
    "forward_sync_buffers" if "forward_sync_buffers" in DDP_KEYS else "broadcast_buffers": False
}


@dataclass(frozen=True)
class Launch:
    """How this process was started: as one of `size` processes, `local_size` of them on this machine."""

    size: int = 1
    local_size: int = 1
    by: str = "alone"  # alone | torchrun | slurm


def launch_of(environ: Mapping[str, str] = os.environ) -> Launch:
    """What the environment variables say: torchrun's first, then those of Slurm's `srun`, else one process alone.

    Under Slurm the same number of tasks on every node is needed, and each task must see all GPUs of its node
    (`--ntasks-per-node=4 --gpus-per-node=4`).
    """
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= environ.keys() and int(environ["WORLD_SIZE"]) > 1:
        size = int(environ["WORLD_SIZE"])
        return _even(Launch(size, int(environ.get("LOCAL_WORLD_SIZE", size)), "torchrun"))
    in_srun = {"SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID"} <= environ.keys()
    if in_srun and int(environ["SLURM_NTASKS"]) > 1 and environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        size = int(environ["SLURM_NTASKS"])
        nodes = int(environ.get("SLURM_NNODES", 1))
        return _even(Launch(size, int(environ.get("SLURM_NTASKS_PER_NODE", size // nodes)), "slurm"))
    return Launch()


class Processes:
    """The group of processes, seen from one of them; with one process, every verb gives back what it gets."""

    def __init__(self, fabric: Fabric, size: int) -> None:
        self.fabric = fabric
        self.size = size
        self.rank: int = fabric.global_rank if size > 1 else 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files and reports."""
        return self.rank == 0

    def own(self, batch: int, parts: int = 1) -> np.ndarray:
        """This process's rows of a batch that passes in `parts`, one part after another: int `[batch / size]`.

        Each part is spread over all processes, so that the parts of any number of processes are those of one.
        """
        return np.arange(batch).reshape(parts, self.size, -1)[:, self.rank].ravel()

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes `[size * B, ...]`, in the order of the whole batch; without gradient."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        torch.distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    def mean(self, value: Tensor) -> float:
        """The mean over the processes of a scalar; not a number if it is none in one of them."""
        return float(value) if self.size == 1 else self.total([float(value)])[0] / self.size

    def total(self, values: list[float]) -> list[float]:
        """The sums over the processes of some numbers, the same in all of them."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=self.fabric.device)
        torch.distributed.all_reduce(sums)
        return sums.tolist()

    def largest(self, value: float) -> float:
        """The largest of the processes' values."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64, device=self.fabric.device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return float(found)

    def from_first(self, value: Anything) -> Anything:
        """What the first process has."""
        return value if self.size == 1 else self.fabric.broadcast(value)

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            self.fabric.barrier()


def connect(device: str, precision: str, launch: Launch | None = None) -> Processes:
    """Fabric on this process's device, and the group it belongs to.

    `device` is "cpu", "cuda" or "cuda:<k>"; among several processes each takes the GPU of its rank on the machine.
    """
    launch = launch or launch_of()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision at every start
    kind, _, place = device.partition(":")
    settings: dict[str, Any] = {
        "accelerator": "cuda" if kind == "cuda" else "cpu",
        "precision": "bf16-mixed" if resolve_precision(precision, device) == torch.bfloat16 else "32-true",
    }
    if launch.size == 1:
        devices = [int(place or 0)] if kind == "cuda" else 1
        fabric = Fabric(**settings, devices=devices, plugins=[LightningEnvironment()])
        return Processes(fabric, 1)
    environment: ClusterEnvironment = (
        SLURMEnvironment(auto_requeue=False) if launch.by == "slurm" else TorchElasticEnvironment()
    )
    fabric = Fabric(
        **settings,
        devices=launch.local_size,
        num_nodes=launch.size // launch.local_size,
        # Synchronised BatchNorm keeps the buffers equal; sending them round at each forward pass would only hide a
        # method that lets them drift apart.
        strategy=DDPStrategy(**KEEP_BUFFERS),
        plugins=[environment],
    )
    fabric.launch()
    return Processes(fabric, launch.size)


def _even(launch: Launch) -> Launch:
    if launch.size % launch.local_size:
        raise UserError(
            f"{launch.size} processes do not divide into machines of {launch.local_size}; "
            "start the same number on every machine"
        )
    return launch
