"""What every kind of scan offers, whatever it is stored as: frames by index, their times, size and pixel spacing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from ssl_zoo.errors import UserError
from ssl_zoo.scans.scaling import Scaler

DEFAULT_FPS = 25.0  # frames/s of scans that do not tell: image folders, stacks, files without time stamps
LONGEST_REASON = 200  # characters; pydicom lists all that it has tried


class UnreadableScan(Exception):
    """A scan that cannot be read, with the reason; ingest skips it and lists it."""

    @property
    def passing(self) -> bool:
        """Whether it may be readable another time: for want of a package or memory, or for a disk or network."""
        cause = self.__cause__
        return isinstance(cause, ImportError | MemoryError) or (isinstance(cause, OSError) and cause.errno is not None)


class MiscountedScan(UnreadableScan):
    """The decoder gave other frames than announced, or decord gave up: open it again with `exact=True`."""


@contextlib.contextmanager
def only_unreadable() -> Iterator[None]:
    """Every error inside, which no list of those that decoders may raise would hold, becomes an UnreadableScan."""
    try:
        yield
    except (UnreadableScan, UserError):
        raise
    except Exception as error:
        kind, words = type(error).__name__, in_short(error)
        raise UnreadableScan(f"cannot be read ({words if words == kind else f'{kind}: {words}'})") from error


def in_short(error: Exception) -> str:
    """What an error says, on one line; its kind, where it says nothing."""
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__


@dataclass(frozen=True, eq=False)
class ScanReader:
    """One scan, ready to be read. Holds no open file and no frames, so that it can be sent to another process.

    `times` float64 `[N]`: seconds since the first frame, in presentation order, ascending. `width`, `height`: pixels as
    shown (after rotation, with square pixels). `rotation`: quarter turns counter-clockwise from the picture as stored.
    `spacing`: millimetres per shown pixel, None where unknown. `decoder`: what decodes this scan.

    A kind of scan is a subclass that says how its pictures are decoded (`_pictures`).
    """

    path: Path
    times: np.ndarray
    width: int
    height: int
    rotation: int = 0
    spacing: float | None = None
    decoder: str = ""

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
        `channels` 1 is luma (Rec. 601 or 709 as the file says, stretched to the full range 0..255), 3 is RGB. What is
        transparent lies on black.

        Raises IndexError for an index outside the scan, UnreadableScan where the file turns out to be damaged.
        """
        wanted = [int(index) for index in indices]
        if wanted and not 0 <= min(wanted) <= max(wanted) < len(self):
            raise IndexError(f"{self.path.name} has {len(self)} frames, asked for {min(wanted)} to {max(wanted)}")
        if any(a >= b for a, b in itertools.pairwise(wanted)):
            raise ValueError("frames are streamed by ascending index; use `read` for any order")
        width, height = box or (self.width, self.height)
        with only_unreadable():
            scaler = Scaler(width, height, channels, self.rotation)
            for index, picture in self._pictures(wanted):
                yield index, scaler(picture)

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame | np.ndarray]]:
        """Yield `(index, picture as stored)` for ascending indices within the scan."""
        raise NotImplementedError


def even_times(n_frames: int, fps: float) -> np.ndarray:
    """Times of frames that come at a constant rate, float64 `[n_frames]` in seconds."""
    return np.arange(n_frames) / fps
