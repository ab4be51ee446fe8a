"""Videos: frames by index in presentation order, times in seconds, the same frame however it was reached.

PyAV decodes, unless decord is asked for and suits the file. Before a frame is decoded, the packets of the file are
listed (about 1.5 ms for 100 frames), which gives the true number of presented frames and their times whatever the
header claims; every frame that PyAV decodes is then matched to that list by its time stamp.

decord (0.6.0, measured) is no faster at turning whole H.264 scans into small grey frames, and its frame behind an
index is wrong in many other files (`decord_frames` has the list); so it is a choice, never the default.
"""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np

from ssl_zoo.scans import decord_frames
from ssl_zoo.scans.base import DEFAULT_FPS, MiscountedScan, ScanReader, UnreadableScan
from ssl_zoo.scans.scaling import Scaler

# The containers that may be opened, whatever a file is called. Play lists (HLS, ffconcat) are not among them: those
# make ffmpeg read other files, wherever they lie.
CONTAINERS = "mov,avi,matroska,webm,mpeg,mpegvideo,mpegts,gif,apng,flv,asf,ogg,mxf,dv,nut,wtv,rm,amv"
CONTAINERS += ",h264,hevc,m4v,mjpeg,ivf,obu,yuv4mpegpipe"
# Codecs whose every packet is one presented frame. In others (VP8 hides frames) they are counted by decoding.
ONE_FRAME_PER_PACKET = {"h264", "hevc", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg", "vp9", "av1", "libdav1d"}
ONE_FRAME_PER_PACKET |= {"prores", "ffv1"}
INTRA_ONLY = {"mjpeg", "prores", "rawvideo", "png"}
SEEKABLE = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}  # containers with an index of key frames
SEEK_GAIN = 16  # frames to skip before a seek is cheaper than decoding through


@dataclass(frozen=True, eq=False)
class VideoReader(ScanReader):
    """A video file. `decoder`: the one that decodes this file, whichever was asked for."""

    decoder: str = "pyav"
    stamps: np.ndarray | None = field(default=None, repr=False)  # [N] ascending; None: frames are counted instead
    seek_points: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64), repr=False)  # frame indices

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        if self.decoder == "decord":
            try:
                yield from decord_frames.decode(self.path, wanted)
            except decord_frames.DecordFailure as error:
                raise MiscountedScan(f"decord gave up ({error})") from error
            return
        with _opened(self.path) as (container, stream):
            yield from self._decode(container, stream, wanted)

    def _decode(self, container: Any, stream: Any, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        decoded = self._numbered(container, stream)
        reached = -1  # index of the last decoded frame
        seek_points = self.seek_points.tolist()
        for target in wanted:
            before = bisect.bisect_right(seek_points, target) - 1
            if self.stamps is not None and before >= 0 and seek_points[before] > reached + SEEK_GAIN:
                container.seek(int(self.stamps[seek_points[before]]), stream=stream)
                decoded = self._numbered(container, stream)
            frame = None
            while reached < target and (step := next(decoded, None)) is not None:
                reached, frame = step
            if reached != target or frame is None:
                raise MiscountedScan(f"no frame could be decoded at {self.times[target]:.3f} s")
            yield target, frame

    def _numbered(self, container: Any, stream: Any) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decoded frames from the current position on, with their indices."""
        if self.stamps is None:
            yield from enumerate(container.decode(stream))
            return
        index_of = {stamp: index for index, stamp in enumerate(self.stamps.tolist())}
        for frame in container.decode(stream):
            index = index_of.get(frame.pts)
            if index is None:
                raise MiscountedScan(f"a frame with the unannounced time stamp {frame.pts}")
            yield index, frame


def open_video(path: Path, *, exact: bool = False, decoder: str = "pyav", fps: float = DEFAULT_FPS) -> VideoReader:
    """Open a video and establish its frames and their times.

    `exact` counts by decoding every frame once instead of by listing packets; that also happens where packets
    cannot be trusted (no or repeated time stamps, a start without key frame, codecs with hidden packets).

    `decoder` "decord" is a wish: PyAV reads the file all the same where decord is not installed or might give other
    frames, and always with `exact`. `fps` counts only where a file has neither time stamps nor a frame rate.

    Raises UnreadableScan, with the reason, for a file that is no video, is cut off, or holds no frame.
    """
    with _opened(path) as (container, stream):
        listed = None if exact else _list_packets(container, stream)
        if listed is not None:
            width, height, rotation = _shown_size(listed.first, stream)
            times = (listed.stamps - listed.stamps[0]) * float(stream.time_base)
            reader = VideoReader(
                path,
                times,
                width,
                height,
                rotation=rotation,
                stamps=listed.stamps,
                seek_points=listed.seek_points,
            )
            if decoder == "decord" and listed.suits_decord and not rotation:
                scaler = Scaler(width, height, 3)
                if decord_frames.agrees(path, times, scaler(listed.first), scaler):
                    reader = dataclasses.replace(reader, decoder="decord")
            return reader
    return _count_frames(path, fps)


def _count_frames(path: Path, fps: float) -> VideoReader:
    """Open a video by decoding all of it: its frames are then known by their place alone."""
    with _opened(path) as (container, stream):
        decoded = container.decode(stream)
        first = next(decoded, None)
        if first is None:
            raise UnreadableScan("holds no frame that can be decoded")
        width, height, rotation = _shown_size(first, stream)
        given = [first.pts, *(frame.pts for frame in decoded)]
        stamps = np.array([-1 if pts is None else pts for pts in given], np.int64)
        clock = float(stream.time_base or 0)
        if None in given or (np.diff(stamps) <= 0).any() or not clock:
            clock = 1 / float(stream.average_rate or stream.guessed_rate or fps)
            stamps = np.arange(len(given))
        return VideoReader(path, (stamps - stamps[0]) * clock, width, height, rotation=rotation)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its main video stream; every decoding error inside becomes an UnreadableScan."""
    try:
        # "file:": else a name with a colon would be taken for an address.
        with av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"format_whitelist": CONTAINERS},
            options={"threads": "1"},  # scans run in parallel, not the threads of one scan
        ) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise UnreadableScan("holds no video")
            if stream.codec_context is None:
                raise UnreadableScan("holds video of a codec that ffmpeg does not know")
            stream.codec_context.thread_count = 1
            yield container, stream
    except (av.error.FFmpegError, OSError) as error:
        raise UnreadableScan(f"cannot be decoded ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Listing(NamedTuple):
    """What the packets of a file tell: `stamps` int64 `[N]` of the presented frames, ascending; and the first frame."""

    first: av.VideoFrame
    stamps: np.ndarray
    seek_points: np.ndarray  # indices of the frames that a seek can reach
    suits_decord: bool


def _list_packets(container: Any, stream: Any) -> _Listing | None:
    """The presented frames, by the list of packets, of which the first are decoded; None: cannot be told."""
    context = stream.codec_context
    seekable = container.format.name in SEEKABLE
    first = None
    stamps, keys, starts_whole, restarts = [], set(), None, True
    for packet in container.demux(stream):
        if first is None:  # also by the empty packet at the end, which flushes the decoder
            first = next(iter(packet.decode()), None)
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
    if first is None or first.pts != ordered[0] or (np.diff(ordered) <= 0).any() or not stream.time_base:
        return None
    seek_points = np.searchsorted(ordered, np.array(sorted(keys), np.int64))
    return _Listing(first, ordered, seek_points, decord_frames.suits(container, stream, ordered, restarts))


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
