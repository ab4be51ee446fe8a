"""The planes as each init wants them: another size than the run's, padded or squashed, made once in the run folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock

from ssl_zoo.encoders.fitting import Fit
from ssl_zoo.files import replacing
from ssl_zoo.planes.table import load_images

if TYPE_CHECKING:
    from ssl_zoo.grid.inits import Init
    from ssl_zoo.grid.study import Study

BYTES_AT_A_TIME = 1 << 28  # of decoded images, so that memory is bounded, however many and large they are


def as_seen_by(study: Study, init: Init) -> Study:
    """The study with the images that an init is fed with; the study itself where those are the run's.

    They are decoded when they are first asked for, into `planes/images-<size>-<fitting>-<resampling>.npy`, and go with
    that folder when the planes change. One process decodes while others wait.
    """
    return study if init.fit is None else dataclasses.replace(study, images=_images(study, init.fit))


def _images(study: Study, fit: Fit) -> np.ndarray:
    """uint8 `[N, size, size]` or `[N, size, size, 3]`, as many channels as the run's frames; a memory map."""
    path = study.run / "planes" / f"images-{fit.size}-{fit.fitting}-{fit.resampling}.npy"
    if not path.is_file():
        with FileLock(study.run / "planes" / f".{path.name}.lock"):
            if not path.is_file():
                _write(study, fit, path)
    return np.load(path, mmap_mode="r")


def _write(study: Study, fit: Fit, path: Path) -> None:
    channels = study.experiment.frames.channels
    shape = (len(study.planes), fit.size, fit.size, *([] if channels == 1 else [3]))
    chunk = max(1, BYTES_AT_A_TIME // int(np.prod(shape[1:])))
    with replacing(path) as part:
        images = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        for first in range(0, shape[0], chunk):
            rows = np.arange(first, min(first + chunk, shape[0]))
            images[rows] = load_images(study.planes, fit.size, channels, rows=rows, fit=fit)
        images.flush()
