"""Marks on the tissue are found, filled from around them, or cost their scan; tissue is not taken for a mark."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy import ndimage

from ssl_zoo.scans.cleaning import CleaningSettings, look
from ssl_zoo.scans.cleaning.inpaint import Filling
from ssl_zoo.scans.cleaning.overlays import find_overlays
from tests.scans.cleaning import screens


def marks_on(shown: screens.Screen, frames: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The marks found on a screen and those drawn on its sector, bool [H, W] each."""
    found = look(shown.frames if frames is None else frames, CleaningSettings())
    overlays = np.zeros(found.shape, bool)
    top, left, height, width = found.box
    overlays[top : top + height, left : left + width] = found.overlays
    return overlays, shown.drawn & shown.sector


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_calipers_dots_and_text_are_found_and_tissue_is_not(compressed, grey, tmp_path):
    shown = screens.screen("convex", frames=6)
    screens.calipers(shown)
    frames = screens.read_video(screens.write_video(tmp_path / "c.mp4", shown.frames)) if compressed else shown.frames
    found, drawn = marks_on(shown, np.ascontiguousarray(frames[..., 1]) if grey else frames)
    assert (found & drawn).sum() >= 0.98 * drawn.sum()
    beyond = ndimage.distance_transform_edt(~drawn) > 12
    assert not (found & beyond).any()


def test_screens_and_phantoms_without_marks_have_none(phantom):
    assert not look(phantom[0], CleaningSettings()).overlays.any()
    for shape in ("linear", "phased"):
        assert not look(screens.screen(shape, frames=6).frames, CleaningSettings()).overlays.any()


def test_a_bright_still_layer_of_tissue_is_no_mark():
    frames = screens.tissue(6).copy()
    column = np.arange(frames.shape[2])
    for t, frame in enumerate(frames):
        for depth in range(-3, 4):  # a specular layer, blurred along the beam, ending softly
            row = (300 + 12 * np.sin(column / 60)).astype(int) + depth
            glow = 225 * np.exp(-(depth**2) / 2) * np.clip(1 - np.abs(column - 384) / 200, 0, 1)
            frame[row, column] = np.clip(frame[row, column] * 0.2 + glow + 3 * np.sin(t), 0, 255)
    assert frames.min(0).max() > 200
    sector = np.ones(frames.shape[1:], bool)
    assert not find_overlays(frames.min(0), frames.max(0), sector).any()


def test_the_bright_edge_of_a_sector_is_no_mark():
    sector = screens.sector_of("linear")
    first = int(np.flatnonzero(sector.any(0))[0])
    glow = np.clip(240 - 4.0 * np.abs(np.arange(sector.shape[1]) - first), 0, 255)
    frames = np.where(sector, np.maximum(screens.tissue(6), glow), 0).astype(np.uint8)
    assert frames[:, 300, first].min() == 240
    assert not find_overlays(frames.min(0), frames.max(0), sector).any()


def test_colours_that_stay_are_marks_and_colour_flow_is_not():
    shown = screens.screen("convex", frames=6)
    steady = shown.frames.copy()
    steady[:, 300:306, 300:330] = (30, 140, 60)  # as dim as tissue
    assert marks_on(shown, steady)[0][300:306, 300:330].all()
    rng = np.random.default_rng(0)
    for pulse in (0.0, 1.0):  # turbulent flow, and one that always goes the same way
        flow = shown.frames.copy()
        for t, frame in enumerate(flow):
            towards = ndimage.gaussian_filter(rng.standard_normal((80, 100)), 3) + 99 * pulse > 0
            speed = 1 - 0.4 * np.sin(t) ** 2
            frame[260:340, 300:400] = speed * np.where(towards[..., None], (210, 40, 20), (20, 60, 220))
        assert not marks_on(shown, flow)[0].any()


def test_inpainting_leaves_no_trace_of_marks_and_nothing_else_changed(tmp_path):
    bare = screens.screen("convex", frames=6)
    shown = screens.screen("convex", frames=6)
    screens.calipers(shown)
    found = look(shown.frames, CleaningSettings())
    top, left, height, width = found.box
    within = (slice(top, top + height), slice(left, left + width))
    for frame, before in zip(shown.frames, bare.frames, strict=True):
        cleaned = found.clean(frame)
        untouched = found.sector & ~found.overlays
        np.testing.assert_array_equal(cleaned[untouched], before[within][untouched])
        assert np.ptp(cleaned[found.overlays].astype(int), axis=-1).max() == 0  # no colour is left
        apart = cleaned[found.overlays].mean(dtype=float) - before[within][found.overlays].mean(dtype=float)
        assert abs(apart) < 6
        assert cleaned[found.overlays].max() <= before[within][untouched].max()


def test_marks_may_stay_or_cost_the_scan():
    shown = screens.screen("convex", frames=6)
    screens.calipers(shown)
    kept = look(shown.frames, CleaningSettings(overlays="keep"))
    assert not kept.overlays.any()
    assert kept.reason is None
    few = look(shown.frames, CleaningSettings(overlays="drop", overlay_share=0.5))
    assert few.reason is None
    assert (few.clean(shown.frames[0]) == kept.clean(shown.frames[0])).all()
    many = look(shown.frames, CleaningSettings(overlays="drop", overlay_share=0.005))
    assert many.reason is not None
    assert "marks on" in many.reason
    assert 0.005 < many.overlay_share < 0.05


def test_a_filled_pixel_is_the_mean_of_its_neighbours():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (40, 50), dtype=np.uint8)
    marks = np.zeros(image.shape, bool)
    marks[10:24, 12:30] = True
    marks[0:3, 40:] = True  # in a corner, where some neighbours are missing
    filled = image.copy()
    Filling(marks, np.ones(image.shape, bool))(filled)
    np.testing.assert_array_equal(filled[~marks], image[~marks])
    values = filled.astype(float)
    inner = values[11:23, 13:29]
    mean = (values[10:22, 13:29] + values[12:24, 13:29] + values[11:23, 12:28] + values[11:23, 14:30]) / 4
    assert np.abs(inner - mean).max() < 1.1  # both are rounded
    assert inner.min() >= image.min()
    ramp = np.add.outer(2 * np.arange(40), 3 * np.arange(50)).astype(np.uint8)
    hidden = np.where(marks, 255, ramp).astype(np.uint8)
    Filling(marks & (np.arange(50) < 38), np.ones(image.shape, bool))(hidden)
    np.testing.assert_array_equal(hidden[:, :38], ramp[:, :38])  # a plane is its own mean


def test_black_beside_the_sector_does_not_bleed_into_a_filled_mark():
    sector = np.zeros((30, 30), bool)
    sector[:, 10:] = True
    image = np.where(sector, 120, 0).astype(np.uint8)
    marks = np.zeros((30, 30), bool)
    marks[12:18, 8:16] = True
    image[marks] = 255
    Filling(marks, sector)(image)
    assert (image[marks & sector] == 120).all()
    alone = np.zeros((30, 30), np.uint8)
    Filling(np.ones((30, 30), bool), np.ones((30, 30), bool))(alone)  # nothing is known
    assert (alone == 0).all()


def test_a_cleaning_that_was_sent_to_another_process_cleans_the_same():
    shown = screens.screen("convex", frames=6)
    screens.calipers(shown)
    found = look(shown.frames, CleaningSettings())
    first = found.clean(shown.frames[0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found)).clean(shown.frames[0]), first)
