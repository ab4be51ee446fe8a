"""A look as a whole: crops, colours, and settings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from ssl_zoo.errors import UserError
from ssl_zoo.scans.cleaning import CleaningSettings, look
from tests.scans.cleaning import screens


def with_flow(frames: np.ndarray) -> np.ndarray:
    """Colour flow in a box on the tissue."""
    rng = np.random.default_rng(0)
    frames = frames.copy()
    for frame in frames:
        moving = ndimage.gaussian_filter(rng.standard_normal((80, 100)), 4)
        part = frame[260:340, 300:400]
        part[moving > 0.03] = (210, 40, 20)
        part[moving < -0.03] = (20, 60, 220)
    return frames


def test_sector_keep_crop_and_mask_are_three_things():
    shown = screens.furnish(screens.screen("convex", frames=6))
    frame = shown.frames[0]
    keep, crop, mask = (look(shown.frames, CleaningSettings(sector, "keep")) for sector in ("keep", "crop", "mask"))
    np.testing.assert_array_equal(keep.clean(frame), frame)
    top, left, height, width = crop.box
    assert crop.box == mask.box != keep.box
    np.testing.assert_array_equal(crop.clean(frame), frame[top : top + height, left : left + width])
    masked = mask.clean(frame)
    np.testing.assert_array_equal(masked[mask.sector], crop.clean(frame)[mask.sector])
    assert (masked[~mask.sector] == 0).all()
    assert mask.sector.any(0).all()  # the box is no larger than the sector
    assert mask.sector.any(1).all()


def test_grey_and_colour_frames_are_cleaned_alike_and_the_frame_given_is_left_as_it_was():
    shown = screens.furnish(screens.screen("convex", frames=6))
    screens.calipers(shown)
    found = look(shown.frames, CleaningSettings())
    frame = shown.frames[2]
    before = frame.copy()
    colour = found.clean(frame)
    np.testing.assert_array_equal(frame, before)
    for channel in range(3):
        np.testing.assert_array_equal(found.clean(np.ascontiguousarray(frame[..., channel])), colour[..., channel])
    with pytest.raises(ValueError, match="pixels in a scan of"):
        found.clean(frame[:-1])


def test_colour_flow_is_told_and_costs_the_scan_only_where_that_is_wanted():
    frames = with_flow(screens.screen("convex", frames=6).frames)
    kept = look(frames, CleaningSettings())
    assert kept.reason is None
    assert "colour flow" in kept.note
    share = (80 * 100) / screens.sector_of("convex").sum()
    assert 0.4 * share < kept.colour_share < share
    assert (np.ptp(kept.clean(frames[0]).astype(int), axis=-1) > 100).any()  # the colours are still there
    assert look(frames, CleaningSettings(colour="drop")).reason == "colour flow"
    assert look(frames, CleaningSettings(colour="drop", colour_share=0.5)).reason is None
    assert look(np.ascontiguousarray(frames[..., 0]), CleaningSettings(colour="drop")).colour_share == 0


def test_tinted_greys_are_no_colour_flow():
    frames = screens.screen("convex", frames=6).frames
    sepia = (frames * np.array([1.0, 0.8, 0.5])).astype(np.uint8)
    assert look(sepia, CleaningSettings(colour="drop")).reason is None
    assert look(sepia, CleaningSettings()).colour_share < 0.001
    assert look(with_flow(sepia), CleaningSettings(colour="drop")).reason == "colour flow"


def test_the_same_frames_give_the_same_cleaning():
    shown = screens.furnish(screens.screen("phased", frames=6))
    one, other = (look(shown.frames, CleaningSettings()) for _ in range(2))
    assert one.box == other.box
    np.testing.assert_array_equal(one.sector, other.sector)
    np.testing.assert_array_equal(one.overlays, other.overlays)


def test_of_many_frames_sixteen_are_looked_at():
    frames = screens.tissue(4, height=120, width=160)
    many = np.concatenate([frames] * 10)
    assert look(many, CleaningSettings()).box == (0, 0, 120, 160)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sector": "masks"}, r"frames\.cleaning\.sector 'masks'; did you mean 'mask'\?"),
        ({"overlays": "paint"}, r"frames\.cleaning\.overlays 'paint'"),
        ({"duplicates": "stores"}, "did you mean 'store'"),
        ({"colour": "grey"}, "colour 'grey'"),
        ({"overlay_share": 5}, r"frames\.cleaning\.overlay_share is 5"),
        ({"colour_share": -0.1}, "colour_share is -0.1"),
        ({"max_distance": 16}, "max_distance is 16"),
        ({"min_correlation": 0.0}, "min_correlation is 0.0"),
        ({"min_correlation": float("nan")}, "min_correlation is nan"),
        ({"overlay_share": float("nan")}, "overlay_share is nan"),
    ],
)
def test_a_setting_that_cannot_be_is_named(change, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(CleaningSettings(), **change).check()
    with pytest.raises(UserError, match=words):
        look(np.zeros((2, 8, 8), np.uint8), dataclasses.replace(CleaningSettings(), **change))


def test_every_step_can_be_switched_off():
    nothing = CleaningSettings("keep", "keep", black=False, frozen=False, split_screen=False, max_distance=5)
    nothing.check()
    assert not nothing.anything
    assert CleaningSettings().anything
    for change in ({"sector": "crop"}, {"black": True}, {"duplicates": "scan"}, {"colour": "drop"}):
        assert dataclasses.replace(nothing, **change).anything
    found = look(screens.furnish(screens.screen("convex", frames=4)).frames, nothing)
    assert found.box == (0, 0, screens.HEIGHT, screens.WIDTH)
    assert found.reason is None
