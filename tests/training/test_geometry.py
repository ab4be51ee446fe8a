"""Which part of a frame a view shows: crops, flips, rotation and tilt against their stated laws."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from ssl_zoo.training.affine import affine_grid
from ssl_zoo.training.geometry import ATTEMPTS, draw_crops, geometry
from ssl_zoo.training.sector import Sector, find_sector

WHOLE = {"crop_scale": (1, 1), "aspect": (1, 1), "flip": 0, "rotation": 0}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("scale", "aspect"), [((0.3, 1.0), (3 / 4, 4 / 3)), ((0.1, 0.4), (1 / 2, 3))])
def test_crops_follow_the_exact_law_of_area_aspect_and_place(scale, aspect):
    width, height, left, top = (values.numpy() for values in draw_crops(20000, generator(3), scale, aspect))
    (low, high), (narrow, wide) = scale, np.log(aspect)
    # Area and log-aspect are uniform, given that the crop fits: |log-aspect| <= -log(area).
    areas, ratios = np.meshgrid(
        low + (high - low) * (np.arange(800) + 0.5) / 800, narrow + (wide - narrow) * (np.arange(800) + 0.5) / 800
    )
    fits = np.abs(ratios) <= -np.log(areas)
    for values, axis, bounds in ((width * height, 0, scale), (np.log(width / height), 1, (narrow, wide))):
        steps = np.concatenate([[0.0], np.cumsum(fits.sum(axis)) / fits.sum()])
        places = np.linspace(*bounds, 801)
        assert stats.kstest(values, lambda x, p=places, s=steps: np.interp(x, p, s)).pvalue > 1e-3
    for start, extent in ((left, width), (top, height)):
        assert start.min() >= 0
        assert (start + extent).max() <= 1 + 1e-6
        assert stats.kstest(start / (1 - extent), "uniform").pvalue > 1e-3
    places = left / (1 - width), top / (1 - height)
    assert abs(stats.spearmanr(*places).statistic) < 0.03


@pytest.mark.parametrize("scale", [(0.5, 1.0), (0.08, 1.0)])
def test_crops_that_do_not_fit_are_drawn_again_as_in_torchvision(scale):
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    image = torch.zeros(1, 1, 1).expand(1, 10000, 10000)  # so large that whole pixels do not matter
    boxes = [RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(2000)]
    top, left, height, width = torch.tensor(boxes, dtype=torch.float64).T / 10000
    ours = draw_crops(2000, generator(), scale, (3 / 4, 4 / 3))
    for own, theirs in ((ours[0] * ours[1], width * height), *zip(ours, (width, height, left, top), strict=True)):
        assert stats.ks_2samp(own.numpy(), theirs.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 1.0])
def test_flips_have_their_probability_and_mirror_left_and_right(probability):
    images = torch.zeros(2000, 8, 8, dtype=torch.uint8)
    images[:, :, :4] = 255
    view = geometry(images.unsqueeze(1), 8, generator(), crop_scale=(1, 1), aspect=(1, 1), flip=probability, rotation=0)
    flipped = view[:, 0, 0, 0] < 0.5
    low, high = stats.binom.interval(0.999, 2000, probability)
    assert low <= int(flipped.sum()) <= high
    if 0 < probability < 1:
        torch.testing.assert_close(view[flipped][0], view[~flipped][0].flip(-1))


def test_rotation_turns_about_the_centre_within_its_bounds():
    images = torch.zeros(500, 64, 64, dtype=torch.uint8)
    images[:, 30:34, 44:60] = 255  # a bar to the right of the centre
    view = geometry(images.unsqueeze(1), 64, generator(), crop_scale=(1, 1), aspect=(1, 1), flip=0, rotation=30)[:, 0]
    y, x = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    mass = view.sum((1, 2))
    cx, cy = (view * x).sum((1, 2)) / mass, (view * y).sum((1, 2)) / mass
    torch.testing.assert_close((cx**2 + cy**2).sqrt(), torch.full((500,), 20.0), atol=0.3, rtol=0)
    degrees = torch.rad2deg(torch.atan2(cy, cx))
    assert degrees.abs().max() < 30.5
    assert degrees.std().item() == pytest.approx(60 / math.sqrt(12), rel=0.1)


@pytest.mark.parametrize("size", [7, 64])
def test_grids_are_those_of_torch(size):
    theta = torch.randn(5, 2, 3, generator=generator())
    expected = F.affine_grid(theta, [5, 1, size, size], align_corners=False)
    torch.testing.assert_close(affine_grid(theta, size), expected, atol=1e-6, rtol=0)


def test_tilt_swings_the_frame_about_the_probes_face_by_a_uniform_angle(fan):
    frames = torch.zeros(1500, 1, 65, 65)
    sector = find_sector((fan(65, 65) * 0.5).expand(1, 1, 65, 65))
    sector = repeated(sector, 1500)
    face_x, face_y = (sector.face[0] * 65).tolist()
    frames[:, :, 48:51, 31:34] = 1.0  # a dot below the face
    view = geometry(frames, 65, generator(), **WHOLE, tilt=10.0, sector=sector)[:, 0]
    y, x = torch.meshgrid(torch.arange(65) + 0.5, torch.arange(65) + 0.5, indexing="ij")
    mass = view.sum((1, 2))
    dx, dy = (view * x).sum((1, 2)) / mass - face_x, (view * y).sum((1, 2)) / mass - face_y
    torch.testing.assert_close(torch.hypot(dx, dy), torch.full_like(dx, 49.5 - face_y), atol=0.15, rtol=0)
    degrees = torch.rad2deg(torch.atan2(dx, dy))
    assert stats.kstest(degrees.numpy(), stats.uniform(-10, 20).cdf).pvalue > 1e-3
    upright = geometry(frames[:2], 65, generator(), **WHOLE, tilt=0.0)
    assert torch.equal(upright, geometry(frames[:2], 65, generator(), **WHOLE))


def repeated(sector: Sector, times: int) -> Sector:
    """The sector of one frame for as many frames."""
    values = {name: getattr(sector, name) for name in ("lit", "apex", "depths", "rays")}
    return dataclasses.replace(
        sector, **{name: value.expand(times, *value.shape[1:]) for name, value in values.items()}
    )


def crop_boxes(
    mask: torch.Tensor, batch: int, min_content: float, scale: tuple[float, float], seed: int = 0
) -> torch.Tensor:
    """Left, right, top and bottom `[4, B]` of crops of a fan, read from views of ramps that run along its sides."""
    sector = find_sector((mask * 0.5).expand(1, 1, 64, 64))
    sector = repeated(sector, batch)
    ramp = ((torch.arange(64) + 0.5) / 64).expand(64, 64)
    ramps = torch.stack([ramp, ramp.T]).expand(batch, 2, 64, 64)
    view = geometry(
        ramps, 32, generator(seed), crop_scale=scale, aspect=(3 / 4, 4 / 3), flip=0, rotation=0,
        min_content=min_content, sector=sector,
    )  # fmt: skip
    across, down = view[:, 0, 16], view[:, 1, :, 16]  # [B, 32] places of the view's pixels in the frame

    def edges(places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        step = (places[:, 20] - places[:, 11]) / 9
        return places[:, 11] - 11.5 * step, places[:, 20] + 11.5 * step

    return torch.stack([*edges(across), *edges(down)])


def held(mask: torch.Tensor, boxes: torch.Tensor) -> np.ndarray:
    """The share of the fan that each box `[4, B]` holds."""
    mask = mask.double()
    table = torch.zeros(65, 65, dtype=torch.float64)
    table[1:, 1:] = mask.cumsum(0).cumsum(1)

    def below(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:  # the table between its nodes
        y, x = (64 * y.double()).clamp(0, 63.999), (64 * x.double()).clamp(0, 63.999)
        i, j, a, b = y.long(), x.long(), y % 1, x % 1
        return (1 - a) * ((1 - b) * table[i, j] + b * table[i, j + 1]) + a * (
            (1 - b) * table[i + 1, j] + b * table[i + 1, j + 1]
        )

    left, right, top, bottom = boxes
    inside = below(bottom, right) - below(top, right) - below(bottom, left) + below(top, left)
    return (inside / mask.sum()).numpy()


def test_crops_hold_the_content_that_is_asked_for_and_follow_the_law_of_redraws(fan):
    mask = fan(64, 64)
    boxes = crop_boxes(mask, 3000, 0.4, (0.2, 1.0))
    free = crop_boxes(mask, 3000, 0.0, (0.2, 1.0), seed=1)
    assert (held(mask, free) < 0.4).mean() > 0.15  # the constraint binds
    assert (held(mask, boxes) < 0.38).mean() < 0.002
    # The law: the crops of RandomResizedCrop that hold enough, as they come.
    reference = torch.cat([crop_boxes(mask, 3000, 0.0, (0.2, 1.0), seed=seed) for seed in range(2, 5)], dim=1)
    reference = reference[:, torch.from_numpy(held(mask, reference) >= 0.4)]
    for ours, theirs in zip(_descriptions(boxes), _descriptions(reference), strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


def _descriptions(boxes: torch.Tensor) -> list[np.ndarray]:
    left, right, top, bottom = boxes.double().numpy()
    return [(right - left) * (bottom - top), np.log((right - left) / (bottom - top)), left + right, top + bottom]


def test_a_crop_that_cannot_hold_enough_is_the_best_of_ten(fan):
    mask = fan(64, 64)
    boxes = held(mask, crop_boxes(mask, 1000, 1.0, (0.2, 0.3)))
    free = held(mask, crop_boxes(mask, 1000, 0.0, (0.2, 0.3), seed=1))
    best = np.random.default_rng(0).choice(free, (4000, ATTEMPTS)).max(1)
    assert stats.ks_2samp(boxes, best).pvalue > 1e-4
    assert boxes.mean() > free.mean() + 0.05


def test_the_content_of_a_crop_is_that_after_its_rotation():
    corner = torch.zeros(400, 64, 64, dtype=torch.uint8)
    corner[:, 40:, :24] = 200
    view = geometry(
        corner.unsqueeze(1), 32, generator(), crop_scale=(0.5, 0.6), aspect=(1, 1), flip=0.5, rotation=90,
        min_content=0.5,
    )  # fmt: skip
    lit = (view > 0.4).float().mean((1, 2, 3)) * 0.55 / (24 * 24 / 64**2)  # about the share that is held
    assert (lit < 0.4).float().mean() < 0.03
