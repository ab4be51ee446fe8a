"""What a file holds, by its first bytes: its name may say anything, or nothing."""

from __future__ import annotations

from pathlib import Path

from ssl_zoo.scans.base import UnreadableScan

PREAMBLE = 128  # bytes before "DICM", DICOM PS3.10 7.1
STARTS = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"GIF87a",
    b"GIF89a",
    b"\x00\x00\x01\xba",  # MPEG, a pack
    b"\x00\x00\x01\xb3",  # MPEG, a sequence
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\xb7\xd8\x00\x20\x37\x49\xda\x11",  # WTV
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"FLV\x01",
    b"OggS",
    b".RMF",
    b"DKIF",  # IVF
    b"YUV4MPEG2 ",
    b"nut/multimedia container\x00",
)
PACKET = 188  # bytes of an MPEG transport stream; each begins with "G", behind 4 bytes of time on discs


def kind_of(path: Path) -> str:
    """`dicom`, `npy`, `hdf5`, `video` or, where the first bytes are those of none of them, nothing.

    Videos are told by the containers that scanners and exports use; others may open as videos all the same. Raises
    UnreadableScan for a file that cannot be read at all.
    """
    try:
        with open(path, "rb") as handle:
            start = handle.read(3 * (PACKET + 4))
    except OSError as error:
        raise UnreadableScan(f"cannot be read ({error.strerror or error})") from error
    if start[PREAMBLE : PREAMBLE + 4] == b"DICM":
        return "dicom"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    return "video" if _is_video(start) else ""


def _is_video(start: bytes) -> bool:
    return (
        start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")  # mp4, mov
        or (start[:4] == b"RIFF" and start[8:12] in (b"AVI ", b"AMV "))
        or start.startswith(STARTS)
        or any(start[time :: PACKET + time][:3] == b"GGG" for time in (0, 4))
    )
