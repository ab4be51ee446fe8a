"""The CSWin encoder is the one of its paper, and has the published shapes."""

from __future__ import annotations

import pytest
import torch
from timm.optim import param_groups_layer_decay
from torch.nn import functional

from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.cswin import Block, CSWin
from ssl_zoo.errors import UserError


def attended(x, weights, *, side, split, heads):
    """The paper's attention, written as one masked attention over the whole map: `x` `[side^2, C]` normalised."""
    rows, columns = torch.arange(side).repeat_interleave(side), torch.arange(side).repeat(side)
    queries, keys, values = functional.linear(x, weights["qkv.weight"], weights["qkv.bias"]).split(x.shape[1], 1)
    whole = side == split
    branches = [torch.zeros(side * side)] if whole else [columns // split, rows // split]  # vertical, horizontal
    width = x.shape[1] // len(branches)
    out = []
    for branch, stripe in enumerate(branches):
        part = slice(branch * width, (branch + 1) * width)
        together = stripe[:, None] == stripe[None]  # positions of one stripe
        size = width // (heads // len(branches))
        mixed = torch.zeros(side * side, width)
        for head in range(0, width, size):
            q, k, v = (tensor[:, part][:, head : head + size] for tensor in (queries, keys, values))
            scores = (q @ k.T * size**-0.5).masked_fill(~together, -torch.inf)
            mixed[:, head : head + size] = scores.softmax(1) @ v
        kernel = weights[f"attentions.{branch}.position.weight"]  # [C, 1, 3, 3]
        local = weights[f"attentions.{branch}.position.bias"].expand(side * side, -1).clone()
        for place in range(side * side):
            for other in range(side * side):
                down, right = rows[other] - rows[place] + 1, columns[other] - columns[place] + 1
                if together[place, other] and 0 <= down < 3 and 0 <= right < 3:
                    local[place] += kernel[:, 0, down, right] * values[other, part]
        out.append(mixed + local)
    return functional.linear(torch.cat(out, 1), weights["proj.weight"], weights["proj.bias"])


@pytest.mark.parametrize(("side", "split"), [(4, 1), (4, 2), (4, 4)])
@torch.no_grad()
def test_a_block_is_the_papers_attention_within_stripes_of_rows_and_of_columns(side, split):
    torch.manual_seed(0)
    block = Block(8, 4, side, split)
    for value in block.parameters():
        value.add_(torch.randn_like(value) * 0.3)
    weights = block.state_dict()
    x = torch.randn(side * side, 8)
    expected = x + attended(block.norm1(x), weights, side=side, split=split, heads=4)
    hidden = functional.gelu(block.mlp["fc1"](block.norm2(expected)))
    expected = expected + block.mlp["fc2"](hidden)
    assert torch.allclose(block(x.view(1, side, side, 8)).view(-1, 8), expected, atol=1e-5)


@torch.no_grad()
def test_images_of_a_batch_do_not_mix():
    model = build_backbone("mofo_cswin", channels=3, size=64, width=8, depths=(1, 1, 2, 1), splits=(1, 2, 2, 2)).eval()
    images = torch.randn(3, 3, 64, 64)
    assert torch.allclose(model(images)[1:2], model(images[1:2]), atol=1e-5)


def test_the_maps_have_the_published_sizes():
    with torch.device("meta"):
        model = CSWin()
        images = torch.empty(1, 3, 224, 224)
    sizes = [tuple(model.stem(images).shape[1:])]
    x = model.stem(images).permute(0, 2, 3, 1)
    for merge, stage in zip(model.merges, model.stages, strict=True):
        x = stage(merge(x))
        sizes.append((x.shape[3], x.shape[1], x.shape[2]))
    assert sizes == [(32, 112, 112), (64, 56, 56), (128, 28, 28), (256, 14, 14), (512, 7, 7)]
    assert [len(stage) for stage in model.stages] == [2, 4, 32, 2]
    assert [len(stage[0].attentions) for stage in model.stages] == [2, 2, 2, 1]
    assert model(images).shape == (1, 512)


def test_layer_decay_has_a_group_for_the_stem_and_each_stage():
    model = build_backbone("mofo_cswin", channels=3, size=64, width=8, depths=(1, 1, 2, 1), splits=(1, 2, 2, 2))
    groups = param_groups_layer_decay(model, layer_decay=0.5)
    assert sorted({group["lr_scale"] for group in groups}) == [0.5**depth for depth in range(4, -1, -1)]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize(("size", "splits"), [(100, (1, 2, 7, 7)), (64, (1, 2, 7, 7))])
def test_a_size_that_stripes_do_not_tile_is_refused(size, splits):
    with pytest.raises(UserError, match="CSWin"):
        build_backbone("mofo_cswin", channels=3, size=size, splits=splits)
