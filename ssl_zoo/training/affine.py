"""Affine maps from a view's coordinates to its frame's, both -1..1 from edge to edge."""

from __future__ import annotations

import torch
from torch import Tensor


def affine(boxes: tuple[Tensor, ...], sign: Tensor, angle: Tensor, frame: tuple[int, int]) -> Tensor:
    """Maps `[..., 2, 3]` from a crop's coordinates to the frame's, both -1..1: scale, rotate in pixels, move to the
    crop's centre.

    `boxes` are width, height, left and top as shares of the frame's sides, `sign` is -1 for a flip, `angle` in radians;
    `frame` is the frame's height and width in pixels.
    """
    (width, height, left, top), (rows, columns) = boxes, frame
    theta = torch.zeros(*width.shape, 2, 3)
    theta[..., 0, 0] = sign * width * angle.cos()
    theta[..., 0, 1] = -height * angle.sin() * (rows / columns)
    theta[..., 1, 0] = sign * width * angle.sin() * (columns / rows)
    theta[..., 1, 1] = height * angle.cos()
    theta[..., 0, 2] = 2 * left + width - 1
    theta[..., 1, 2] = 2 * top + height - 1
    return theta


def tilted(theta: Tensor, swing: Tensor, pivot: Tensor, frame: tuple[int, int]) -> Tensor:
    """Maps `[..., B, 2, 3]` that look at a frame turned by `swing` (radians, `[B]`) about `pivot` (`[B, 2]`, in heights
    of the frame).
    """
    tall = frame[0] / frame[1]
    cos, sin = swing.cos(), swing.sin()
    turn = torch.stack([cos, -sin * tall, sin / tall, cos], dim=-1).view(-1, 2, 2)  # in pixels, for -1..1
    centre = torch.stack([2 * pivot[:, 0] * tall - 1, 2 * pivot[:, 1] - 1], dim=-1)[..., None]  # [B, 2, 1]
    linear, shift = theta[..., :2], theta[..., 2:]
    return torch.cat([turn @ linear, turn @ (shift - centre) + centre], dim=-1)


def affine_grid(theta: Tensor, size: int) -> Tensor:
    """Where the pixels of square views lie in the frame: `[b, size, size, 2]` in -1..1, for maps `[b, 2, 3]`.

    The same numbers as `F.affine_grid(..., align_corners=False)`, which on the CPU takes longer than the sampling
    itself: it multiplies matrices of three columns, and this adds what a pixel's column and row contribute. x and y lie
    in planes of their own, so that the inner loops are long.
    """
    places = torch.linspace(-1, 1, size, device=theta.device) * (size - 1) / size  # [size] centres of pixels
    along, down = (theta[:, :, axis, None] * places for axis in (0, 1))  # each [b, 2, size]
    grid = (along[:, :, None] + down[:, :, :, None]).add_(theta[:, :, 2, None, None])  # [b, 2, size, size]
    return grid.permute(0, 2, 3, 1)
