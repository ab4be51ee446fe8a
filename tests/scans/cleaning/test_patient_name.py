"""A patient's name in the pixels is gone after cleaning: beside the sector, across its edge, and on the tissue."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ssl_zoo.scans.cleaning import CleaningSettings, look
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.reader import open_scan
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.scaling import Scaler, fit_box
from ssl_zoo.scans.sector_cut import look_over
from ssl_zoo.scans.table import read_scans
from tests.scans.cleaning.screens import font, read_video, write_video

NAME = "Muster E."
BESIDE, ACROSS, INSIDE = (3, 2), (8, 110), (96, 190)  # places (column, row) on a phantom's 256 x 256 pixels


def drawn(at: tuple[int, int], size: int = 13) -> np.ndarray:
    """The name in white on black at a place, uint8 [256, 256]."""
    image = Image.new("L", (256, 256))
    ImageDraw.Draw(image).text(at, NAME, fill=255, font=font(size))
    return np.asarray(image)


def likeness(image: np.ndarray, name: np.ndarray, reach: int = 5) -> float:
    """The largest normalised cross-correlation of the name with an image near its place, both [256, 256]."""
    rows, columns = np.flatnonzero(name.any(1)), np.flatnonzero(name.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    template = name[box].astype(np.float64)
    template -= template.mean()
    wide = np.pad(image.astype(np.float64), reach)
    best = 0.0
    for down in range(2 * reach + 1):
        for right in range(2 * reach + 1):
            part = wide[down:, right:][box]
            part = part - part.mean()
            power = np.sqrt((part**2).sum() * (template**2).sum())
            best = max(best, float((part * template).sum() / power) if power > 0 else 0.0)
    return best


def back(found, cleaned: np.ndarray) -> np.ndarray:
    """A cleaned frame at its place on the screen, [256, 256]."""
    screen = np.zeros(found.shape, np.uint8)
    top, left, height, width = found.box
    screen[top : top + height, left : left + width] = cleaned
    return screen


def beyond(found) -> np.ndarray:
    """What was cropped away, bool [256, 256]."""
    return ~back(found, np.ones(found.sector.shape, np.uint8)).astype(bool)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_planted_name_is_gone_from_every_frame(phantom, compressed, tmp_path):
    clean, truth = phantom
    names = [drawn(at) for at in (BESIDE, ACROSS, INSIDE)]
    assert not (names[0].astype(bool) & truth).any()
    assert 0.2 < (names[1].astype(bool) & truth).sum() / names[1].astype(bool).sum() < 0.8
    assert (names[2].astype(bool) & ~truth).sum() == 0
    planted = np.maximum(clean, np.maximum.reduce(names))
    if compressed:
        planted = read_video(write_video(tmp_path / "n.mp4", np.repeat(planted[..., None], 3, -1), crf=23))[..., 1]
        clean = read_video(write_video(tmp_path / "c.mp4", np.repeat(clean[..., None], 3, -1), crf=23))[..., 1]

    found = look(planted, CleaningSettings())
    cleaned = np.stack([back(found, found.clean(frame)) for frame in planted])
    for name in names:
        letters = name > 128
        assert likeness(planted.mean(0), name) > 0.8
        # The mean over time, in which tissue fades and letters would stand out, holds no more of it than tissue does.
        assert likeness(cleaned.mean(0), name) < max(0.3, likeness(clean.mean(0), name) + 0.1)
        for frame in cleaned:
            assert likeness(frame, name) < 0.45
        # Not one of its pixels was retained: each is black beside the sector, or filled from tissue.
        assert (back(found, found.overlays | ~found.sector).astype(bool) | beyond(found))[letters].all()
        outside = letters & ~back(found, found.sector).astype(bool)
        assert outside.sum() >= 0.8 * (letters & ~truth).sum()
        assert cleaned[:, outside].max(initial=0) == 0
    # What was not written on is as it was, up to compression.
    untouched = truth & ~np.maximum.reduce(names).astype(bool)
    untouched &= ~back(found, found.overlays).astype(bool)
    np.testing.assert_array_equal(cleaned[:, untouched], planted[:, untouched])
    assert back(found, found.overlays).astype(bool).sum() < 0.06 * truth.sum()


def unfitted(square: np.ndarray, found) -> np.ndarray:
    """A stored frame, letterboxed in its square, at its place and size on the screen, [256, 256]."""
    height, width = found.sector.shape
    across, down = fit_box(width, height, len(square))
    top, left = (len(square) - down) // 2, (len(square) - across) // 2
    return back(found, Scaler(width, height, 1)(square[top : top + down, left : left + across]))


def test_a_planted_name_is_in_a_store_that_is_not_cleaned_and_gone_from_one_that_is(phantom, tmp_path):
    clean, _ = phantom
    names = [drawn(at) for at in (BESIDE, ACROSS, INSIDE)]
    planted = np.maximum(clean, np.maximum.reduce(names))
    (tmp_path / "scans").mkdir()
    path = write_video(tmp_path / "scans/muster.mp4", np.repeat(planted[..., None], 3, -1))
    every = SamplerSettings("stride", every=1)
    stores = [
        build_store(
            read_scans(tmp_path / "scans"),
            tmp_path / ("cleaned" if cleaning else "plain"),
            sampler=every,
            size=256,
            workers=1,
            cleaning=cleaning,
            progress=False,
        )
        for cleaning in (None, CleaningSettings(black=False, frozen=False, split_screen=False))
    ]
    plain, cleaned = (store.batch(np.arange(len(planted))) for store in stores)
    assert plain.shape == cleaned.shape == planted.shape
    found = look_over(open_scan(path), CleaningSettings())
    screens = np.stack([unfitted(square, found) for square in cleaned])
    for name in names:
        assert likeness(plain.mean(0), name) > 0.8
        assert likeness(screens.mean(0), name) < max(0.3, likeness(clean.mean(0), name) + 0.1)
        assert max(likeness(screen, name) for screen in screens) < 0.45
        assert all(likeness(frame, name) > 0.6 for frame in plain)


def test_the_name_stays_where_the_steps_are_switched_off(phantom):
    clean, _ = phantom
    names = [drawn(at) for at in (BESIDE, INSIDE)]
    planted = np.maximum(clean, np.maximum.reduce(names))
    found = look(planted, CleaningSettings(sector="keep", overlays="keep"))
    np.testing.assert_array_equal(found.clean(planted[3]), planted[3])
    masked = look(planted, CleaningSettings(overlays="keep"))
    assert likeness(back(masked, masked.clean(planted[3])), names[1]) > 0.8
    assert likeness(back(masked, masked.clean(planted[3])), names[0]) < 0.3
