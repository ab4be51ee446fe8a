"""Reads frames of a scan by index: presentation order, times in seconds, the same frame however it was reached.

PyAV decodes, unless decord is asked for and suits the file. Before a frame is decoded, the packets of the file are
listed (about 1.5 ms for 100 frames), which gives the true number of presented frames and their times whatever the
header claims; every frame that PyAV decodes is then matched to that list by its time stamp.

decord (0.6.0, measured) is no faster at turning whole H.264 scans into small grey frames, and its frame behind an
index is wrong in many other files (`decord_frames` has the list); so it is a choice, never the default.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from ssl_zoo.errors import unknown
from ssl_zoo.scans import decord_frames

DECODERS = ("pyav", "decord")
# Codecs whose every packet is one presented frame. In others (VP8 hides frames) they are counted by decoding.
ONE_FRAME_PER_PACKET = {"h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "vp9", "av1", "libdav1d"}
ONE_FRAME_PER_PACKET |= {"prores", "ffv1"}
INTRA_ONLY = {"mjpeg", "prores", "rawvideo", "png"}
SEEKABLE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # containers with an index of key frames
SEEK_GAIN = 16  # frames to skip before a seek is cheaper than decoding through
FALLBACK_RATE = 25.0  # frames/s, only where a file has neither time stamps nor a frame rate


class UnreadableScan(Exception):
    """A scan that cannot be decoded, with the reason; ingest skips it and lists it."""


class MiscountedScan(UnreadableScan):
    """The decoder gave other frames than announced, or decord gave up: open it again with `exact=True`."""


@dataclass(frozen=True, eq=False)
class ScanReader:
    """One scan, ready to be read. Holds no open file and no frames.

    `times` float64 `[N]`: seconds since the first frame, in presentation order. `width`, `height`: pixels as shown
    (after rotation, with square pixels). `decoder`: the one that decodes this file, whichever was asked for.
    """

    path: Path
    times: np.ndarray
    width: int
    height: int
    rotation: int = 0  # quarter turns, counter-clockwise
    _stamps: np.ndarray | None = field(default=None, repr=False)  # [N] ascending; None: frames are counted instead
    _seek_points: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)  # frame indices
    decoder: str = "pyav"

    def __len__(self) -> int:
        return len(self.times)

    def read(self, indices: Iterable[int], *, channels: int = 1, box: tuple[int, int] | None = None) -> np.ndarray:
        """The frames at `indices`, in any order and with repeats: uint8 `[n, H, W]` (grey) or `[n, H, W, 3]`.

        See `frames` for the arguments. All requested frames are in memory at once.
        """
        wanted = np.fromiter(indices, np.int64)
        unique, inverse = np.unique(wanted, return_inverse=True)
        decoded = [image for _, image in self.frames(unique, channels=channels, box=box)]
        if not decoded:
            width, height = box or (self.width, self.height)
            return np.empty((0, height, width) if channels == 1 else (0, height, width, 3), np.uint8)
        return np.stack(decoded)[inverse]

    def frames(
        self, indices: Iterable[int], *, channels: int = 1, box: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield `(index, image)` for ascending `indices`, one decoded frame in memory at a time.

        `box` (width, height) scales the image, by area averaging when it gets smaller; None keeps `width` x `height`.
        `channels` 1 is luma (Rec. 601 or 709 as the file says, stretched to the full range 0..255), 3 is RGB.

        Raises IndexError for an index outside the scan, UnreadableScan where the file turns out to be damaged.
        """
        wanted = [int(index) for index in indices]
        if wanted and not 0 <= min(wanted) <= max(wanted) < len(self):
            raise IndexError(f"{self.path.name} has {len(self)} frames, asked for {min(wanted)} to {max(wanted)}")
        if any(a >= b for a, b in itertools.pairwise(wanted)):
            raise ValueError("frames are streamed by ascending index; use `read` for any order")
        width, height = box or (self.width, self.height)
        scaler = _Scaler(width, height, channels, self.rotation)
        if self.decoder == "decord":
            try:
                for index, frame in decord_frames.decode(self.path, wanted):
                    yield index, scaler(frame)
            except decord_frames.DecordFailure as error:
                raise MiscountedScan(f"decord gave up ({error})") from error
            return
        with _opened(self.path) as (container, stream):
            for index, frame in self._decode(container, stream, wanted):
                yield index, scaler(frame)

    def _decode(self, container: Any, stream: Any, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        decoded = self._numbered(container, stream)
        reached = -1  # index of the last decoded frame
        for target in wanted:
            before = int(np.searchsorted(self._seek_points, target, side="right")) - 1
            if self._stamps is not None and before >= 0 and self._seek_points[before] > reached + SEEK_GAIN:
                container.seek(int(self._stamps[self._seek_points[before]]), stream=stream)
                decoded = self._numbered(container, stream)
            frame = None
            while reached < target and (step := next(decoded, None)) is not None:
                reached, frame = step
            if reached != target or frame is None:
                raise MiscountedScan(f"no frame could be decoded at {self.times[target]:.3f} s")
            yield target, frame

    def _numbered(self, container: Any, stream: Any) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames from the current position on, with their indices."""
        if self._stamps is None:
            yield from enumerate(container.decode(stream))
            return
        for frame in container.decode(stream):
            index = int(np.searchsorted(self._stamps, frame.pts)) if frame.pts is not None else -1
            if not 0 <= index < len(self._stamps) or self._stamps[index] != frame.pts:
                raise MiscountedScan(f"a frame with the unannounced time stamp {frame.pts}")
            yield index, frame


def open_scan(path: Path, *, exact: bool = False, decoder: str = "pyav") -> ScanReader:
    """Open a video and establish its frames and their times.

    `exact` counts by decoding every frame once instead of by listing packets; that also happens where packets
    cannot be trusted (no or repeated time stamps, a start without key frame, codecs with hidden packets).

    `decoder` "decord" is a wish: PyAV reads the file all the same where decord is not installed or might give other
    frames, and always with `exact`.

    Raises UnreadableScan, with the reason, for a file that is no video, is cut off, or holds no frame; UserError for
    an unknown decoder.
    """
    if decoder not in DECODERS:
        raise unknown("decoder", decoder, DECODERS)
    path = Path(path)
    with _opened(path) as (container, stream):
        listed = None if exact else _list_packets(container, stream)
    with _opened(path) as (container, stream):
        decoded = container.decode(stream)
        first = next(decoded, None)
        if first is None:
            raise UnreadableScan("holds no frame that can be decoded")
        width, height, rotation = _shown_size(first, stream)
        clock = float(stream.time_base or 0)
        seek_points = np.empty(0, np.int64)
        if listed is not None and first.pts == listed.stamps[0]:
            stamps, seek_points = listed.stamps, listed.seek_points
        else:
            given = [first.pts, *(frame.pts for frame in decoded)]
            stamps = np.array([-1 if pts is None else pts for pts in given], np.int64)
            if None in given or (np.diff(stamps) <= 0).any() or not clock:
                clock = 1 / float(stream.average_rate or stream.guessed_rate or FALLBACK_RATE)
                stamps = np.arange(len(given))
            listed = None
        times = (stamps - stamps[0]) * clock
        reader = ScanReader(path, times, width, height, rotation, None if listed is None else stamps, seek_points)
        if decoder == "decord" and listed is not None and listed.suits_decord:
            scaler = _Scaler(width, height, 3, 0)
            if not rotation and decord_frames.agrees(path, times, scaler(first), scaler):
                reader = dataclasses.replace(reader, decoder="decord")
    return reader


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its main video stream; every decoding error inside becomes an UnreadableScan."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if stream is None:
                raise UnreadableScan("holds no video")
            stream.codec_context.thread_count = 1  # scans run in parallel, not the threads of one scan
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableScan(f"cannot be decoded ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Listing(NamedTuple):
    """What the packets of a file tell: `stamps` int64 `[N]` of the presented frames, ascending."""

    stamps: np.ndarray
    seek_points: np.ndarray  # indices of the frames that a seek can reach
    suits_decord: bool


def _list_packets(container: Any, stream: Any) -> _Listing | None:
    """The presented frames, by the list of packets; None: cannot be told."""
    context = stream.codec_context
    seekable = container.format.name in SEEKABLE
    stamps, keys, starts_whole, restarts = [], set(), None, True
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_corrupt:
            raise UnreadableScan("is cut off or damaged: its last packets are incomplete")
        if starts_whole is None:
            starts_whole = packet.is_keyframe
        if packet.is_discard:  # before an edit list's start: decoded, never shown
            continue
        stamps.append(packet.pts)
        if seekable and packet.is_keyframe:
            if _restarts(context, packet):
                keys.add(packet.pts)
            else:
                restarts = False
    if not stamps or None in stamps or not starts_whole or context.name not in ONE_FRAME_PER_PACKET:
        return None
    ordered = np.array(sorted(stamps), np.int64)
    if (np.diff(ordered) <= 0).any():
        return None
    seek_points = np.searchsorted(ordered, np.array(sorted(keys), np.int64))
    return _Listing(ordered, seek_points, decord_frames.suits(container, stream, ordered, restarts))


def _restarts(context: Any, packet: Any) -> bool:
    """Whether decoding can begin at this key packet and give the same pictures as decoding from the start.

    H.264 marks as key also the starts of open groups and of intra refresh, which lean on earlier pictures; only
    IDR pictures (NAL unit type 5, Rec. ITU-T H.264 table 7-1) do not.
    """
    if context.name in INTRA_ONLY:
        return True
    extradata = context.extradata
    if context.name != "h264" or not extradata or extradata[0] != 1 or len(extradata) < 5:  # 1: length-prefixed units
        return False
    prefix = (extradata[4] & 3) + 1
    payload = bytes(packet)
    at = 0
    while at + prefix < len(payload):
        unit = payload[at + prefix] & 31
        if 1 <= unit <= 5:
            return unit == 5
        at += prefix + int.from_bytes(payload[at : at + prefix], "big")
    return False


def _shown_size(frame: av.VideoFrame, stream: Any) -> tuple[int, int, int]:
    """Width and height as shown, and the rotation in quarter turns counter-clockwise."""
    pixel = stream.sample_aspect_ratio
    width, height = frame.width, frame.height
    if pixel and pixel > 0:
        width = max(1, round(width * pixel))
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return (height, width, turns) if turns % 2 else (width, height, turns)


class _Scaler:
    """Turns decoded frames into uint8 arrays of one size, by ffmpeg's scaler, whose set-up is kept between frames."""

    def __init__(self, width: int, height: int, channels: int, turns: int) -> None:
        self.size = (height, width) if turns % 2 else (width, height)
        self.format = "gray" if channels == 1 else "rgb24"
        self.turns = turns
        self.reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        width, height = self.size
        smaller = width <= frame.width and height <= frame.height
        scaled = self.reformatter.reformat(
            frame, width, height, self.format, interpolation="AREA" if smaller else "BICUBIC"
        )
        image = scaled.to_ndarray()
        return np.ascontiguousarray(np.rot90(image, self.turns)) if self.turns else image
