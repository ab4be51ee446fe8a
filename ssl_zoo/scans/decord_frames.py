"""Frames by decord, where decord can be trusted: H.264 in mp4 or mov whose packets show nothing unusual.

decord (0.6.0, measured) gives the wrong frame behind an index where decoding cannot restart cleanly at a key frame
(open groups, intra refresh), where packets are hidden by an edit list, and in several other containers and codecs;
often its count and time stamps are right all the same. So the list of packets decides first (`suits`), and then
decord's own count, time stamps and first picture have to agree with PyAV's (`agrees`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av import VideoFrame

CLOSE = 3.0  # mean grey levels between two decoders' pictures of the same frame


class DecordFailure(Exception):
    """decord is not there or gave up; PyAV may read the file."""


def suits(container: Any, stream: Any, stamps: np.ndarray, restarts: bool) -> bool:
    """Whether decord finds the right frames in a file, by PyAV's list of its packets.

    `stamps` int64 `[N]`: the presented frames' time stamps, ascending. `restarts`: whether decoding can begin at
    each of the key packets.
    """
    return (
        container.format.name.startswith("mov,mp4")
        and stream.codec_context.name == "h264"
        and restarts
        and stream.frames == len(stamps)  # an edit list shows fewer; fragments are not in the header's count
        and int(stamps[0]) == 0
        and len(np.unique(np.diff(stamps))) <= 1
    )


def agrees(path: Path, times: np.ndarray, first: np.ndarray, scale: Callable[[VideoFrame], np.ndarray]) -> bool:
    """Whether decord is installed, can open the file, and finds the same frames in it as PyAV.

    `times` float64 `[N]` in seconds from the first frame; `first` uint8 `[H, W, 3]` is the first picture, and `scale`
    turns a decoded frame into such an array.
    """
    try:
        video = _open(path)
        if len(video) != len(times):
            return False
        begins = np.asarray(_call(video.get_frame_timestamp, range(len(times))))[:, 0]
        picture = scale(_frame(video, 0))
    except DecordFailure:
        return False
    spacing = times[1] - times[0] if len(times) > 1 else 1.0
    same_times = (np.abs(begins - times) < spacing / 4).all()
    return bool(same_times and np.abs(picture.astype(np.int16) - first).mean() < CLOSE)  # turned or other colours


def decode(path: Path, indices: Iterable[int]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield `(index, RGB frame)` for ascending `indices`, one frame in memory at a time.

    Raises DecordFailure where decord cannot go on, or would repeat a frame in place of one that it cannot decode.
    """
    video = _open(path)
    for index in indices:
        yield index, _frame(video, index)


def _open(path: Path) -> Any:
    try:
        from decord import VideoReader
    except (ImportError, OSError, RuntimeError) as error:  # not installed, or its libraries do not load
        raise DecordFailure(f"decord cannot be imported ({error})") from error
    # One thread: scans run in parallel. No tolerance: else decord silently repeats frames in place of broken ones.
    return _call(VideoReader, str(path), num_threads=1, fault_tol=1e-6)


def _frame(video: Any, index: int) -> VideoFrame:
    return VideoFrame.from_ndarray(_call(video.__getitem__, index).asnumpy(), format="rgb24")


def _call(function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """Call into decord; its errors, which have no common base, become a DecordFailure."""
    from decord import DECORDError, DECORDLimitReachedError

    try:
        return function(*args, **settings)
    except (DECORDError, DECORDLimitReachedError, RuntimeError, AssertionError, IndexError, StopIteration) as error:
        raise DecordFailure(str(error).partition("\n")[0] or type(error).__name__) from error
