"""What a probe does to a frame: each operation against its stated law."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from ssl_zoo.training import ultrasound
from ssl_zoo.training.sector import find_sector
from ssl_zoo.training.view_recipes import ACOUSTIC
from ssl_zoo.training.views import VIEWS, ViewSettings, make_views

OPERATIONS: dict[str, Callable[..., torch.Tensor]] = {
    "tgc": partial(ultrasound.tgc, gain=0.3),
    "cells": partial(ultrasound.cells, deviation=0.3),
    "haze": partial(ultrasound.haze, level=0.3),
    "shadow": partial(ultrasound.shadow, loss=0.8, width=(0.02, 0.08)),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def scans(fan):
    """`scans(batch)`: the same grey fan `batch` times with a black hole of fluid in it, float `[B, C, H, W]`."""

    def draw(batch: int, height: int = 64, width: int = 64, channels: int = 1, level: float = 0.5) -> torch.Tensor:
        picture = fan(height, width) * level
        hole = slice(height // 2, height // 2 + height // 8), slice(width // 2 - width // 8, width // 2 + width // 8)
        picture[hole] = 0
        return picture.expand(batch, channels, height, width).contiguous()

    return draw


def applied(name: str, frames: torch.Tensor, *, probability: float = 1.0, seed: int = 0, **changed) -> torch.Tensor:
    operation = partial(OPERATIONS[name], **changed)
    return operation(frames.clone(), find_sector(frames), generator(seed), probability=probability)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (97, 97), (131, 90), (33, 33)])
@pytest.mark.parametrize("name", ACOUSTIC)
def test_every_operation_changes_the_sector_alone_and_stays_in_0_to_1(name, height, width, channels, scans, fan):
    frames = scans(6, height, width, channels, level=0.9)
    out = applied(name, frames)
    assert out.shape == frames.shape
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 1
    assert torch.equal(out[:, :, ~fan(height, width)], torch.zeros_like(out[:, :, ~fan(height, width)]))
    assert torch.equal(out[:, 0], out[:, -1])
    assert ((out - frames).abs().amax((1, 2, 3)) > 0.01).all()


@pytest.mark.parametrize("name", ACOUSTIC)
def test_every_operation_is_drawn_per_sample_from_the_given_generator(name, scans):
    frames = scans(16)
    first, again, other = applied(name, frames, seed=1), applied(name, frames, seed=1), applied(name, frames, seed=2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    differences = (first[:, None] - first[None]).abs().amax((2, 3, 4)) + torch.eye(16)
    assert differences.min() > 1e-3  # no two samples are alike


@pytest.mark.parametrize("name", ACOUSTIC)
def test_every_operation_has_its_probability_and_at_zero_draws_nothing(name, scans):
    frames = scans(1000, 32, 32)
    changed = int(((applied(name, frames, probability=0.3) - frames).abs().amax((1, 2, 3)) > 0).sum())
    low, high = stats.binom.interval(0.999, 1000, 0.3)
    assert low <= changed <= high
    left_alone = generator(5)
    out = OPERATIONS[name](frames.clone(), find_sector(frames), left_alone, probability=0.0)
    assert torch.equal(out, frames)
    assert torch.equal(left_alone.get_state(), generator(5).get_state())


@pytest.mark.parametrize("name", ACOUSTIC)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_frames_without_a_sector_do_no_harm(name, level):
    frames = torch.full((4, 1, 40, 40), level)
    out = applied(name, frames)
    assert out.isfinite().all()
    assert 0 <= out.min() <= out.max() <= 1
    if level == 0:
        assert torch.equal(out, frames)


def test_depth_gain_is_a_curve_of_half_cosines_through_its_knots():
    knots = torch.tensor([[1.0, 0.8, 1.3, 0.7, 1.1, 0.9], [0.7, 0.7, 1.2, 1.0, 1.0, 1.3]])
    depth = torch.linspace(0, 1, 101)
    for curve, values in zip(ultrasound.gain_curve(knots, depth), knots.numpy(), strict=True):
        expected = []
        for place in depth.numpy() * 5:
            k = min(int(place), 4)
            expected.append(values[k] + (values[k + 1] - values[k]) * (1 - math.cos(math.pi * (place - k))) / 2)
        torch.testing.assert_close(curve, torch.tensor(expected, dtype=torch.float32), atol=1e-5, rtol=0)


def test_depth_gain_is_the_same_along_an_arc_and_uniform_at_the_probe(scans):
    frames = scans(1500, 48, 48, level=0.5)
    depth = (find_sector(frames[:1]).places[:, 1] + 1) / 2
    gain = applied("tgc", frames)[:, 0] / 0.5
    inner = frames[0, 0] > 0
    for at in (0.0, 0.35, 0.8):
        arc = inner & ((depth[0] - at).abs() < 0.012)
        assert arc.sum() >= 3
        assert gain[:, arc].std(1).mean() < 0.02
    face = gain[:, inner[:, 24].int().argmax(), 24]  # the first pixel below the middle of the probe
    assert stats.kstest(face.numpy(), stats.uniform(0.7, 0.6).cdf).pvalue > 1e-3
    assert gain[:, inner].min() >= 0.7 - 1e-5
    assert gain[:, inner].max() <= 1.3 + 1e-5


def test_shadows_darken_along_rays_from_a_random_depth_down_to_the_bottom():
    frames = torch.full((1000, 1, 64, 64), 0.5)
    sector = find_sector(frames[:1])
    kept = applied("shadow", frames, loss=0.6, width=(0.06, 0.1)) / 0.5
    assert kept.max() <= 1 + 1e-6
    assert kept.min() >= 0.4**3 - 1e-5  # three stripes on one ray
    (apex_x, apex_y), (left, right) = sector.apex[0], sector.rays[0]
    depth = (torch.arange(64) + 0.5) / 64
    slopes = left + (right - left) * torch.linspace(0.1, 0.9, 60)
    places = torch.stack([apex_x + slopes[:, None] * (depth - apex_y), depth.expand(60, 64)], dim=-1)
    along = F.grid_sample(kept, (2 * places - 1).expand(1000, -1, -1, -1), align_corners=False)[:, 0]  # [B, 60, 64]
    assert along.diff(dim=2).max() < 0.02  # pixels beside the ray apart, it never brightens again
    bottom = kept[:, 0, -1].amin(1)
    assert (bottom < 1 - 0.3 + 0.02).float().mean() > 0.95  # at least half the loss, but for stripes at the very edge
    starts = (along.amin(1) < 0.97).int().argmax(1) / 64  # the first depth that is dark on some ray
    assert starts.max() <= ultrasound.DEEPEST_START + ultrasound.ONSET
    # The first of one to three starts, each uniform down to the deepest.
    rng = np.random.default_rng(0)
    earliest = ultrasound.DEEPEST_START * np.array([rng.random(rng.integers(1, 4)).min() for _ in range(4000)])
    expected = np.quantile(earliest, [0.25, 0.5, 0.75]) + ultrasound.ONSET / 4
    assert np.quantile(starts.numpy(), [0.25, 0.5, 0.75]).tolist() == pytest.approx(expected.tolist(), abs=0.05)


def test_a_frame_has_one_to_three_shadows_equally_often():
    lateral = (find_sector(torch.ones(1, 1, 64, 64)).places[0, 0, -1].numpy() + 1) / 2
    bottom = applied("shadow", torch.full((900, 1, 64, 64), 0.5), loss=0.8, width=(0.02, 0.04))[:, 0, -1] / 0.5
    rng = np.random.default_rng(0)
    reference = np.ones((8000, 64))
    count = rng.integers(1, 4, (8000, 1))
    for stripe in range(3):
        place, half, dark = (
            rng.random((8000, 1)),
            rng.uniform(0.02, 0.04, (8000, 1)),
            rng.uniform(0.4, 0.8, (8000, 1)),
        )
        reference *= 1 - (stripe < count) * dark * np.exp(-(((lateral - place) / half) ** 4))

    def shares(kept: np.ndarray) -> np.ndarray:
        dark = kept < 0.8
        found = (dark[:, 1:] & ~dark[:, :-1]).sum(1) + dark[:, 0]  # stripes on one another count once
        return np.bincount(found, minlength=4) / len(kept)

    assert shares(bottom.numpy()) == pytest.approx(shares(reference), abs=0.05)


def test_speckle_cells_are_noise_relative_to_the_pixel_that_is_wide_across_and_short_along_the_depth(scans):
    frames = scans(300, 96, 96, level=0.4)
    noise = applied("cells", frames, deviation=0.2)[:, 0] / 0.4 - 1
    inner = frames[0, 0] > 0
    assert noise[:, inner].mean().abs() < 0.005
    # The strength is uniform in 0..0.2 per sample, so the deviation over samples is 0.2 over root three.
    assert noise[:, inner].square().mean().sqrt().item() == pytest.approx(0.2 / math.sqrt(3), rel=0.06)
    brighter = applied("cells", frames * 2, deviation=0.2)[:, 0] / 0.8 - 1
    torch.testing.assert_close(brighter[:, inner].clamp(max=0.2), noise[:, inner].clamp(max=0.2), atol=1e-4, rtol=0)

    def correlation(down: int, across: int) -> float:
        block = noise[:, 70:85, 35:60]
        moved = noise[:, 70 + down : 85 + down, 35 + across : 60 + across]
        return float((block * moved).mean() / (block.square().mean() * moved.square().mean()).sqrt())

    assert correlation(0, 1) > 0.6
    assert correlation(0, 1) > correlation(1, 0) + 0.2
    assert abs(correlation(6, 0)) < 0.08
    assert abs(correlation(0, 12)) < 0.08


def test_haze_brightens_most_at_the_probe_and_fills_fluid_too(scans, fan):
    frames = scans(500, level=0.4)
    depth = (find_sector(frames[:1]).places[:, 1] + 1) / 2
    out = applied("haze", frames, level=0.3)
    inner, fluid = frames[0, 0] > 0, fan(64, 64) & (frames[0, 0] == 0)
    veil = (out - frames)[:, 0] / (1 - frames[:, 0])
    assert veil.min() >= -1e-6
    assert veil.max() <= 0.3 + 1e-6
    bands = [veil[:, inner & (depth[0] > at) & (depth[0] <= at + 0.1)].mean() for at in (0.0, 0.2, 0.4, 0.6, 0.8)]
    assert all(above > 1.3 * below for above, below in pairwise(bands))
    assert (out[:, 0, fluid].amax(1) > 0).all()
    at_probe = veil[:, inner & (depth[0] < 0.04)].mean(1)
    assert at_probe.min() > 0.15 * 0.5 * 0.7  # half the level, taken off by half by clouds
    assert at_probe.std() > 0.02


@pytest.mark.parametrize("size", [48, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", VIEWS)
def test_the_preset_gives_every_method_valid_views(name, channels, size, scans):
    frames = (scans(6, 65, 65)[:, 0] * 255).to(torch.uint8)
    frames = frames if channels == 1 else frames.unsqueeze(-1).expand(-1, -1, -1, 3).contiguous()
    untouched = frames.clone()
    settings = ViewSettings(preset="ultrasound", tgc=1, cells=1, haze=1, shadow=1)

    def views(seed: int, settings: ViewSettings) -> list[torch.Tensor]:
        return make_views(
            name, frames, frames, size=size, mean=[0.0] * channels, std=[1.0] * channels, generator=generator(seed),
            settings=settings,
        )  # fmt: skip

    first, again, other = views(0, settings), views(0, settings), views(1, settings)
    plain = views(0, ViewSettings())
    for a, b, c, d in zip(first, again, other, plain, strict=True):
        assert a.shape == d.shape
        assert a.isfinite().all()
        assert 0 <= a.min() <= a.max() <= 1 + 1e-6
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
        assert not torch.equal(a, d)
        torch.testing.assert_close(a[:, 0], a[:, -1])
    assert torch.equal(frames, untouched)
