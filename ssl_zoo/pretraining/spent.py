"""What a run has spent, counted without knowing the method: images through networks, memory; and `budget.json`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.pretraining.processes import Processes

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MB = 2**20


@dataclass(frozen=True)
class Spent:
    """Sums over all processes and all starts of a run."""

    views_seen: int = 0  # augmented images made
    forward_passes: int = 0  # images through any backbone, student's or teacher's, local crops too
    megapixels_seen: float = 0.0  # their pixels / 1e6, channels not counted
    peak_memory_mb: float = 0.0  # see Memory; the largest of any process


class Ledger:
    """Keeps count of what a run spends, on top of what its earlier starts have spent.

    It counts the images that enter the first convolution of every backbone in `method`. A backbone is `method.backbone`
    and every module of its class, such as a teacher's copy of it: however a method calls its networks, whole or layer
    by layer, an image passes that convolution once. An image of which a masked method then drops most patches counts as
    a whole one.
    """

    def __init__(
        self, method: nn.Module, backbone: nn.Module, processes: Processes, memory: Memory, before: Spent
    ) -> None:
        self.views = 0
        self._images = 0
        self._pixels = 0
        self._on = True
        self._processes = processes
        self._before = before
        self._memory = memory
        for module in method.modules():
            if type(module) is type(backbone):
                stem = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), module)
                stem.register_forward_pre_hook(self._count)

    def total(self) -> Spent:
        """All that was spent so far. All processes take part."""
        counts = [float(self.views), float(self._images), self._pixels / 1e6]
        views, images, megapixels = self._processes.total(counts)
        peak = self._processes.largest(self._memory.peak_mb())
        return Spent(
            self._before.views_seen + round(views),
            self._before.forward_passes + round(images),
            self._before.megapixels_seen + megapixels,
            max(self._before.peak_memory_mb, peak),
        )

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """No image is counted within the block."""
        self._on = False
        try:
            yield
        finally:
            self._on = True

    def _count(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        images: Tensor = inputs[0]
        if self._on:
            self._images += len(images)
            self._pixels += len(images) * images.shape[-2] * images.shape[-1]


class Memory:
    """The most memory that a run holds at a time, in MB (2**20 bytes).

    On a GPU: the most that torch had allocated on it. On the CPU: by how much the resident memory of the process rose
    at its highest above what it was when the run began, so that libraries, and earlier runs of the process, do not
    count; what these have freed is given back to the system first, or it would be used again unseen. Where the system
    cannot start such a measurement anew (no Linux), a run that stays below the highest point of an earlier one shows 0.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        _give_back()
        with contextlib.suppress(OSError):  # no Linux, or not allowed: the peak is then that of the process's life
            RESET.write_text("5")  # sets the peak to what is resident now
        self._start = _resident_peak_mb()

    def peak_mb(self) -> float:
        """The peak since this object was made."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MB
        return _resident_peak_mb() - self._start


def _give_back() -> None:
    """Return memory that is free but kept by the process; only glibc has the verb."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident_peak_mb() -> float:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (MB if sys.platform == "darwin" else 2**10)
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10
