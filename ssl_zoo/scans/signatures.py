"""What a file holds, by its first bytes: its name may say anything, or nothing."""

from __future__ import annotations

from pathlib import Path

from ssl_zoo.scans.base import UnreadableScan

PREAMBLE = 128  # bytes before "DICM", DICOM PS3.10 7.1
MPEG_PACK, MPEG_SEQUENCE = b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"


def kind_of(path: Path) -> str:
    """`dicom`, `npy`, `hdf5`, `video` or, where the first bytes are those of none of them, nothing.

    Videos are told by the containers that scanners and exports use; others may open as videos all the same. Raises
    UnreadableScan for a file that cannot be read at all.
    """
    try:
        with open(path, "rb") as handle:
            start = handle.read(PREAMBLE + 4)
    except OSError as error:
        raise UnreadableScan(f"cannot be read ({error.strerror or error})") from error
    if start[PREAMBLE:] == b"DICM":
        return "dicom"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    return "video" if _is_video(start) else ""


def _is_video(start: bytes) -> bool:
    return (
        start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")  # mp4, mov
        or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")
        or start.startswith((b"\x1a\x45\xdf\xa3", b"GIF87a", b"GIF89a", MPEG_PACK, MPEG_SEQUENCE))  # first: Matroska
    )
