"""A CSWin transformer, written from its paper and held to the shapes of MOFO's published encoder.

Dong et al., CSWin Transformer, arXiv 2107.00652: every block attends within stripes, half of its heads within vertical
and half within horizontal ones, which together reach across the map; positions enter as a depthwise convolution of the
values (section 3.3, LePE). Between the stages a strided convolution halves the map and doubles the channels. MOFO puts
two plain convolutions in place of CSWin's first one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ssl_zoo.errors import UserError

# CSWin-S (table 1 of the paper), which MOFO starts from
DEPTHS, SPLITS, HEADS, WIDTH = (2, 4, 32, 2), (1, 2, 7, 7), (2, 4, 8, 16), 64
MLP_RATIO = 4


class StripeAttention(nn.Module):
    """Attention among the positions of one stripe, `rows` x `columns` of them, plus the values' own neighbourhood."""

    def __init__(self, channels: int, heads: int, rows: int, columns: int) -> None:
        super().__init__()
        self.heads, self.rows, self.columns = heads, rows, columns
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Three maps `[B, H, W, C]` to one."""
        batch, height, width, channels = queries.shape
        stripes = [self.cut(part) for part in (queries, keys, values)]  # [S, rows, columns, C], S over all images
        heads = [part.flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in stripes]  # [S, h, n, d]
        attended = nn.functional.scaled_dot_product_attention(heads[0], heads[1], heads[2])  # [S, h, n, d]
        attended = attended.transpose(1, 2).reshape(stripes[0].shape)  # [S, rows, columns, C]
        # the neighbourhood ends at the stripe's border, as the attention does
        local = self.position(stripes[2].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # [S, rows, columns, C]
        whole = (attended + local).view(
            batch, height // self.rows, width // self.columns, self.rows, self.columns, channels
        )
        return whole.transpose(2, 3).reshape(batch, height, width, channels)

    def cut(self, part: Tensor) -> Tensor:
        """A map `[B, H, W, C]` as stripes `[S, rows, columns, C]`."""
        batch, height, width, channels = part.shape
        grid = part.view(batch, height // self.rows, self.rows, width // self.columns, self.columns, channels)
        return grid.transpose(2, 3).reshape(-1, self.rows, self.columns, channels)


class Block(nn.Module):
    """A pre-norm transformer block on a map; where one stripe would be the whole map, all heads attend to all of it."""

    def __init__(self, channels: int, heads: int, side: int, split: int) -> None:
        super().__init__()
        if side % split:
            raise UserError(f"CSWin: stripes of {split} do not divide a map of {side} x {side} positions")
        self.norm1 = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        if side == split:
            self.attentions = nn.ModuleList([StripeAttention(channels, heads, side, side)])
        else:
            half, few = channels // 2, heads // 2
            self.attentions = nn.ModuleList(
                [StripeAttention(half, few, side, split), StripeAttention(half, few, split, side)]
            )
        self.proj = nn.Linear(channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(channels, MLP_RATIO * channels), "fc2": nn.Linear(MLP_RATIO * channels, channels)}
        )

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C]` to the same."""
        parts = self.qkv(self.norm1(x)).chunk(3, dim=-1)  # each [B, H, W, C]
        halves = zip(*(part.chunk(len(self.attentions), dim=-1) for part in parts), strict=True)
        attended = [attention(*three) for attention, three in zip(self.attentions, halves, strict=True)]
        x = x + self.proj(torch.cat(attended, dim=-1))
        return x + self.mlp["fc2"](nn.functional.gelu(self.mlp["fc1"](self.norm2(x))))


class Merge(nn.Module):
    """Halves a map and changes its channels: `[B, H, W, C]` to `[B, H / 2, W / 2, channels]`."""

    def __init__(self, before: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, channels, 3, stride=2, padding=1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class CSWin(nn.Module):
    """Images `[B, in_chans, S, S]` to the mean of the last map `[B, D]`, D = 8 `width`; S is fixed when it is built."""

    num_prefix_tokens = 0
    num_classes = 0

    def __init__(
        self,
        img_size: int = 224,
        in_chans: int = 3,
        width: int = WIDTH,
        depths: Sequence[int] = DEPTHS,
        splits: Sequence[int] = SPLITS,
        heads: Sequence[int] = HEADS,
    ) -> None:
        super().__init__()
        if img_size % 32:
            raise UserError(f"CSWin halves its map five times, and size {img_size} is no multiple of 32")
        self.num_features = 8 * width
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, width // 2, 3, stride=2, padding=1),
            nn.InstanceNorm2d(width // 2),
            nn.LeakyReLU(0.01),
            nn.Conv2d(width // 2, width // 2, 3, padding=1),
            nn.InstanceNorm2d(width // 2),
            nn.LeakyReLU(0.01),
        )
        channels = [width // 2, *(width * 2**stage for stage in range(4))]
        self.merges = nn.ModuleList(Merge(before, after) for before, after in pairwise(channels))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(Block(channels[stage + 1], heads[stage], img_size // 2 ** (stage + 2), split) for _ in range(depth))
            )
            for stage, (depth, split) in enumerate(zip(depths, splits, strict=True))
        )
        self.apply(_initialise)

    def forward_features(self, images: Tensor) -> Tensor:
        """`[B, in_chans, S, S]` to the last map `[B, D, S / 32, S / 32]`."""
        x = self.stem(images).permute(0, 2, 3, 1)  # [B, S / 2, S / 2, width / 2]
        for merge, stage in zip(self.merges, self.stages, strict=True):
            x = stage(merge(x))  # [B, S / 4, S / 4, width], then halved and doubled
        return x.permute(0, 3, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_features(images).mean((2, 3))  # [B, D]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """timm's groups for layer decay: the stem, then the stages, whose blocks are too many for a group each.

        `coarse` changes nothing.
        """
        del coarse
        return {"stem": r"^stem", "blocks": r"^(?:stages|merges)\.(\d+)"}

    def no_weight_decay(self) -> set[str]:
        """Parameters that timm leaves without weight decay beside biases and norms: none."""
        return set()


def _initialise(module: nn.Module) -> None:
    """Linear layers as transformers have them: normal with 0.02, biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
