"""Which number format a training computes in: bf16 where the hardware has it, float32 otherwise."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch

from ssl_zoo.errors import UserError, unknown

PRECISIONS = ("auto", "bf16", "fp32")


def resolve_precision(name: str, device: str | torch.device) -> torch.dtype | None:
    """The dtype to autocast to on `device`, or None for plain float32.

    "auto" takes bf16 where the device computes in it, and float32 otherwise; "bf16" insists on it, and is a UserError
    on a CUDA device that lacks it (a CPU always can, if slowly).
    """
    if name not in PRECISIONS:
        raise unknown("precision", name, PRECISIONS)
    if name == "fp32":
        return None
    device = torch.device(device)
    has = _has_bf16(device)
    if name == "bf16" and device.type == "cuda" and not has:
        raise UserError(f"precision 'bf16': {torch.cuda.get_device_name(device)} does not compute in it; use 'fp32'")
    return torch.bfloat16 if has or name == "bf16" else None


def autocast(device: str | torch.device, precision: str) -> AbstractContextManager[object]:
    """The context in which forward passes and losses of a training run; it does nothing for float32."""
    dtype = resolve_precision(precision, device)
    if dtype is None:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=dtype)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Not public in torch; where a version lacks them, float32 is the safe answer.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in checks if check is not None)
