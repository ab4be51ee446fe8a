from __future__ import annotations

import itertools

import numpy as np
import pytest

from ssl_zoo.scans.descriptors import BATCH, DIMENSIONS, describe, describe_all
from ssl_zoo.scans.samplers.k_centre import MOST_BYTES


def pictures(n: int = 6, height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth random pictures of grey levels 20 to 180, uint8 [n, height, width]."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(size=(n, 6, 6))
    down, right = (np.cos(np.pi * np.outer(np.arange(6), np.arange(m) + 0.5) / m) for m in (height, width))
    smooth = np.einsum("nuv,uh,vw->nhw", waves, down, right)
    smooth -= smooth.min((1, 2), keepdims=True)
    return (20 + 160 * smooth / smooth.max((1, 2), keepdims=True)).astype(np.uint8)


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(float), other.astype(float)
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def test_a_descriptor_is_bytes_of_one_length_few_enough_for_exact_distances():
    found = describe(pictures())
    assert (found.dtype, found.shape) == (np.int8, (6, DIMENSIONS))
    assert DIMENSIONS <= MOST_BYTES
    np.testing.assert_allclose(np.linalg.norm(found.astype(float), axis=1), 127 * np.sqrt(2), rtol=0.01)


def test_gain_and_offset_do_not_matter():
    frames = pictures()
    changed = np.rint(frames * 0.6 + 30).astype(np.uint8)
    assert cosine(describe(frames), describe(changed)).min() > 0.995


def test_other_pictures_have_other_descriptors():
    found = describe(pictures(20))
    assert np.abs(cosine(found[:10], found[10:])).max() < 0.8
    frames = pictures()
    assert cosine(describe(frames), describe(frames[:, :, ::-1])).max() < 0.8
    assert cosine(describe(frames), describe(255 - frames)).max() < 0.2


def test_a_frame_that_moves_a_little_changes_a_little():
    frames = pictures(height=64, width=80)
    away = [cosine(describe(frames[:, :, :64]), describe(frames[:, :, shift : 64 + shift])) for shift in (0, 1, 2, 8)]
    assert (away[0] > 1 - 1e-9).all()
    assert all((nearer > farther).all() for nearer, farther in itertools.pairwise(away))
    assert away[1].min() > 0.98


def test_the_size_of_the_picture_does_not_matter():
    small = pictures(height=64, width=64)
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_array_equal(describe(small), describe(large))
    uneven = pictures(height=50, width=90)
    boxed = np.zeros((6, 90, 90), np.uint8)
    boxed[:, 20:70] = uneven
    np.testing.assert_array_equal(describe(uneven), describe(boxed))
    assert describe(pictures(height=8, width=8)).shape == (6, DIMENSIONS)


def test_colour_is_described_by_its_mean():
    frames = pictures()
    np.testing.assert_array_equal(describe(frames), describe(np.stack([frames] * 3, axis=-1)))


@pytest.mark.parametrize("level", [0, 7, 255])
def test_blank_frames_are_like_each_other_and_unlike_all_else(level):
    blank = describe(np.full((1, 64, 64), level, np.uint8))
    black = describe(np.zeros((1, 64, 64), np.uint8))
    np.testing.assert_array_equal(blank, black)
    assert np.abs(cosine(np.repeat(blank, 6, axis=0), describe(pictures()))).max() == 0


def test_a_frame_has_the_same_descriptor_in_any_company():
    frames = pictures(BATCH + 3, 48, 48)
    together = np.concatenate(list(describe_all(frames)))
    np.testing.assert_array_equal(together, np.concatenate([describe(frame[None]) for frame in frames]))
