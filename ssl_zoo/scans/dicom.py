"""DICOM files: ultrasound cines of several frames, and single pictures. pydicom decodes (the extra `dicom`).

Attribute names are those of DICOM PS3.3: C.7.6.5 (cine), C.7.6.6 (multi-frame), C.8.5.5 (ultrasound regions).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.scans.base import DEFAULT_FPS, ScanReader, UnreadableScan, even_times, in_short

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"  # which Pillow, needed anyway, decodes twice as fast as gdcm
FRAME_TIME = 0x00181063  # the tag that FrameIncrementPointer points to where frames come at a constant rate
TISSUE, CENTIMETRES = 1, 3  # RegionSpatialFormat: a 2D image; PhysicalUnitsXDirection
NO_DECODER = "missing dependencies"  # in what pydicom says where a package is needed to decode
SAME = 0.01  # relative difference up to which two spacings are one


@dataclass(frozen=True, eq=False)
class DicomReader(ScanReader):
    """A DICOM file with pixels. `plugin`: the one of pydicom's decoders that is used, empty: any that can."""

    decoder: str = "pydicom"
    plugin: str = ""

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        header, frames = _frames(self.path, wanted, self.plugin)
        for index in wanted:
            with _explained():
                picture = _displayed(next(frames), header)
            yield index, picture


def open_dicom(path: Path, *, fps: float = DEFAULT_FPS) -> DicomReader:
    """Open a DICOM file. Its frames come at `fps` a second where it does not tell.

    Raises UnreadableScan for a file without pixels, one that is cut off, pixels compressed in a way that no installed
    package decodes, or where pydicom is not installed.
    """
    header = _header(path)
    if "Rows" not in header:
        kind = header.get("Modality") or "unknown kind"
        raise UnreadableScan(f"is a DICOM file without pictures ({kind})")
    with _explained():
        n_frames = max(1, int(header.get("NumberOfFrames") or 1))
        height, width = int(header.Rows), int(header.Columns)
        times = _times(header, n_frames, fps)
        shown, spacing = _shown(header, width, height)
        plugin = "pillow" if header.file_meta.get("TransferSyntaxUID") == JPEG_BASELINE else ""
    reader = DicomReader(path, times, shown, height, spacing=spacing, plugin=plugin)
    for _ in reader._pictures(sorted({0, n_frames - 1})):  # the last one tells whether all are there
        pass
    return reader


def dicom_patient(path: Path) -> str:
    """PatientID of a DICOM file; empty where it has none or cannot be read."""
    try:
        return str(_header(path, ["PatientID"]).get("PatientID") or "").strip()
    except UnreadableScan:
        return ""


def _header(path: Path, tags: list[str] | None = None) -> Any:
    """The data set up to its pixels; of `tags` only, where given."""
    with _explained():
        from pydicom import dcmread

        return dcmread(path, stop_before_pixels=True, specific_tags=tags)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Every error of pydicom, which have no common base, becomes an UnreadableScan; its warnings are for developers."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModuleNotFoundError as error:
        raise UnreadableScan("is a DICOM file, which needs pydicom: pip install 'ssl_zoo[dicom]'") from error
    except StopIteration as error:
        raise UnreadableScan("is cut off: it holds fewer frames than its header says") from error
    except Exception as error:
        cause = ModuleNotFoundError() if NO_DECODER in str(error) else error
        raise UnreadableScan(f"cannot be decoded ({in_short(error)})") from cause


def _frames(path: Path, wanted: list[int], plugin: str) -> tuple[Any, Iterator[np.ndarray]]:
    """A header, filled when the first frame is there, and the decoded frames: stored values, or RGB."""
    with _explained():
        from pydicom.dataset import Dataset
        from pydicom.pixels.utils import iter_pixels

        header = Dataset()
        return header, iter_pixels(path, indices=wanted, ds_out=header, decoding_plugin=plugin)


def _displayed(frame: np.ndarray, header: Any) -> np.ndarray:
    """Stored values as they are meant to be seen: uint8 `[H, W]` or `[H, W, 3]`."""
    kind = header.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        coloured = apply_color_lut(frame, header)[..., :3]
        return coloured if coloured.dtype == np.uint8 else (coloured >> 8).astype(np.uint8)
    if frame.ndim == 3:
        bits = int(header.BitsStored)
        return frame.astype(np.uint8) if bits <= 8 else (frame >> (bits - 8)).astype(np.uint8)
    grey = _grey(frame, header)
    return 255 - grey if kind == "MONOCHROME1" else grey


def _grey(stored: np.ndarray, header: Any) -> np.ndarray:
    """Stored values by the file's window, or else by their full range, as 0..255 (PS3.3 C.11.2.1.2.1)."""
    bits, signed = int(header.BitsStored), bool(header.PixelRepresentation)
    if "WindowCenter" not in header or "WindowWidth" not in header:
        if bits == 8 and not signed:
            return stored.astype(np.uint8)
        low = -(1 << bits - 1) if signed else 0
        high = low + (1 << bits) - 1
        values = stored.astype(np.float64)
    else:
        values = stored * float(header.get("RescaleSlope") or 1) + float(header.get("RescaleIntercept") or 0)
        centre, width = (float(np.atleast_1d(header[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
        low = centre - 0.5 - (width - 1) / 2
        high = max(low + width - 1, low + 1e-9)
    return np.rint((values - low) / (high - low) * 255).clip(0, 255).astype(np.uint8)


def _times(header: Any, n_frames: int, fps: float) -> np.ndarray:
    """Seconds since the first frame: from FrameTimeVector, FrameTime, CineRate or RecommendedDisplayFrameRate.

    FrameIncrementPointer says which of the first two holds; without it the vector goes first. A vector of another
    length, or one that stands still, is passed over, as is a rate of zero.
    """
    pointer = {int(tag) for tag in np.atleast_1d(header.get("FrameIncrementPointer") or [])}
    vector = np.atleast_1d(np.array(header.get("FrameTimeVector") or [], np.float64)) / 1000
    step = float(header.get("FrameTime") or 0) / 1000
    if len(vector) == n_frames and (vector[1:] > 0).all() and not (FRAME_TIME in pointer and step > 0):
        return np.cumsum(vector) - vector[0]
    if step > 0:
        return np.arange(n_frames) * step
    for rate in ("CineRate", "RecommendedDisplayFrameRate"):
        if float(header.get(rate) or 0) > 0:
            return even_times(n_frames, float(header[rate].value))
    return even_times(n_frames, fps)


def _shown(header: Any, width: int, height: int) -> tuple[int, float | None]:
    """The width with square pixels, and the spacing in millimetres, None where unknown.

    The 2D regions have to agree, as a screen with two depths has no one spacing, and to lie within the picture: regions
    that reach beyond it were left over when the picture was made smaller (so in two of pydicom's own samples).
    """
    steps = []  # (x, y) in millimetres
    for region in header.get("SequenceOfUltrasoundRegions") or []:
        units = {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")}
        if region.get("RegionSpatialFormat") == TISSUE and units == {CENTIMETRES}:
            if region.RegionLocationMaxX1 > width or region.RegionLocationMaxY1 > height:
                return width, None
            steps.append((abs(float(region.PhysicalDeltaX)) * 10, abs(float(region.PhysicalDeltaY)) * 10))
    if not steps and header.get("PixelSpacing"):
        down, across = (float(value) for value in header.PixelSpacing)
        steps.append((across, down))
    steps = [(x, y) for x, y in steps if x > 0 and y > 0]
    if any(abs(a / b - 1) > SAME for step in steps for a, b in zip(step, steps[0], strict=True)):
        return width, None
    if steps:
        across, down = steps[0]
    else:
        down, across = (float(value) for value in header.get("PixelAspectRatio") or (1, 1))
    stretch = across / down if across > 0 and down > 0 else 1.0
    if abs(stretch - 1) > SAME:
        width = max(1, round(width * stretch))
    return width, down if steps else None
