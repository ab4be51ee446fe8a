"""What numbers are computed on, to be kept beside them: other processors and versions round, or draw, differently."""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.training.precision import resolve_precision
from ssl_zoo.training.versions import versions


@functools.cache
def computed_on(device: str, precision: str = "fp32") -> dict[str, Any]:
    """Kind and name of the device, the number format that `precision` comes to there, and versions; nothing else."""
    kind = torch.device(device).type
    return {
        "device": kind,
        "processor": torch.cuda.get_device_name(device) if kind == "cuda" else _cpu(),
        "precision": "bf16" if resolve_precision(precision, device) is torch.bfloat16 else "fp32",
        "versions": {**versions(), "torch": str(torch.__version__)},  # which names its build, too
    }


def _cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
