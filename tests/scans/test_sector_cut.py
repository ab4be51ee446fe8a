"""Stills and scans are cut to the ultrasound sector as the frames of a store are; what is in doubt stays whole."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_zoo.encoders.files import Card
from ssl_zoo.encoders.fitting import Fit
from ssl_zoo.planes.table import load_images, pictures_of, read_planes
from ssl_zoo.scans.cleaning import CleaningSettings, look
from ssl_zoo.scans.reader import open_scan
from ssl_zoo.scans.sector_cut import cut_still, fitted_frames
from ssl_zoo.transfer.predictor import frames_of
from tests.scans.cleaning import screens


def box_of(mask: np.ndarray) -> tuple[int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


@pytest.mark.parametrize("shape", ["convex", "phased", "linear"])
def test_a_still_loses_the_text_beside_the_sector_and_keeps_the_tissue(shape):
    shown = screens.furnish(screens.screen(shape, frames=1))
    still = shown.frames[0]
    found = look(still[None], CleaningSettings(overlays="keep"))
    kept = np.zeros(found.shape, bool)
    top, left, height, width = found.box
    kept[top : top + height, left : left + width] = found.sector
    assert (kept & shown.sector).sum() >= 0.98 * shown.sector.sum()
    assert (kept & shown.drawn & ~shown.sector).sum() <= 0.02 * (shown.drawn & ~shown.sector).sum()
    masked, cropped = cut_still(still, "mask"), cut_still(still[..., 1], "crop")
    assert np.abs(np.subtract(masked.shape[:2], box_of(shown.sector))).max() <= 24
    assert masked.shape[:2] == cropped.shape
    assert (masked[~found.sector] == 0).all()
    assert (cropped[found.sector] == masked[found.sector][:, 1]).all()
    assert cut_still(still, "keep") is still


def test_a_still_of_which_much_would_be_lost_stays_whole():
    """A dark band across the sector leaves two lit parts, and an outline of either would lose the other."""
    shown = screens.screen("linear", frames=1)
    still = shown.frames[0, ..., 1].copy()
    still[330:400] = 0
    found = look(still[None], CleaningSettings(overlays="keep"))
    assert found.sector.all()
    assert found.box == (0, 0, *still.shape)
    assert "of what is lit" in found.note
    assert (cut_still(still, "mask") == still).all()


def test_the_frames_of_a_scan_are_cut_by_what_moves_in_it(tmp_path):
    shown = screens.furnish(screens.screen("convex", frames=8))
    reader = open_scan(screens.write_video(tmp_path / "s.mp4", shown.frames))
    height, width = box_of(shown.sector)
    (first, image), (second, _) = fitted_frames(reader, [1, 6], 1, Fit(64), "mask")
    assert (first, second) == (1, 6)
    assert max(image.shape) == 64
    assert min(image.shape) == pytest.approx(64 * min(height, width) / max(height, width), abs=2)
    ((_, whole),) = fitted_frames(reader, [1], 1, Fit(64))
    assert whole.shape == (48, 64)
    ((_, native),) = fitted_frames(reader, [1], 3, None, "crop")
    assert np.abs(np.subtract(native.shape[:2], (height, width))).max() <= 24


def test_planes_are_cut_where_the_experiment_says_so(tmp_path: Path):
    shown = screens.furnish(screens.screen("convex", frames=8))
    screens.write_video(tmp_path / "v.mp4", shown.frames)
    Image.fromarray(shown.frames[3]).save(tmp_path / "still.png")
    (tmp_path / "planes.csv").write_text("image,label,patient_id,frame\nstill.png,a,P1,\nv.mp4,b,P2,3\n")
    planes = read_planes(tmp_path / "planes.csv")
    whole, cut = (load_images(dataclasses.replace(planes, sector=sector), 64, 1) for sector in ("keep", "mask"))
    sector, fit = shown.sector[np.ix_(shown.sector.any(1), shown.sector.any(0))], Fit(64)
    small = np.asarray(Image.fromarray(sector).resize(fit.box(*sector.shape[::-1])))
    top, left = fit.corner(*small.shape[::-1])
    truth = np.zeros((64, 64), bool)
    truth[top : top + small.shape[0], left : left + small.shape[1]] = small
    assert ((cut[0] > 8) & truth).sum() > 0.93 * ((cut[0] > 8) | truth).sum()
    assert ((whole[0] > 8) & truth).sum() < 0.85 * ((whole[0] > 8) | truth).sum()
    assert np.abs(cut[0].astype(int) - cut[1]).mean() < 4  # the still and the same frame of the video
    (looked_at,) = frames_of(open_scan(tmp_path / "v.mp4"), Card("test_resnet", 64, 1, [0.3], [0.2]), [3], "mask")
    assert (looked_at[0] == cut[1]).all()  # what `predict` sees of it
    assert planes.pictures == planes.fingerprint  # as before there was a choice
    assert dataclasses.replace(planes, sector="mask").pictures == pictures_of(planes.fingerprint, "mask")
    assert len({pictures_of(planes.fingerprint, sector) for sector in ("keep", "crop", "mask")}) == 3
