"""Sequences in the volume formats of CAMUS: NIfTI-1 (`.nii`, `.nii.gz`) and MetaImage (`.mhd` with its `.raw`).

The first axis is across the image, the second down and the last time, as ITK writes sequences of two-dimensional
images. Neither format is trusted with the frame rate. Only what sequences need is read: uint8, int16, uint16, float32
and float64 in the range 0..255.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssl_zoo.scans.base import DEFAULT_FPS, ScanReader, UnreadableScan, even_times

HEADER = 348  # bytes of a NIfTI-1 header
NIFTI_TYPES = {2: "u1", 4: "i2", 512: "u2", 16: "f4", 64: "f8"}  # datatype codes, NIfTI-1 header
META_TYPES = {"MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # of a unit of space, by the low bits of xyzt_units; 0: unknown


@dataclass(frozen=True, eq=False)
class VolumeReader(ScanReader):
    """A sequence in a volume file; all of it is in memory while it is read."""

    decoder: str = "numpy"

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        frames, _ = _read(self.path)
        for index in wanted:
            yield index, frames[index]


def is_volume(path: Path) -> bool:
    """Whether a file is NIfTI-1 or MetaImage, by its first bytes."""
    return _kind(path) != ""


def pixel_files(path: Path) -> list[Path]:
    """The file beside a MetaImage that holds its pixels; none of another kind of file, or where they lie in it."""
    if _kind(path) != "metaimage":
        return []
    file = _meta_header(path)[0].get("ElementDataFile", "LOCAL")
    return [path.parent / file] if file.upper() != "LOCAL" else []


def open_volume(path: Path, *, fps: float = DEFAULT_FPS) -> VolumeReader:
    """Open a sequence, `fps` frames a second. Pixels that are not square are shown as the finer side has them.

    Raises UnreadableScan, with the reason, for a file that is cut off, has other dimensions or values, or no pixels.
    """
    frames, (across, down) = _read(path)
    fine = min(across, down)
    height, width = max(1, round(frames.shape[1] * down / fine)), max(1, round(frames.shape[2] * across / fine))
    return VolumeReader(path, even_times(len(frames), fps), width, height, spacing=fine)


def _kind(path: Path) -> str:
    try:
        start = _start(path)
    except (OSError, EOFError, zlib.error):
        return ""
    if len(start) == HEADER and start[344:348] == b"n+1\0":
        return "nifti"
    return "metaimage" if start.lstrip().startswith((b"ObjectType", b"NDims")) else ""


def _start(path: Path) -> bytes:
    with open(path, "rb") as handle:
        start = handle.read(HEADER)
    if start[:2] != b"\x1f\x8b":
        return start
    with gzip.open(path) as handle:
        return handle.read(HEADER)


def _read(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    """Frames uint8 `[T, H, W]`, and millimetres per pixel across and down."""
    try:
        frames, spacing = _read_nifti(path) if _kind(path) == "nifti" else _read_metaimage(path)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableScan(f"is no readable volume ({error})") from error
    if not all(0 < side < math.inf for side in spacing):
        raise UnreadableScan(f"says that its pixels are {spacing[0]:g} x {spacing[1]:g} mm")
    return _as_bytes(frames), spacing


def _read_nifti(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    with open(path, "rb") as handle:
        content = handle.read()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    order = "<" if struct.unpack_from("<i", content)[0] == HEADER else ">"
    dims = struct.unpack_from(f"{order}8h", content, 40)
    code = struct.unpack_from(f"{order}h", content, 70)[0]
    pixdim = struct.unpack_from(f"{order}8f", content, 76)
    offset, slope, inter = struct.unpack_from(f"{order}3f", content, 108)
    unit = MILLIMETRES.get(content[123] & 7, 1.0)
    if not 2 <= dims[0] <= 7:
        raise UnreadableScan(f"has {dims[0]} dimensions; a sequence has [across, down, time]")
    frames = _sequence(content[int(offset) :], list(dims[1 : 1 + dims[0]]), NIFTI_TYPES.get(code), order)
    if slope not in (0.0, 1.0) or (inter != 0.0 and slope != 0.0):
        frames = frames * np.float64(slope) + inter
    return frames, (abs(pixdim[1]) * unit, abs(pixdim[2]) * unit)


def _read_metaimage(path: Path) -> tuple[np.ndarray, tuple[float, float]]:
    header, pixels = _meta_header(path)
    file = header.get("ElementDataFile", "")
    if file.upper() != "LOCAL":
        if Path(file).name != file or not (path.parent / file).is_file():
            raise UnreadableScan(f"names the pixels '{file}', and there is no such file beside it")
        pixels = (path.parent / file).read_bytes()
    if header.get("CompressedData", "False").casefold() == "true":
        pixels = zlib.decompress(pixels)
    order = (
        ">" if header.get("ElementByteOrderMSB", header.get("BinaryDataByteOrderMSB", "")).casefold() == "true" else "<"
    )
    try:
        dims = [int(size) for size in header["DimSize"].split()]
        spacing = [float(side) for side in header.get("ElementSpacing", "1 1").split()]
    except (KeyError, ValueError) as error:
        raise UnreadableScan(f"has a header that cannot be read ({error})") from error
    if header.get("ElementNumberOfChannels", "1") != "1" or len(spacing) < 2:
        raise UnreadableScan("has several channels, or no size of its pixels")
    return _sequence(pixels, dims, META_TYPES.get(header.get("ElementType", "")), order), (spacing[0], spacing[1])


def _meta_header(path: Path) -> tuple[dict[str, str], bytes]:
    """The keys of a MetaImage, and what follows them."""
    header = {}
    with open(path, "rb") as handle:
        while line := handle.readline():
            name, _, value = line.decode("latin-1").partition("=")
            header[name.strip()] = value.strip()
            if name.strip() == "ElementDataFile":  # the last line of a header
                return header, handle.read()
    return header, b""


def _sequence(pixels: bytes, dims: list[int], kind: str | None, order: str) -> np.ndarray:
    """`[T, H, W]` of the bytes of an array whose first axis, `dims[0]`, is across and varies fastest."""
    if kind is None:
        raise UnreadableScan("has pixels of a type that sequences do not have (uint8, int16, uint16 or float)")
    lengths = [size for size in dims[2:] if size != 1]
    if len(dims) < 2 or min(dims) < 1 or len(lengths) > 1:
        raise UnreadableScan(f"has the dimensions {dims}; a sequence has [across, down, time]")
    across, down, n_frames = dims[0], dims[1], lengths[0] if lengths else 1
    dtype = np.dtype(order + kind)
    if len(pixels) < across * down * n_frames * dtype.itemsize:
        raise UnreadableScan(f"is cut off: {len(pixels)} bytes of pixels for the dimensions {dims}")
    return np.frombuffer(pixels, dtype, across * down * n_frames).reshape(n_frames, down, across)


def _as_bytes(frames: np.ndarray) -> np.ndarray:
    if frames.dtype == np.uint8:
        return frames
    low, high = float(frames.min()), float(frames.max())
    if not (0 <= low <= high <= 255):  # also NaN
        raise UnreadableScan(f"has values from {low:g} to {high:g}; those of a scan lie in 0..255")
    return np.rint(frames).astype(np.uint8)
