"""Scans whose every frame carries its own number as a bar code: videos by PyAV, and DICOM files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.scans.numbered import HEIGHT, WIDTH, number_of, picture

TICK = Fraction(1, 1000)


def _video(
    path: Path,
    n_frames: int = 30,
    *,
    first: int = 0,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 25,
    times_ms: Sequence[int] | None = None,
    width: int = WIDTH,
    height: int = HEIGHT,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: bool = False,
    alpha: bool = False,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container_options or {}) as container:
        if audio:
            sound = container.add_stream("aac", rate=8000, layout="mono")
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
            samples.sample_rate = 8000
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        if times_ms is not None:
            stream.codec_context.time_base = TICK
        for number in range(n_frames):
            frame = _transparent(first + number, width, height) if alpha else _opaque(first + number, width, height)
            frame = frame.reformat(format=pixels)
            if times_ms is not None:
                frame.pts, frame.time_base = int(times_ms[number]), TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio:
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
    return path


def _opaque(number: int, width: int, height: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(picture(number, width, height), format="gray")


def _transparent(number: int, width: int, height: int) -> av.VideoFrame:
    """White all over, and transparent where there is no bar: only a reader that minds the alpha sees the number."""
    bars = picture(number, width, height) > 128
    pixels = np.full((height, width, 4), 255, np.uint8)
    pixels[..., 3] = np.where(bars, 255, 0)
    return av.VideoFrame.from_ndarray(pixels, format="rgba")


@pytest.fixture
def make_video() -> Callable[..., Path]:
    """Writes a video of numbered pictures and returns its path."""
    return _video


@pytest.fixture
def number() -> Callable[[np.ndarray], int]:
    """Reads the number out of a decoded picture."""
    return number_of


@pytest.fixture
def hide_start() -> Callable[[Path, int], Path]:
    """Copies an mp4 of 25 frames/s to `cut.mp4` beside it, with an edit list that hides its first frames."""

    def copy_without(source: Path, n_hidden: int) -> Path:
        cut = source.with_name("cut.mp4")
        with av.open(str(source)) as given, av.open(str(cut), "w") as result:
            video = given.streams.video[0]
            copy = result.add_stream_from_template(video)
            for packet in given.demux(video):
                if packet.pts is not None and packet.dts is not None:
                    packet.pts -= n_hidden * 512  # 512 ticks a frame: the hidden ones come before time zero
                    packet.dts -= n_hidden * 512
                    packet.stream = copy
                    result.mux(packet)
        return cut

    return copy_without


@pytest.fixture
def hide_end() -> Callable[[Path, int], Path]:
    """Shortens the edit list of an mp4 or mov of 25 frames/s in place, so that only its first frames are shown."""

    def shorten(path: Path, n_shown: int) -> Path:
        content = bytearray(path.read_bytes())
        scale_at = content.index(b"mvhd") + 16
        per_second = int.from_bytes(content[scale_at : scale_at + 4], "big")
        duration_at = content.index(b"elst") + 12  # after the box's name, its version and the number of entries
        content[duration_at : duration_at + 4] = round(n_shown * per_second / 25).to_bytes(4, "big")
        path.write_bytes(content)
        return path

    return shorten


@pytest.fixture
def lie_about_length() -> Callable[[Path], Path]:
    """Makes the header of an avi, mp4 or mov announce three times as many frames, or as much time, as there are."""

    def lie(path: Path) -> Path:
        content = bytearray(path.read_bytes())
        # (box, bytes from its name to the number): total frames and stream length of avi; durations of mp4 and mov
        places = [(b"avih", 8 + 16, "little"), (b"strh", 8 + 32, "little"), (b"mvhd", 20, "big"), (b"mdhd", 20, "big")]
        found = 0
        for box, offset, order in places:
            at = content.find(box)
            if at >= 0:
                at += offset
                told = int.from_bytes(content[at : at + 4], order)
                content[at : at + 4] = (3 * told).to_bytes(4, order)
                found += 1
        assert found, "no header that counts"
        path.write_bytes(content)
        return path

    return lie


@pytest.fixture
def make_dicom() -> Callable[..., Path]:
    """Writes numbered frames, or given ones uint8 `[N, H, W(, 3)]`, as an uncompressed ultrasound DICOM file."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

    def write(path: Path, n_frames: int = 6, *, frames: np.ndarray | None = None, kind: str = "", **header) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if frames is None:
            frames = np.stack([picture(number) for number in range(n_frames)])
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset = pydicom.Dataset()
        dataset.file_meta = meta
        dataset.Modality = "US"
        dataset.NumberOfFrames = len(frames)
        dataset.Rows, dataset.Columns = frames.shape[1:3]
        dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
        dataset.PhotometricInterpretation = kind or ("RGB" if frames.ndim == 4 else "MONOCHROME2")
        if frames.ndim == 4:
            dataset.PlanarConfiguration = 0
        dataset.BitsAllocated = dataset.BitsStored = 8 * frames.dtype.itemsize
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = 0
        for name, value in header.items():
            setattr(dataset, name, value)
        dataset.PixelData = frames.tobytes()
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write


@pytest.fixture
def turn() -> Callable[[Path], Path]:
    """Marks an mp4 or mov as to be shown a quarter turn clockwise, as phones do."""

    def mark(path: Path) -> Path:
        content = path.read_bytes()
        upright = b"".join(value.to_bytes(4, "big") for value in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
        minus_one = (1 << 32) - (1 << 16)
        turned = b"".join(value.to_bytes(4, "big") for value in (0, 1 << 16, 0, minus_one, 0, 0, 0, 0, 1 << 30))
        track = content.index(upright, content.index(b"tkhd"))
        path.write_bytes(content[:track] + turned + content[track + len(turned) :])
        return path

    return mark
