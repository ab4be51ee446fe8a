"""Frames that show nothing, nothing new or two images are dropped; all others are kept."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_zoo.scans.cleaning import REASONS, CleaningSettings, look, reason_to_drop
from ssl_zoo.scans.cleaning.drops import thumbnail
from tests.scans.cleaning import screens

SETTINGS = CleaningSettings()


def reasons(frames: np.ndarray, settings: CleaningSettings = SETTINGS) -> list[str | None]:
    """The reason of each frame, each compared with the last one that was kept."""
    previous, found = None, []
    for frame in frames:
        found.append(reason_to_drop(frame, previous, settings))
        previous = frame if found[-1] is None else previous
    return found


def test_live_frames_are_all_kept(phantom):
    for frames in (phantom[0], screens.screen("phased", frames=6).frames, screens.screen("linear", frames=6).frames):
        assert set(reasons(frames)) == {None}


def test_black_frames_are_dropped_and_dark_ones_are_not():
    frames = screens.screen("convex", frames=4).frames.copy()
    frames[1] = 3  # video black is rarely 0
    frames[2] = frames[2] // 4
    frames[3] = 0
    frames[3, 300:306, 300:306] = 255  # a cursor
    assert reasons(frames) == [None, "black", None, "black"]
    assert reasons(frames, CleaningSettings(black=False))[1] is None


@pytest.mark.parametrize("crf", [18, 28])
def test_frozen_frames_of_a_compressed_video_are_dropped_and_the_first_is_kept(crf, tmp_path):
    live = screens.screen("convex", frames=6).frames
    frozen = np.concatenate([live[:3], np.repeat(live[2:3], 9, 0), live[3:]])
    decoded = screens.read_video(screens.write_video(tmp_path / "f.mp4", frozen, crf=crf))
    assert reasons(decoded) == [None] * 3 + ["frozen"] * 9 + [None] * 3
    assert reasons(decoded, CleaningSettings(frozen=False)) == [None] * 15


def test_a_clock_beside_the_sector_does_not_thaw_a_frozen_scan():
    live = screens.screen("convex", frames=6).frames
    shown = screens.Screen(np.concatenate([live[:4], np.repeat(live[3:4], 4, 0)]), screens.sector_of("convex"))
    screens.clock(shown)
    found = look(shown.frames, SETTINGS)
    assert reasons(np.stack([found.clean(frame) for frame in shown.frames])) == [None] * 4 + ["frozen"] * 4


def test_a_frozen_frame_on_which_calipers_are_drawn_is_still_frozen():
    live = screens.screen("convex", frames=4)
    measured = screens.Screen(np.repeat(live.frames[3:], 2, 0), live.sector)
    screens.calipers(measured)
    assert reasons(np.concatenate([live.frames, measured.frames])) == [None] * 4 + ["frozen"] * 2


def test_split_screens_are_dropped_also_where_only_a_cropped_part_is_left(tmp_path):
    single = screens.screen("convex", frames=6).frames
    mixed = np.concatenate([single[:6], screens.dual(frames=2).frames])
    decoded = screens.read_video(screens.write_video(tmp_path / "d.mp4", mixed))
    found = look(decoded, SETTINGS)
    for number, frame in enumerate(decoded):
        reason = reason_to_drop(found.clean(frame), None, SETTINGS, screen=frame)
        assert reason == ("split screen" if number >= 6 else None)
    assert reason_to_drop(decoded[7], None, SETTINGS) == "split screen"
    assert reason_to_drop(decoded[7], None, CleaningSettings(split_screen=False)) is None


@pytest.mark.parametrize("shape", screens.SHAPES)
def test_one_sector_with_a_shadow_through_its_middle_is_no_split_screen(shape):
    frame = screens.furnish(screens.screen(shape, frames=2)).frames[1]
    assert reason_to_drop(frame, None, SETTINGS) is None
    row = np.arange(frame.shape[0])[:, None]
    hidden = np.abs(np.arange(frame.shape[1]) - 361) < 28
    frame[hidden & (row > 130)] = 0
    assert reason_to_drop(frame, None, SETTINGS) is None
    frame[hidden & (row >= 0)] = 12  # hardly any contact there, but noise
    assert reason_to_drop(frame, None, SETTINGS) is None
    if shape not in ("linear", "steered"):  # two equal halves of those cannot be told from two sectors
        frame[hidden & (row >= 0)] = 0
        assert reason_to_drop(frame, None, SETTINGS) is None


def test_near_duplicates_within_a_scan_are_dropped_where_that_is_wanted():
    frames = screens.screen("convex", frames=3).frames.astype(np.int16)
    rng = np.random.default_rng(0)
    noisy = np.clip(frames[0] + rng.normal(0, 6, frames[0].shape), 0, 255)
    brighter = np.clip(frames[0] * 1.1 + 4, 0, 255)  # another gain
    sequence = np.stack([frames[0], noisy, brighter, frames[1], frames[2]]).astype(np.uint8)
    assert reasons(sequence) == [None] * 5
    for duplicates in ("scan", "store"):
        found = reasons(sequence, CleaningSettings(duplicates=duplicates, min_correlation=0.98))
        assert found == [None, "near duplicate", "near duplicate", None, None]


def test_a_frame_of_one_grey_is_no_near_duplicate_of_a_live_one():
    live = screens.screen("convex", frames=1).frames[0]
    flat = np.full_like(live, 120)
    settings = CleaningSettings(duplicates="scan")
    assert reasons(np.stack([live, flat, live]), settings)[1:] == [None, None]
    assert reasons(np.stack([flat, flat + 5]), CleaningSettings(duplicates="scan", frozen=False))[1] == "near duplicate"


def test_every_reason_is_one_of_those_announced_and_grey_frames_are_judged_alike():
    assert set(REASONS) == {"black", "frozen", "split screen", "near duplicate"}
    frames = screens.screen("phased", frames=3).frames
    sequence = np.concatenate([frames, frames[2:], 0 * frames[:1]])
    assert reasons(sequence) == reasons(np.ascontiguousarray(sequence[..., 0])) == [None] * 3 + ["frozen", "black"]


def test_thumbnails_are_small_whatever_the_frame_is():
    for shape in ((576, 768), (96, 96), (97, 12), (5, 4, 3), (2000, 3)):
        assert max(thumbnail(np.zeros(shape, np.uint8)).shape) <= 96
