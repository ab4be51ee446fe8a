"""From the keys of `frames` to a frame store."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ssl_zoo.config import FramesConfig
from ssl_zoo.scans.cleaning import CleaningSettings
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import Scans


def sampler_settings(frames: FramesConfig) -> SamplerSettings:
    """Which frames go into the store."""
    names = [field.name for field in dataclasses.fields(SamplerSettings)]
    return SamplerSettings(**{name: getattr(frames, name) for name in names})


def cleaning_settings(frames: FramesConfig) -> CleaningSettings:
    """What is done to frames before they are scaled."""
    return CleaningSettings(**dataclasses.asdict(frames.cleaning))


def make_store(scans: Scans, out: Path, frames: FramesConfig, *, workers: int | None, progress: bool) -> FrameStore:
    """The store in the folder `out`, built where it is missing; see `build_store`."""
    return build_store(
        scans,
        out,
        sampler=sampler_settings(frames),
        size=frames.size,
        channels=frames.channels,
        decoder=frames.decoder,
        cleaning=cleaning_settings(frames),
        copies=frames.copies,
        workers=workers,
        progress=progress,
    )
