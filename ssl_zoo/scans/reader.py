"""Opens a scan, whatever it is stored as: its contents decide, not its name."""

from __future__ import annotations

from pathlib import Path

from ssl_zoo.errors import unknown
from ssl_zoo.scans.base import DEFAULT_FPS, MiscountedScan, ScanReader, UnreadableScan, only_unreadable
from ssl_zoo.scans.dicom import open_dicom
from ssl_zoo.scans.image_folder import open_image_folder
from ssl_zoo.scans.signatures import kind_of
from ssl_zoo.scans.stacks import open_hdf5, open_npy
from ssl_zoo.scans.video import open_video
from ssl_zoo.scans.volumes import is_volume, open_volume

__all__ = ["DECODERS", "MiscountedScan", "ScanReader", "UnreadableScan", "open_scan"]

DECODERS = ("pyav", "decord")  # of videos
OTHERS = {"dicom": open_dicom, "npy": open_npy, "hdf5": open_hdf5}  # by `kind_of`; all else is opened as a video


@only_unreadable()
def open_scan(path: Path, *, exact: bool = False, decoder: str = "pyav", fps: float = DEFAULT_FPS) -> ScanReader:
    """Open a video, a DICOM file, a `.npy` or HDF5 stack, a NIfTI or MetaImage sequence, or a folder of images.

    Its frames and times are established.

    `exact` and `decoder` are for videos (see `open_video`). `fps`: how many frames a second there are where the scan
    itself does not tell.

    Raises UnreadableScan, with the reason, for a scan that cannot be read; UserError for an unknown decoder.
    """
    if decoder not in DECODERS:
        raise unknown("decoder", decoder, DECODERS)
    path = Path(path)
    if path.is_dir():
        return open_image_folder(path, fps=fps)
    kind = kind_of(path)
    if kind in OTHERS:
        return OTHERS[kind](path, fps=fps)
    if not kind and is_volume(path):
        return open_volume(path, fps=fps)
    return open_video(path, exact=exact, decoder=decoder, fps=fps)
