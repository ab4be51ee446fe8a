"""The sector is found on screens of every layout: it keeps the tissue and leaves out what is drawn around it."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_zoo.scans.cleaning import CleaningSettings, ScanCleaning, look
from tests.scans.cleaning import screens
from tests.scans.cleaning.screens import HEIGHT, SHAPES, WIDTH, Screen


def whole(found: ScanCleaning) -> np.ndarray:
    """The sector on the whole screen, bool [H, W]."""
    sector = np.zeros(found.shape, bool)
    top, left, height, width = found.box
    sector[top : top + height, left : left + width] = found.sector
    return sector


def shares(shown: Screen, frames: np.ndarray | None = None) -> tuple[float, float, float]:
    """Of the true sector: what is kept; of what is drawn around it: what is left; what else is kept, in sectors."""
    sector = whole(look(shown.frames if frames is None else frames, CleaningSettings()))
    around = shown.drawn & ~shown.sector
    extra = (sector & ~shown.sector).sum() / shown.sector.sum()
    return (sector & shown.sector).sum() / shown.sector.sum(), (sector & around).sum() / max(1, around.sum()), extra


@pytest.mark.parametrize(
    ("shape", "compressed"), [*((shape, False) for shape in SHAPES), ("convex", True), ("linear", True)]
)
def test_a_mask_keeps_the_tissue_and_leaves_out_the_text_of_a_crowded_screen(shape, compressed, tmp_path):
    shown = screens.furnish(screens.screen(shape, frames=6))
    frames = screens.read_video(screens.write_video(tmp_path / "s.mp4", shown.frames, crf=26)) if compressed else None
    kept, left, extra = shares(shown, frames)
    assert kept >= 0.99
    assert left <= 0.01
    assert extra < 0.1


def test_the_sector_of_phantom_scans_is_kept_to_the_pixel(phantom):
    frames, truth = phantom
    sector = whole(look(frames, CleaningSettings()))
    assert (sector & truth).sum() >= 0.99 * truth.sum()
    assert (sector & ~truth).sum() < 0.1 * truth.sum()


def test_grey_screens_and_analogue_noise_are_no_tissue():
    grey = screens.furnish(screens.screen("convex", frames=6, background=45))
    kept, _, extra = shares(grey)
    assert kept >= 0.99
    assert extra < 0.1
    noisy = screens.furnish(screens.screen("convex", frames=6))
    noise = np.random.default_rng(0).normal(10, 2.5, noisy.sector.shape)
    for number, frame in enumerate(noisy.frames):
        frame[:] = np.clip(frame + np.roll(noise, 97 * number, 1)[..., None], 0, 255)
    kept, left, _ = shares(noisy)
    assert kept >= 0.99
    assert left <= 0.01


def test_shadows_that_hide_a_side_do_not_narrow_the_sector():
    shown = screens.screen("convex", frames=6, fade=0.5)
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    hidden = (np.abs(column - 250 + (row - 100) * 0.2) < 45) & (row > 170)
    hidden |= (np.abs(column - 520 - (row - 100) * 0.35) < 40) & (row > 150)
    shown.frames[:, hidden] //= 30
    kept, _, extra = shares(shown)
    assert kept >= 0.99
    assert extra < 0.1


def test_a_sector_with_the_probe_at_the_bottom_is_found_as_well():
    shown = screens.screen("convex", frames=6)
    turned = Screen(shown.frames[:, ::-1].copy(), shown.sector[::-1].copy())
    screens.name_line(turned)
    kept, left, extra = shares(turned)
    assert kept >= 0.99
    assert left == 0
    assert extra < 0.1


def test_shapes_of_no_probe_and_sectors_that_are_mostly_black_keep_their_tissue():
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    corner = (column > 100) & (row > 100) & (row < 500) & ((column < 300) | (row > 350)) & (column < 600)
    ring = (np.hypot(column - 384, row - 300) < 250) & (np.hypot(column - 384, row - 300) > 40)
    for shape, words in ((corner, "its outline is a guess"), (ring, "")):
        found = look(np.where(shape, screens.tissue(6), 0).astype(np.uint8), CleaningSettings())
        assert (whole(found) & shape).sum() >= 0.99 * shape.sum()
        assert words in found.note


def test_a_still_panel_beside_the_sector_is_left_out():
    shown = screens.screen("linear", frames=6)
    shown.draw(lambda draw, t: draw.rectangle([(560, 0), (WIDTH, HEIGHT)], fill=(70, 75, 80)))
    kept, left, _ = shares(shown)
    assert kept >= 0.99
    assert left == 0


def test_a_trace_below_the_sector_and_a_camera_beside_it_are_left_out_and_told():
    shown = screens.screen("phased", frames=6)
    small, sector = shown.frames[:, ::2, ::2].copy(), shown.sector[::2, ::2].copy()
    shown.frames[:] = 0
    shown.sector[:] = False
    shown.frames[:, 20 : 20 + HEIGHT // 2, 190 : 190 + WIDTH // 2] = small
    shown.sector[20 : 20 + HEIGHT // 2, 190 : 190 + WIDTH // 2] = sector
    shown.frames[:, 340:560, 60:700] = screens.tissue(6, 3, 220, 640)[..., None]
    shown.drawn[340:560, 60:700] = True
    kept, left, _ = shares(shown)
    assert kept >= 0.99
    assert left == 0
    assert "below the sector" in look(shown.frames, CleaningSettings()).note

    shown = screens.screen("convex", frames=6)
    camera = np.random.default_rng(0).integers(0, 255, (6, 9, 107, 3), dtype=np.uint8)
    shown.frames[:, 40:130, 660:767] = camera.repeat(10, 1)
    shown.drawn[40:130, 660:767] = True
    assert shares(shown)[1] == 0
    assert "picture beside the sector" in look(shown.frames, CleaningSettings()).note


def test_tissue_that_fills_the_frame_stays_whole():
    frames = screens.tissue(6, height=200, width=260)
    found = look(frames, CleaningSettings())
    assert found.box == (0, 0, 200, 260)
    assert found.sector.all()
    assert not found.note
    np.testing.assert_array_equal(found.clean(frames[0]), frames[0])


def test_where_no_sector_is_found_the_frame_stays_whole_and_that_is_said():
    shown = screens.screen("convex", frames=6)
    shown.frames[:] = 0
    screens.name_line(shown)
    found = look(shown.frames, CleaningSettings(overlays="keep"))
    assert found.box == (0, 0, HEIGHT, WIDTH)
    assert "no sector found" in found.note
    np.testing.assert_array_equal(found.clean(shown.frames[0]), shown.frames[0])


def test_a_scan_in_which_nothing_moves_is_read_by_its_light_and_that_is_said():
    shown = screens.furnish(screens.screen("convex", frames=1))
    found = look(np.repeat(shown.frames, 4, 0), CleaningSettings())
    kept, left, _ = shares(shown)
    assert kept >= 0.99
    assert left <= 0.01
    assert "nothing moves" in found.note
    assert not found.overlays.any()


def test_two_sectors_side_by_side_are_both_kept_and_told():
    shown = screens.dual(frames=6)
    kept, _, extra = shares(shown)
    assert kept >= 0.99
    assert extra < 0.2
    assert "split screen" in look(shown.frames, CleaningSettings()).note


def test_black_and_split_frames_among_others_do_not_change_the_sector():
    single = screens.screen("convex", frames=6, seed=2)
    alone = look(single.frames, CleaningSettings())
    mixed = single.frames.copy()
    mixed[2] = 0
    mixed[5] = screens.dual(frames=1).frames[0]
    found = look(mixed, CleaningSettings())
    assert np.abs(np.array(found.box) - alone.box).max() <= 8
    assert (whole(found) != whole(alone)).mean() < 0.01


def test_the_same_sector_is_found_in_few_frames_and_in_grey_ones():
    shown = screens.furnish(screens.screen("phased", frames=5))
    for frames in (shown.frames[:2], shown.frames[..., 1], shown.frames[:3, ..., 0]):
        kept, left, _ = shares(shown, np.ascontiguousarray(frames))
        assert kept >= 0.99
        assert left <= 0.01


@pytest.mark.parametrize("size", [(1, 1), (9, 8), (40, 300), (300, 20)])
def test_frames_of_any_size_can_be_looked_at(size):
    frames = np.random.default_rng(0).integers(0, 255, (3, *size), dtype=np.uint8)
    assert look(frames, CleaningSettings()).clean(frames[0]).size


@pytest.mark.slow
def test_a_look_takes_well_below_a_second_and_cleaning_a_few_milliseconds():
    import time

    shown = screens.furnish(screens.screen("convex", frames=16))
    start = time.process_time()
    found = look(shown.frames, CleaningSettings())
    assert time.process_time() - start < 0.5
    found.clean(shown.frames[0])
    start = time.process_time()
    for frame in shown.frames:
        found.clean(frame)
    assert (time.process_time() - start) / 16 < 0.01
