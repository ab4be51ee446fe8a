"""Writes small NIfTI-1 and MetaImage files, field by field, as the formats' definitions have them."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

CODES = {"u1": (2, 8), "i2": (4, 16), "f4": (16, 32), "u2": (512, 16), "f8": (64, 64), "i4": (8, 32)}
NAMES = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "f4": "MET_FLOAT"}


def write_nifti(
    path: Path,
    frames: np.ndarray,
    spacing: tuple[float, float],
    *,
    order: str = "<",
    dims: tuple[int, ...] | None = None,
    scale: tuple[float, float] = (0.0, 0.0),
    units: int = 2,
) -> Path:
    """`frames` `[T, H, W]`; `spacing`: millimetres (units 2) across and down; `dims`: other than [W, H, T]."""
    kind = frames.dtype.str[1:]
    code, bits = CODES[kind]
    dims = dims or frames.shape[::-1]
    header = bytearray(348)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, len(dims), *dims, *[1] * (7 - len(dims)))
    struct.pack_into(f"{order}2h", header, 70, code, bits)
    struct.pack_into(f"{order}8f", header, 76, 1.0, *spacing, 1.0, 0, 0, 0, 0)
    struct.pack_into(f"{order}3f", header, 108, 352.0, *scale)
    header[123] = units
    header[344:348] = b"n+1\0"
    content = bytes(header) + bytes(4) + frames.astype(order + kind).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def write_metaimage(
    path: Path, frames: np.ndarray, spacing: tuple[float, float], *, inside: bool = False, compressed: bool = False
) -> Path:
    """`frames` `[T, H, W]`; the pixels lie in a `.raw` (`.zraw`) file beside it, or `inside` the file."""
    pixels = zlib.compress(frames.tobytes()) if compressed else frames.tobytes()
    raw = path.with_suffix(".zraw" if compressed else ".raw")
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "ElementSpacing": f"{spacing[0]} {spacing[1]} 1",
        "DimSize": " ".join(map(str, frames.shape[::-1])),
        "ElementType": NAMES[frames.dtype.str[1:]],
        "ElementDataFile": "LOCAL" if inside else raw.name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    header = "".join(f"{name} = {value}\n" for name, value in lines.items()).encode()
    path.write_bytes(header + (pixels if inside else b""))
    if not inside:
        raw.write_bytes(pixels)
    return path
