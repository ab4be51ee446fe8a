"""Samplers that decide scan by scan, and how a budget for the whole store is divided over the scans."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable

import numpy as np

from ssl_zoo.scans.candidates import Candidates, seeded_order
from ssl_zoo.scans.samplers.settings import SamplerSettings

Choice = Callable[[Candidates, SamplerSettings], np.ndarray]
ScanChoice = Callable[[Candidates, SamplerSettings, np.random.Generator], np.ndarray]
Room = Callable[[Candidates, SamplerSettings], int]  # how many runs a scan can give


def by_scan(room: Room) -> Callable[[ScanChoice], Choice]:
    """Turn a choice among the frames of one scan, `per_scan` of them, into a sampler of the whole cohort.

    Each scan has draws of its own, which follow from the seed and its name: other scans do not change them. With
    `frames` for a budget, `frames // clip_length` runs are divided over the scans by `even_shares`.
    """

    def sampler_of(choose: ScanChoice) -> Choice:
        @functools.wraps(choose)
        def sampler(candidates: Candidates, settings: SamplerSettings) -> np.ndarray:
            scans = [candidates.of_scan(number) for number in range(len(candidates.scan_ids))]
            budgets = np.full(len(scans), settings.per_scan)
            if settings.frames is not None:
                rooms = np.array([room(scan, settings) for scan in scans], np.int64)
                order = seeded_order(candidates.scan_ids, settings.seed)
                shares = even_shares(rooms, settings.frames // settings.clip_length, order)
                budgets = shares * settings.clip_length
            rows = [np.empty(0, np.int64)]
            for scan, start, budget in zip(scans, candidates.starts[:-1], budgets.tolist(), strict=True):
                if budget and len(scan):
                    own = dataclasses.replace(settings, per_scan=budget, frames=None)
                    rows.append(start + choose(scan, own, scan_rng(settings.seed, scan.scan_ids[0])))
            return np.concatenate(rows)

        return sampler

    return sampler_of


def scan_rng(seed: int, scan_id: str) -> np.random.Generator:
    """The draws of one scan: the same in whatever order and company the scans come."""
    return np.random.default_rng([seed, zlib.crc32(scan_id.encode())])


def even_shares(rooms: np.ndarray, total: int, order: np.ndarray) -> np.ndarray:
    """How many of `total` runs each scan gives, int64 `[S]`, where scan s has no more than `rooms[s]`.

    All are given out where there is room. Every scan gets the same share, and one that has no room for it gives what
    it has, so that the others' share grows. What does not divide goes, one run each, to the first scans in `order` that
    have room for one more.
    """
    if total >= rooms.sum():
        return rooms.copy()
    low, high = 0, int(rooms.max())  # the share that `total` allows all, and one that it does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if np.minimum(rooms, middle).sum() <= total else (low, middle)
    shares = np.minimum(rooms, low)
    more = order[rooms[order] > low][: total - shares.sum()]
    shares[more] += 1
    return shares
