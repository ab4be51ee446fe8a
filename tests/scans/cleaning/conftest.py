"""A phantom scan and its true sector, made once."""

from __future__ import annotations

import numpy as np
import pytest

from ssl_zoo.phantom.acoustics import draw_seat, make_scanner, make_scatterers
from ssl_zoo.phantom.anatomy import draw_anatomy
from ssl_zoo.phantom.cohort import write_cohort
from ssl_zoo.phantom.machine import draw_exam
from ssl_zoo.phantom.patients import POOLS
from tests.scans.cleaning.screens import read_video

SEED = 3


@pytest.fixture(scope="session")
def phantom(tmp_path_factory) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 [10, 256, 256] of a phantom scan (H.264, decoded) and its true sector, bool [256, 256]."""
    folder = tmp_path_factory.mktemp("phantom") / "cohort"
    write_cohort(folder, scans=1, patients=0, external_patients=0, frames=10, seed=SEED, workers=1, progress=False)
    frames = read_video(next((folder / "scans").glob("*.mp4")))[..., 1]
    # The patient's own random stream, as far as the scanner.
    rng = np.random.default_rng(np.random.SeedSequence([SEED, POOLS["S"], 0]))
    anatomy = draw_anatomy(rng)
    exam = draw_exam(rng, "internal", anatomy)
    scanner = make_scanner(exam, make_scatterers(SEED), draw_seat(rng), rng, frames.shape[1])
    truth = np.zeros(frames.shape[1:], bool)
    truth.flat[scanner.pixels] = True
    return np.ascontiguousarray(frames), truth
