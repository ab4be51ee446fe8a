"""The batch of a step: which frames, which partners, which views; a function of (seed, step) alone."""

from __future__ import annotations

import functools
import mmap
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ssl_zoo.pretraining import streams
from ssl_zoo.pretraining.processes import Processes
from ssl_zoo.pretraining.settings import PretrainSettings
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.training.views import make_views, view_settings


@dataclass(frozen=True)
class Batch:
    """One process's part of a batch."""

    views: list[Tensor]  # each [B, C, h, w]
    scans: Tensor | None  # int64 [B], equal where frames are of one scan; None where no method asks

    def parts(self, count: int) -> list[Batch]:
        """The batch in `count` parts of equal size, one after another."""
        if count == 1:
            return [self]
        views = zip(*(view.chunk(count) for view in self.views), strict=True)
        scans = [None] * count if self.scans is None else self.scans.chunk(count)
        return [Batch(list(part), own) for part, own in zip(views, scans, strict=True)]


class Batches:
    """Makes the batch of any step, in any order.

    Memory beside the batch, for each frame of the store: its row in the index (about 60 bytes), 32 to 40 bytes of the
    pair sampler, 8 of the epoch's order, and 8 of the scans if they are asked for. The pixels stay in the store's file.
    """

    def __init__(
        self, settings: PretrainSettings, store: FrameStore, recipe: str, processes: Processes, *, with_scans: bool
    ) -> None:
        self.settings, self.store, self.recipe = settings, store, recipe
        self.processes = processes
        self.pairs = PairSampler(store.index, settings.pairing, settings.window_s, settings.pair_weighting)
        self.overrides = view_settings(settings.views)
        self.scans = pd.factorize(store.index["scan_id"])[0].astype(np.int64) if with_scans else None  # [N]
        # On the CPU whatever the device: the same draws everywhere, and no waiting for a GPU at each of them.
        self._generator = torch.Generator()

    @property
    def per_epoch(self) -> int:
        """Steps that show each frame at most once."""
        return len(self.store) // self.settings.batch_size

    def of_step(self, step: int) -> Batch:
        """This process's part of the batch of a step.

        The views are drawn for the whole batch in every process, and each keeps its own rows: so the draws are those
        of one process.
        """
        seed, size = self.settings.seed, self.settings.batch_size
        rows = batch_rows(len(self.store), size, step, seed)  # [B]
        partners = self.pairs.pairs(rows, streams.generator_of(seed, streams.PAIRS, step))
        self._generator.manual_seed(streams.seed_of(seed, streams.VIEWS, step))
        channels = self.settings.channels
        views = make_views(
            self.recipe,
            self._frames(rows),
            self._frames(partners),
            size=self.settings.size,
            mean=[self.store.mean] * channels,
            std=[self.store.std] * channels,
            generator=self._generator,
            settings=self.overrides,
        )
        own = self.processes.own(size, self.settings.accumulate)
        if len(own) < size:
            views = [view[own] for view in views]
        views = [view.contiguous(memory_format=torch.channels_last) for view in views]
        if self.scans is None:
            return Batch(views, None)
        return Batch(views, torch.from_numpy(self.scans[rows[own]]).to(views[0].device))

    def _frames(self, rows: np.ndarray) -> Tensor:
        frames = torch.from_numpy(read_rows(self.store.frames, rows))
        device = self.processes.fabric.device
        return frames.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else frames


def read_rows(frames: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A copy of the frames in `rows` (int `[B]`): uint8 `[B, H, W]` or `[B, H, W, 3]`.

    A memory map is read through its file and not through the map: a page that is touched there counts as memory of this
    process from then on, with its neighbours, until after some epochs the whole store does.
    """
    if not (isinstance(frames, np.memmap) and isinstance(frames.base, mmap.mmap) and frames.filename):
        return np.asarray(frames[rows])  # in memory, or a part of a map
    found = np.empty((len(rows), *frames.shape[1:]), frames.dtype)
    size = found[0].nbytes
    with open(frames.filename, "rb", buffering=0) as file:
        for row, place in zip(rows.tolist(), found, strict=True):
            file.seek(frames.offset + row * size)
            if file.readinto(place) != size:
                raise EOFError(f"{frames.filename}: the file ends before frame {row}")
    return found


def batch_rows(n_frames: int, batch_size: int, step: int, seed: int) -> np.ndarray:
    """The store rows `[B]` of one step: epochs of permutations drawn from (seed, epoch).

    What does not fill a batch at an epoch's end is left out: a batch never holds a frame twice and is never short.
    """
    epoch, place = divmod(step, n_frames // batch_size)
    return _epoch_order(n_frames, seed, epoch)[place * batch_size : (place + 1) * batch_size]


@functools.lru_cache(maxsize=1)
def _epoch_order(n_frames: int, seed: int, epoch: int) -> np.ndarray:
    return streams.generator_of(seed, streams.ORDER, epoch).permutation(n_frames)
