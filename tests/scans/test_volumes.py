from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from ssl_zoo.scans.base import UnreadableScan
from ssl_zoo.scans.reader import open_scan
from tests.scans.volume_files import write_metaimage, write_nifti

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 7, 9), dtype=np.uint8)  # [T, H, W]


def stored(path: Path) -> np.ndarray:
    """The frames as they are in the file, not scaled to square pixels."""
    return np.stack([picture for _, picture in open_scan(path)._pictures(list(range(5)))])


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_sequence_stands_upright_and_in_order(tmp_path: Path, kind, order, suffix):
    path = write_nifti(tmp_path / f"a{suffix}", FRAMES.astype(kind), (0.3, 0.3), order=order)
    scan = open_scan(path, fps=40)
    assert (len(scan), scan.width, scan.height) == (5, 9, 7)
    assert scan.spacing == pytest.approx(0.3)
    assert scan.times == pytest.approx(np.arange(5) / 40)
    assert (stored(path) == FRAMES).all()
    assert (scan.read([4, 0]) == FRAMES[[4, 0]]).all()


def test_dimensions_of_one_and_scaled_values_are_read(tmp_path: Path):
    path = write_nifti(tmp_path / "a.nii", FRAMES, (0.3, 0.3), dims=(9, 7, 1, 5))
    assert (stored(path) == FRAMES).all()
    path = write_nifti(tmp_path / "b.nii", (FRAMES // 2).astype("i2"), (0.3, 0.3), scale=(2.0, 1.0))
    assert (stored(path) == FRAMES // 2 * 2 + 1).all()


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_metaimage_sequence_is_read(tmp_path: Path, inside, compressed):
    path = write_metaimage(tmp_path / "a.mhd", FRAMES, (0.3, 0.15), inside=inside, compressed=compressed)
    assert (stored(path) == FRAMES).all()
    assert (stored(write_metaimage(tmp_path / "b.mhd", FRAMES.astype("f4"), (1, 1))) == FRAMES).all()


def test_pixels_that_are_not_square_are_shown_square(tmp_path: Path):
    for scan in (
        open_scan(write_nifti(tmp_path / "a.nii", FRAMES, (0.3, 0.15))),
        open_scan(write_nifti(tmp_path / "b.nii", FRAMES, (300.0, 150.0), units=3)),  # micrometres
        open_scan(write_metaimage(tmp_path / "a.mhd", FRAMES, (0.3, 0.15))),
    ):
        assert (scan.width, scan.height) == (18, 7)
        assert scan.spacing == pytest.approx(0.15)
        assert scan.read([0]).shape == (1, 7, 18)


@pytest.mark.parametrize(
    ("options", "frames", "says"),
    [
        ({}, FRAMES.astype("i2") * 4, "values from 0 to"),
        ({}, np.full((5, 7, 9), np.nan, "f4"), "values from nan"),
        ({}, FRAMES.astype("i4"), "of a type that sequences do not have"),
        ({"dims": (9, 7, 5, 2)}, FRAMES, r"dimensions \[9, 7, 5, 2\]"),
        ({"dims": (9, 7, 6)}, FRAMES, "cut off"),
        ({"spacing": (0.0, 0.3)}, FRAMES, "pixels are 0 x 0.3 mm"),
    ],
)
def test_a_volume_that_is_no_sequence_is_refused_with_the_reason(tmp_path: Path, options, frames, says):
    options = {"spacing": (0.3, 0.3)} | options
    with pytest.raises(UnreadableScan, match=says):
        open_scan(write_nifti(tmp_path / "a.nii.gz", frames, **options))


def test_a_torn_file_is_refused(tmp_path: Path):
    noise = np.random.default_rng(1).integers(0, 256, (20, 40, 40), dtype=np.uint8)
    path = write_nifti(tmp_path / "a.nii.gz", noise, (1, 1))
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(UnreadableScan):
        open_scan(path)
    path = write_metaimage(tmp_path / "a.mhd", noise, (1, 1))
    path.with_suffix(".raw").unlink()
    with pytest.raises(UnreadableScan, match=r"names the pixels 'a\.raw', and there is no such file"):
        open_scan(path)
    path.write_text(path.read_text().replace("= a.raw", "= ../a.raw"))
    with pytest.raises(UnreadableScan, match="no such file beside it"):
        open_scan(path)
    path = write_metaimage(tmp_path / "line.mhd", FRAMES, (1, 1))
    path.write_text(path.read_text().replace("DimSize = 9 7 5", "DimSize = 315"))
    with pytest.raises(UnreadableScan, match=r"has the dimensions \[315\]"):
        open_scan(path)
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"nothing of use"))
    with pytest.raises(UnreadableScan):
        open_scan(tmp_path / "text.gz")
