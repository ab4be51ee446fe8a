"""Near duplicates in a store: the same rows as by comparing all with all, in far less time and little memory."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest

from ssl_zoo.scans.cleaning import frame_hash, frame_hashes, near_duplicate_rows
from ssl_zoo.scans.cleaning.duplicates import BITS
from tests.scans.cleaning import screens


def one_by_one(hashes: np.ndarray, max_distance: int) -> np.ndarray:
    """What is near an earlier row that is kept, by comparing each row with all kept before it."""
    words = hashes.reshape(len(hashes), -1)
    drop = np.zeros(len(words), bool)
    for row in range(len(words)):
        kept = np.flatnonzero(~drop[:row])
        apart = BITS[(words[kept] ^ words[row]).view(np.uint16)].sum(1, dtype=int)
        drop[row] = (apart <= max_distance).any()
    return drop


def with_copies(hashes: np.ndarray, rng: np.random.Generator, share: float = 0.3) -> np.ndarray:
    """Some rows replaced by earlier or later ones with up to 5 bits changed."""
    words = hashes.reshape(len(hashes), -1).copy()
    for row in rng.choice(len(words), int(share * len(words)), replace=False):
        words[row] = words[rng.integers(len(words))]
        for bit in rng.integers(0, 64 * words.shape[1], rng.integers(0, 6)):
            words[row, bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return words.reshape(hashes.shape)


@pytest.mark.parametrize("max_distance", [0, 3, 7])
@pytest.mark.parametrize("words", [1, 4])
def test_the_rows_are_those_of_comparing_all_with_all(max_distance, words):
    rng = np.random.default_rng(max_distance)
    shape = (1500,) if words == 1 else (1500, words)
    hashes = with_copies(rng.integers(0, 2**64, shape, dtype=np.uint64), rng)
    hashes[::7] &= np.uint64(0xFFFF)  # crowded bands
    expected = one_by_one(hashes, max_distance)
    found = near_duplicate_rows(hashes, max_distance)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < 1500


def test_the_first_of_copies_is_kept_wherever_they_lie():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 3000, dtype=np.uint64)
    hashes[[5, 900, 2999]] = hashes[5]
    assert np.flatnonzero(near_duplicate_rows(hashes)).tolist() == [900, 2999]
    assert near_duplicate_rows(np.full(2000, 7, np.uint64)).sum() == 1999
    assert near_duplicate_rows(np.empty(0, np.uint64)).shape == (0,)
    assert not near_duplicate_rows(hashes[:1]).any()


def test_thumbnails_have_to_bear_it_out():
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (6, 32, 32), dtype=np.uint8)
    frames[3] = frames[0]
    frames[4] = np.clip(frames[1].astype(int) * 0.9 + 5, 0, 255)
    hashes = np.zeros(6, np.uint64)  # as if all frames were alike
    assert near_duplicate_rows(hashes).sum() == 5
    assert np.flatnonzero(near_duplicate_rows(hashes, thumbnails=frames)).tolist() == [3, 4]
    colours = np.repeat(frames[..., None], 3, axis=-1)
    assert np.flatnonzero(near_duplicate_rows(hashes, thumbnails=colours)).tolist() == [3, 4]
    assert np.flatnonzero(near_duplicate_rows(hashes, thumbnails=frames, min_correlation=0.2)).tolist() == [3, 4]


def test_a_frame_of_one_grey_repeats_another_of_one_grey_and_no_other_frame():
    varied = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    frames = np.stack([np.full((32, 32), 90, np.uint8), varied, np.full((32, 32), 91, np.uint8)])
    hashes = np.zeros(3, np.uint64)
    assert near_duplicate_rows(hashes, thumbnails=frames).tolist() == [False, False, True]
    assert near_duplicate_rows(hashes[:2], thumbnails=frames[1::-1]).tolist() == [False, False]


def test_copies_of_a_frame_are_found_after_compression_and_other_frames_stay(tmp_path):
    frames = np.stack([screens.tissue(1, seed, 144, 192)[0] for seed in range(8)])
    frames = frames * screens.sector_of("convex", 144, 192)
    again = screens.read_video(screens.write_video(tmp_path / "c.mp4", np.repeat(frames[..., None], 3, -1), crf=28))
    first, second = frame_hashes(frames), frame_hashes(again)
    assert BITS[(first ^ second)[:, None].view(np.uint16)].sum(1).max() <= 3
    thumbnails = np.concatenate([frames, again[..., 1]])
    found = near_duplicate_rows(np.concatenate([first, second]), thumbnails=thumbnails, min_correlation=0.95)
    assert found.tolist() == [False] * 8 + [True] * 8


def test_a_hash_is_one_number_the_same_for_one_frame_and_for_many():
    frames = screens.tissue(3, 1, 64, 64)
    hashes = frame_hashes(frames)
    assert hashes.dtype == np.uint64
    assert hashes.shape == (3,)
    assert [int(frame_hash(frame)) for frame in frames] == hashes.tolist()
    assert frame_hash(np.repeat(frames[0][..., None], 3, -1)) == hashes[0]
    assert frame_hash(np.zeros((64, 64), np.uint8)) == 0
    assert frame_hash(np.full((5, 4), 9, np.uint8)) == 0  # frames smaller than the raster are no error


def test_copies_do_not_make_it_quadratic_and_memory_is_bounded():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    hashes[10_000:] = hashes[rng.integers(0, 50, 10_000)]
    tracemalloc.start()
    start = time.process_time()
    found = near_duplicate_rows(hashes, 3)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found[10_000:].all()
    assert not found[:10_000].any()
    assert seconds < 20
    assert peak < 100e6
