"""A drawn sector, for tests of what works along its rays."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

Fan = Callable[..., torch.Tensor]


@pytest.fixture(scope="session")
def fan() -> Fan:
    """`fan(height, width)`: a convex probe's sector, bool `[height, width]`; lengths are in heights of the frame."""

    def draw(
        height: int,
        width: int,
        *,
        apex: tuple[float, float] = (0.5, -0.5),
        half: float = 26.0,  # degrees to either side
        near: float = 0.56,
        far: float = 1.44,
    ) -> torch.Tensor:
        rows, columns = (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / height
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        across, down = x - apex[0] * width / height, y - apex[1]
        distance, angle = torch.hypot(across, down), torch.atan2(across, down)
        return (distance >= near) & (distance <= far) & (angle.abs() <= math.radians(half))

    return draw
