"""Views: shapes, ranges, laws, seeds, and each operation against its definition."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from ssl_zoo.training import operations
from ssl_zoo.training.views import VIEWS, ViewRecipe, ViewSettings, augment, local_size, make_views, view_recipes

torch.set_num_threads(1)
PLAIN = ViewRecipe(crop_scale=(1, 1), aspect=(1, 1), flip=0, jitter=0, blur=0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def textured(batch: int, size: int = 64, channels: int = 1) -> torch.Tensor:
    shape = (batch, size, size) if channels == 1 else (batch, size, size, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(9))


def views_of(name: str, images: torch.Tensor, seed: int = 0, settings: ViewSettings | None = None, size: int = 64):
    channels = 1 if images.ndim == 3 else 3
    return make_views(
        name,
        images,
        images,
        size=size,
        mean=[0.0] * channels,
        std=[1.0] * channels,
        generator=generator(seed),
        settings=settings,
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", VIEWS)
def test_views_have_their_shape_and_lie_in_the_range_of_intensities(name, channels):
    images = textured(6, channels=channels)
    untouched = images.clone()
    views = views_of(name, images)
    assert [view.shape for view in views] == [
        (6, channels, *([local_size(64)] * 2 if recipe.small else [64, 64])) for recipe in VIEWS[name]
    ]
    for view in views:
        assert view.dtype == torch.float32
        assert view.is_contiguous() or view.is_contiguous(memory_format=torch.channels_last)
        assert view.min() >= 0
        assert view.max() <= 1 + 1e-6
    assert torch.equal(images, untouched)


@pytest.mark.parametrize("name", VIEWS)
def test_one_seed_repeats_bit_for_bit_and_two_differ(name):
    images = textured(8)
    first, again, other = views_of(name, images, 1), views_of(name, images, 1), views_of(name, images, 2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_views_leave_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    views_of("asymmetric", textured(4))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_view_without_operations_is_the_normalised_frame():
    images = textured(3, channels=3)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    view = augment(images, size=64, mean=mean, std=std, generator=generator(), recipe=PLAIN)
    expected = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(view, expected, atol=1e-4, rtol=1e-4)


def test_pairs_come_from_the_first_and_the_second_frame_in_turn():
    dark, bright = torch.zeros(2, 32, 32, dtype=torch.uint8), torch.full((2, 32, 32), 200, dtype=torch.uint8)
    settings = ViewSettings(noise=0, jitter=0, blur=0, solarise=0)
    views = make_views(
        "multi_crop", dark, bright, size=32, mean=[0.0], std=[1.0], generator=generator(), settings=settings
    )
    assert [bool(view.mean() > 0.3) for view in views] == [False, True] * 3


def test_a_frame_larger_than_the_view_is_averaged_and_not_aliased():
    board = (torch.arange(256)[:, None] + torch.arange(256)) % 2 * 255
    images = board.to(torch.uint8).expand(4, 256, 256)
    view = augment(images, size=64, mean=[0.0], std=[1.0], generator=generator(), recipe=PLAIN)
    torch.testing.assert_close(view, torch.full_like(view, 0.5), atol=0.01, rtol=0)


def test_blur_equals_a_gaussian_and_keeps_a_flat_image():
    view = torch.zeros(1, 1, 33, 33)
    view[..., 16, 16] = 1
    sigma = 1.5
    blurred = operations.blur(view.clone(), generator(), probability=1, sigma=(sigma * 224 / 33,) * 2)
    taps = torch.exp(-0.5 * (torch.arange(-5, 6) / sigma) ** 2)
    expected = torch.outer(taps, taps) / taps.sum() ** 2
    torch.testing.assert_close(blurred[0, 0, 11:22, 11:22], expected, atol=1e-5, rtol=0)
    flat = torch.full((3, 1, 20, 20), 0.4)
    torch.testing.assert_close(operations.blur(flat.clone(), generator(), probability=1, sigma=(0.1, 9.0)), flat)


def test_every_sample_has_its_own_draw_and_operations_their_probability():
    view = torch.full((4000, 1, 2, 2), 0.4)
    out = operations.intensity(view.clone(), generator(), probability=0.8, gain=0.4, contrast=0.0, gamma=0.0)
    value = out[:, 0, 0, 0]
    changed = value != 0.4
    assert changed.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert value.min() >= 0.4 * 0.6 - 1e-6
    assert value.max() <= 0.4 * 1.4 + 1e-6
    assert value[changed].std().item() == pytest.approx(0.4 * 0.8 / math.sqrt(12), rel=0.05)


def test_contrast_keeps_the_mean_and_gamma_keeps_black_and_white():
    ramp = torch.linspace(0.3, 0.7, 16).view(1, 1, 4, 4).repeat(64, 1, 1, 1)
    out = operations.intensity(ramp.clone(), generator(), probability=1, gain=0, contrast=0.4, gamma=0)
    torch.testing.assert_close(out.mean((1, 2, 3)), ramp.mean((1, 2, 3)))
    spread = out.amax((1, 2, 3)) - out.amin((1, 2, 3))
    assert 0.6 * 0.4 - 1e-4 <= spread.min() < spread.max() <= 1.4 * 0.4 + 1e-4
    ends = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(64, 1, 1, 1)
    assert torch.equal(
        operations.intensity(ends.clone(), generator(), probability=1, gain=0, contrast=0, gamma=0.5), ends
    )


def test_speckle_grows_with_the_pixel_and_grain_does_not():
    view = torch.full((2000, 1, 1, 2), 0.2)
    view[..., 1] = 0.8
    # The strength is uniform in 0..1 per sample, so the deviation over samples is that of the draw over root
    # three.
    speckled = operations.noise(view.clone(), generator(), probability=1, speckle=0.1, grain=0.0) - view
    grained = operations.noise(view.clone(), generator(), probability=1, speckle=0.0, grain=0.05) - view
    torch.testing.assert_close(speckled.std(0).flatten(), torch.tensor([0.02, 0.08]) / math.sqrt(3), rtol=0.1, atol=0)
    torch.testing.assert_close(grained.std(0).flatten(), torch.full((2,), 0.05) / math.sqrt(3), rtol=0.1, atol=0)


def test_solarise_inverts_the_bright_half():
    view = torch.tensor([0.1, 0.49, 0.6, 1.0]).view(1, 1, 1, 4)
    out = operations.solarise(view.clone(), generator(), probability=1)
    torch.testing.assert_close(out.flatten(), torch.tensor([0.1, 0.49, 0.4, 0.0]))


def test_channels_of_a_grey_frame_stay_equal():
    images = textured(8).unsqueeze(-1).expand(-1, -1, -1, 3).contiguous()
    for view in views_of("asymmetric", images):
        torch.testing.assert_close(view[:, 0], view[:, 2])


# One pixel of each view of the fourth of eight frames, as first released: whoever changes these numbers changes what
# every experiment with default settings computes.
AS_RELEASED = {
    "two_view": [0.5681, 0.4215],
    "two_view_solarised": [0.5681, 0.3853],
    "asymmetric": [0.5545, 0.1107],
    "multi_crop": [0.1329, 0.3866, 0.4252, 0.4521, 0.4820, 0.3762],
    "single": [0.3790],
    "mild": [0.4393],
}


@pytest.mark.parametrize("name", AS_RELEASED)
def test_default_views_are_drawn_as_they_ever_were(name):
    views = views_of(name, textured(8), seed=1)
    assert [float(view[3, 0, 11, 5]) for view in views] == pytest.approx(AS_RELEASED[name], abs=2e-4)


def test_the_autoencoder_sees_the_whole_frame_flipped_and_mildly_changed():
    images = textured(400, size=32)
    plain = images.float().unsqueeze(1) / 255
    (view,) = views_of("autoencoder", images, settings=ViewSettings(crop_scale=(0.3, 1.0), blur=1.0), size=32)
    straight, mirrored = (view - plain).abs().mean((1, 2, 3)), (view - plain.flip(-1)).abs().mean((1, 2, 3))
    assert torch.minimum(straight, mirrored).max() < 0.16  # a frame that is not there differs by 0.33
    flips = int((mirrored < straight).sum())
    low, high = stats.binom.interval(0.999, 400, 0.5)
    assert low <= flips <= high
    unchanged = int((torch.minimum(straight, mirrored) < 1e-5).sum())
    assert low <= unchanged <= high  # intensity changes have probability 0.5
    assert len(view_recipes("autoencoder")) == 1


def test_local_crops_are_96_of_224_pixels_and_multiples_of_16():
    assert [local_size(size) for size in (32, 64, 96, 128, 224)] == [16, 32, 48, 48, 96]
