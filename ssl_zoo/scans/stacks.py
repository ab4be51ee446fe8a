"""Stacks of frames in one array: `.npy` files, and HDF5 files with one such data set.

They are uint8 `[frames, height, width]`, or with 3 colours behind. Neither tells when its frames were taken: they come
at a constant rate, `fps`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssl_zoo.scans.base import DEFAULT_FPS, ScanReader, UnreadableScan, even_times

WANTED = "a stack is uint8 [frames, height, width] or [frames, height, width, 3]"


@dataclass(frozen=True, eq=False)
class StackReader(ScanReader):
    """A stack in a `.npy` file or, where `dataset` is given, in that data set of an HDF5 file."""

    decoder: str = "numpy"
    dataset: str = ""

    def _pictures(self, wanted: list[int]) -> Iterator[tuple[int, np.ndarray]]:
        with _hdf5(self.path) if self.dataset else contextlib.nullcontext() as file:
            stack = file[self.dataset] if file is not None else _npy(self.path)
            for index in wanted:
                try:
                    picture = np.asarray(stack[index])
                except OSError as error:  # a broken chunk
                    raise UnreadableScan(f"cannot be decoded at frame {index} ({error})") from error
                yield index, picture[..., 0] if picture.shape[-1] == 1 and picture.ndim == 3 else picture


def open_npy(path: Path, *, fps: float = DEFAULT_FPS) -> StackReader:
    """Open a `.npy` file. Raises UnreadableScan where it holds no stack or is cut off; nothing is ever unpickled."""
    stack = _npy(path)
    if problem := _problem(stack.shape, stack.dtype):
        raise UnreadableScan(f"holds {problem}; {WANTED}")
    return StackReader(path, even_times(len(stack), fps), stack.shape[2], stack.shape[1])


def open_hdf5(path: Path, *, fps: float = DEFAULT_FPS) -> StackReader:
    """Open an HDF5 file that holds one stack, beside whatever else.

    Raises UnreadableScan where there is none, naming the data sets, or several; where a data set's pixels lie in other
    files; or where h5py is not installed.
    """
    with _hdf5(path) as file:
        found = _datasets(file)
        stacks = [name for name, data in found.items() if not _problem(data.shape, data.dtype)]
        if not stacks:
            there = ", ".join(f"'{name}': {_problem(data.shape, data.dtype)}" for name, data in found.items())
            raise UnreadableScan(f"holds no stack ({there or 'no data set at all'}); {WANTED}")
        if len(stacks) > 1:
            raise UnreadableScan(f"holds several stacks, which must be files of their own: {', '.join(stacks)}")
        stack = found[stacks[0]]
        if stack.external or stack.is_virtual:
            raise UnreadableScan(f"holds '{stacks[0]}', whose pixels lie in other files")
        times = even_times(stack.shape[0], fps)
        return StackReader(path, times, stack.shape[2], stack.shape[1], decoder="h5py", dataset=stacks[0])


def _npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise UnreadableScan(f"is no readable .npy file ({error})") from error


@contextlib.contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise UnreadableScan("is an HDF5 file, which needs h5py: pip install 'ssl_zoo[hdf5]'") from error
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UnreadableScan(f"is no readable HDF5 file ({error})") from error
    with file:
        yield file


def _datasets(file: Any) -> dict[str, Any]:
    """All data sets by their paths. Soft and external links are not followed, so none lies in another file."""
    import h5py

    found: dict[str, Any] = {}

    def gather(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(gather)
    return found


def _problem(shape: tuple[int, ...] | None, kind: np.dtype) -> str:
    """Why an array is no stack; empty where it is one."""
    words = f"{kind} {list(shape or ())}"
    if shape is None or kind != np.uint8 or len(shape) not in (3, 4) or 0 in shape:
        return words
    if len(shape) == 4 and shape[3] not in (1, 3):
        return words
    if len(shape) == 3 and shape[2] in (3, 4):
        return f"{words}, which looks like one picture in colour"
    return ""
