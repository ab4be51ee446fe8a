"""Where the sector lies in a frame: the fan that the probe sees, read from the pixels that are not black.

Coordinates are in heights of the frame: y runs from 0 (top, at the probe) to 1, x from 0 to width / height.
Everything here works on whole batches without a loop over frames, and knows the frame alone: no file, no machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_zoo.training.affine import affine_grid

BLACK = 8  # of 255; video compression leaves the black beside the sector a few levels above 0
RASTER = 64  # rows and columns, at most about, from which the sector is read and on which smooth fields are computed
FEWEST_ROWS = 4  # that a line needs to be fitted to an edge
ROUNDS, HIDDEN = 5, 0.05  # of the fit, and the weight in it of rows that end inside the line
FEWEST_NEIGHBOURS = 4  # of 3 x 3 pixels, itself among them, that must not be black
SLOPES = (0.1, 2.0)  # of the edges, across per depth: from nearly parallel rays (a linear probe) to 127 degrees


@dataclass(frozen=True, eq=False)
class Sector:
    """The sectors of a batch of frames of `height` x `width` pixels.

    Rays run from the apex, which lies behind the probe's face; for a linear probe it lies far away. A depth of 0 is
    the lit pixel nearest to the apex, 1 the farthest; a lateral place of 0 is the leftmost ray that meets a lit pixel,
    1 the rightmost.
    """

    lit: Tensor  # [B, 1, h, w] 1.0 where the frame is not black, on a coarse grid of its pixels
    apex: Tensor  # [B, 2] x and y
    depths: Tensor  # [B, 2] distance of depth 0 and of depth 1 from the apex
    rays: Tensor  # [B, 2] slope of the leftmost and of the rightmost ray, across per depth
    height: int
    width: int

    @property
    def face(self) -> Tensor:
        """The middle of the probe's face, `[B, 2]`: straight below the apex, at depth 0."""
        return torch.stack([self.apex[:, 0], self.apex[:, 1] + self.depths[:, 0]], 1)

    @cached_property
    def share(self) -> Tensor:
        """The share of the frame that is not black, `[B]`."""
        return self.lit.mean((1, 2, 3))

    @cached_property
    def places(self) -> Tensor:
        """Lateral place and depth of the pixels of frames of at most 64 x 64 pixels: `[B, 2, h, w]`, scaled from 0..1
        to -1..1 as `F.grid_sample` wants them, and beyond that outside the sector.
        """
        height, width = min(RASTER, self.height), min(RASTER, self.width)
        device = self.apex.device
        x = (torch.arange(width, device=device) + 0.5) * (self.width / self.height / width)
        y = (torch.arange(height, device=device) + 0.5) / height
        across = (x - self.apex[:, :1])[:, None]  # [B, 1, w]
        down = (y - self.apex[:, 1:]).clamp(min=1e-3)[:, :, None]  # [B, h, 1] nothing is seen from behind the apex
        (near, far), (left, right) = self.depths.unbind(1), self.rays.unbind(1)
        places = across.new_empty(len(across), 2, height, width)
        torch.mul(across - left[:, None, None] * down, (2 / (right - left)[:, None, None]) / down, out=places[:, 0])
        torch.add(across.square(), down.square(), out=places[:, 1]).sqrt_()
        places[:, 1].sub_(near[:, None, None]).mul_((2 / (far - near))[:, None, None])
        return places.sub_(1)

    def spread(self, field: Tensor, chosen: Tensor) -> Tensor:
        """A smooth field over depth and lateral place, `[b, 1, depths, rays]` with its ends at 0 and 1, at the pixels
        of the frames `chosen` (indices `[b]` on the field's device): `[b, 1, H, W]`. Beyond its ends a field goes on.
        """
        places = self.places.index_select(0, chosen).permute(0, 2, 3, 1)
        field = F.grid_sample(field, places, mode="bilinear", padding_mode="border", align_corners=True)
        return self._stretched(field)

    def texture(self, field: Tensor, chosen: Tensor) -> Tensor:
        """As `spread`, for a field with details smaller than a 64th of the frame."""
        places = self._stretched(self.places.index_select(0, chosen)).permute(0, 2, 3, 1)
        return F.grid_sample(field, places, mode="bilinear", padding_mode="border", align_corners=True)

    def covers(self, frames: Tensor, chosen: Tensor) -> Tensor:
        """1.0 where pixels of the frames `chosen` (indices `[b]`), given as `[b, C, H, W]`, lie in the sector, and 0.0
        elsewhere: `[b, 1, H, W]`.

        Those that are lit, or have a lit pixel above them and either one below or one on both sides: black fluid
        counts, and so does a shadow that reaches the bottom; the black beside the sector and before the probe's face
        does not, nor do text and other marks there.
        """
        near = _widened(self.lit.index_select(0, chosen))
        if near.shape[2:] != frames.shape[2:]:
            near = F.interpolate(near, size=frames.shape[2:], mode="nearest")
        lit = _lit(frames) * near[:, 0]  # [b, H, W]
        (first_row, last_row), (first_column, last_column) = _between(lit, 1), _between(lit, 2)
        row, column = _numbers(lit, 1), _numbers(lit, 2)
        beside = (column >= first_column) & (column <= last_column)
        return ((row >= first_row) & ((row <= last_row) | beside)).unsqueeze(1).float()

    def _stretched(self, field: Tensor) -> Tensor:
        """`[b, C, h, w]` on the raster of `places` to the frame's pixels; possibly itself."""
        size = (self.height, self.width)
        if field.shape[2:] == size:
            return field
        return F.interpolate(field, size=size, mode="bilinear", align_corners=False)


def find_sector(frames: Tensor) -> Sector:
    """The sector of each frame: uint8 `[B, C, H, W]`, or float in 0..1.

    The edges are straight lines along the outermost lit pixels of the rows above the widest one, and the apex is where
    they meet. An edge that the frame cuts off is taken to mirror the other; where neither can be seen, as in a
    frame that is lit all over, and in one that is black all over, rays are nearly parallel. Text and other thin marks
    beside the sector are not taken for it.
    """
    _, _, height, width = frames.shape
    step_y, step_x = max(1, height // RASTER), max(1, width // RASTER)
    lit = _without_marks(_lit(frames[:, :, step_y // 2 :: step_y, step_x // 2 :: step_x]))  # [B, h, w]
    device, across = frames.device, width / height
    y = (torch.arange(step_y // 2, height, step_y, device=device) + 0.5) / height  # [h]
    x = (torch.arange(step_x // 2, width, step_x, device=device) + 0.5) / height  # [w]

    left = across - (lit * (across - x)).amax(2)  # [B, h] the first lit pixel of each row, `across` in black ones
    right = (lit * x).amax(2)  # [B, h] the last one, 0 in black rows
    shown = right > 0
    above = torch.arange(len(y), device=device) <= (right - left).argmax(1, keepdim=True)  # [B, h]
    first, last = (x[0] + x[1]) / 2, (x[-2] + x[-1]) / 2  # beyond them the frame cuts the edge off
    left_line = _line(y, left, above & shown & (left > first), -1)
    right_line = _line(y, right, above & shown & (right < last), 1)
    apex = _apex(_edge(left_line, right_line, across, -1), _edge(right_line, left_line, across, 1))
    upper = 1 - (lit * (1 - y)[:, None]).amax(1)  # [B, w] the first lit pixel of each column, 1 in black ones
    apex = torch.stack([apex[:, 0].clamp(0, across), torch.minimum(apex[:, 1], upper.amin(1) - 1 / RASTER)], 1)

    # A black frame counts as lit all over.
    black = ~shown.any(1, keepdim=True)
    left, right, upper = (torch.where(black, end, ends) for end, ends in ((x[0], left), (x[-1], right), (y[0], upper)))
    depths, rays = _reach(x, y, left, right, upper, shown | black, apex)
    return Sector(lit.unsqueeze(1), apex, depths, rays, height, width)


def content(sector: Sector, theta: Tensor, samples: int = 12) -> Tensor:
    """The share of a frame's lit pixels that crops hold: `[A, B]` for affine maps `[A, B, 2, 3]` from a crop to the
    frame, both in -1..1. A black frame has nothing to lose: 1.

    Each crop is looked at in `samples` x `samples` points, so that the share is right within about 0.02.
    """
    attempts, batch = theta.shape[:2]
    grid = affine_grid(theta.transpose(0, 1).flatten(0, 1), samples)  # [B * A, s, s, 2]
    grid = grid.reshape(batch, attempts * samples, samples, 2)
    seen = F.grid_sample(sector.lit, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    density = seen.view(batch, attempts, -1).mean(2).T  # [A, B]
    area = (theta[..., 0, 0] * theta[..., 1, 1] - theta[..., 0, 1] * theta[..., 1, 0]).abs()  # shares of the frame
    return torch.where(sector.share > 0, density * area / sector.share.clamp(min=1e-6), 1.0)


def _lit(frames: Tensor) -> Tensor:
    """`[B, C, H, W]` to float `[B, H, W]`: 1.0 where it is not black in some channel."""
    brightest = frames.amax(1) if frames.shape[1] > 1 else frames[:, 0]
    return (brightest > (BLACK if frames.dtype == torch.uint8 else (BLACK + 0.5) / 255)).float()


def _widened(lit: Tensor) -> Tensor:
    """`[b, 1, h, w]` with every pixel as bright as the brightest of its 3 x 3 neighbours."""
    for dim in (2, 3):
        beside, length = F.pad(lit, (1, 1, 0, 0) if dim == 3 else (0, 0, 1, 1)), lit.shape[dim]
        lit = torch.maximum(torch.maximum(beside.narrow(dim, 0, length), beside.narrow(dim, 2, length)), lit)
    return lit


def _without_marks(lit: Tensor) -> Tensor:
    """`[B, h, w]` without lit pixels that have few lit neighbours: text, rulers, stray pixels. The frame's border is
    repeated.
    """
    padded = F.pad(lit, (1, 1, 1, 1), mode="replicate")
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return lit * (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] > FEWEST_NEIGHBOURS - 0.5)


def _numbers(lit: Tensor, dim: int) -> Tensor:
    """1, 2, ... along a dimension of `[B, H, W]`, to be broadcast to it."""
    numbers = torch.arange(1, lit.shape[dim] + 1, device=lit.device, dtype=lit.dtype)
    return numbers[:, None] if dim == 1 else numbers


def _between(lit: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Numbers of the first and the last lit pixel along a dimension; the first is beyond the last in a black line."""
    numbers, beyond = _numbers(lit, dim), lit.shape[dim] + 1
    return beyond - (lit * (beyond - numbers)).amax(dim, keepdim=True), (lit * numbers).amax(dim, keepdim=True)


def _line(y: Tensor, x: Tensor, rows: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The outer line of x `[B, h]` over y `[h]` in the given rows: slope, a point (x, y) on it, and whether there are
    enough rows, each `[B]`. `side` is -1 for the left edge and 1 for the right one.

    Least squares in which rows that end inside the line, where a fluid or a shadow hides the edge, count little.
    """
    weight = rows.float()
    for _ in range(ROUNDS):
        total = weight.sum(1).clamp(min=1e-6)
        middle_y, middle_x = (weight * y).sum(1) / total, (weight * x).sum(1) / total
        from_y, from_x = y - middle_y[:, None], x - middle_x[:, None]
        slope = (weight * from_y * from_x).sum(1) / (weight * from_y.square()).sum(1).clamp(min=1e-9)
        short = side * (from_x - slope[:, None] * from_y) < 0
        weight = rows * torch.where(short, HIDDEN, 1.0)
    return slope, middle_x, middle_y, rows.sum(1) >= FEWEST_ROWS


def _edge(own: tuple[Tensor, ...], other: tuple[Tensor, ...], across: float, side: int) -> tuple[Tensor, Tensor]:
    """Slope and intercept `[B]` of one edge: its own line, else the mirror of the other, else the frame's side."""
    low, high = SLOPES
    slope = torch.where(own[3], own[0], torch.where(other[3], -other[0], side * low))
    slope = side * (side * slope).clamp(low, high)  # `side` is -1 for the left edge, which runs to the left
    corner = across if side > 0 else 0.0
    x = torch.where(own[3], own[1], torch.where(other[3], across - other[1], corner))
    y = torch.where(own[3], own[2], torch.where(other[3], other[2], 1.0))
    return slope, x - slope * y


def _apex(left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor]) -> Tensor:
    """Where two lines (slope, intercept) meet: `[B, 2]`."""
    y = (left[1] - right[1]) / (right[0] - left[0])
    return torch.stack([left[1] + left[0] * y, y], 1)


def _reach(
    x: Tensor, y: Tensor, left: Tensor, right: Tensor, upper: Tensor, rows: Tensor, apex: Tensor
) -> tuple[Tensor, Tensor]:
    """Nearest and farthest distance of lit pixels from the apex, and slopes of the outermost rays, each `[B, 2]`.

    In a row the extremes are at its ends `left` and `right` `[B, h]`, in a column at its upper end `upper` `[B, w]`;
    `rows` are those with a lit pixel, and a black column's upper end is 1.
    """
    down = y - apex[:, 1:]  # [B, h], above 0 in all rows that count
    ends = torch.stack([left, right], 1) - apex[:, :1, None]  # [B, 2, h]
    slopes = ends / down[:, None].clamp(min=1e-3)
    lowest = torch.where(rows, slopes[:, 0], torch.inf).amin(1)
    highest = torch.where(rows, slopes[:, 1], -torch.inf).amax(1)
    far = torch.where(rows, (ends.square().amax(1) + down.square()).sqrt(), 0.0).amax(1)
    near = ((x - apex[:, :1]).square() + (upper - apex[:, 1:]).square()).sqrt()
    near = torch.where(upper < 1, near, torch.inf).amin(1)
    return (
        torch.stack([near, torch.maximum(far, near + 1e-3)], 1),
        torch.stack([lowest, torch.maximum(highest, lowest + 1e-3)], 1),
    )
