from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from ssl_zoo.phantom.acoustics import DEPTHS, LINES, Scanner, draw_seat, image, make_scanner, make_scatterers
from ssl_zoo.phantom.anatomy import Anatomy, draw_anatomy
from ssl_zoo.phantom.heartbeat import beat_at
from ssl_zoo.phantom.machine import draw_exam
from ssl_zoo.phantom.planes import Pose, standard_pose

STILL = beat_at(0.0)
FAR = slice(2 * DEPTHS // 5, 4 * DEPTHS // 5)  # depths that hold the fetus


@pytest.fixture(scope="module")
def patient() -> tuple[Scanner, Anatomy]:
    rng = np.random.default_rng(3)
    anatomy = draw_anatomy(rng)
    exam = dataclasses.replace(draw_exam(rng, "internal", anatomy), noise_db=-44.0, approach=0.2)
    return make_scanner(exam, make_scatterers(0), draw_seat(rng), rng), anatomy


def _speckle(patient: tuple[Scanner, Anatomy], offset: float = 0.0, noise_seed: int = 0, **move) -> np.ndarray:
    """The log envelope of the liver without its coarse brightness: the speckle alone."""
    scanner, anatomy = patient
    pose = Pose(np.array([1.5, 0.5, -30 + offset / anatomy.scale]), np.array([0.0, 0.0, 1.0]))  # even tissue: liver
    signal = image(scanner, anatomy, STILL, pose, np.random.default_rng(noise_seed), **move).signal
    level = np.log(signal + 1e-6)[FAR, LINES // 4 : 3 * LINES // 4]
    kernel = np.ones(15) / 15
    for axis in (0, 1):
        smooth = np.apply_along_axis(np.convolve, axis, level, kernel, mode="same")
        level = level - smooth
    return level[12:-12, 12:-12]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_speckle_of_a_still_plane_stays_and_only_the_noise_changes(patient):
    first, second = _speckle(patient, noise_seed=1), _speckle(patient, noise_seed=2)
    assert 0.85 < _correlation(first, second) < 0.9999


def test_speckle_fades_as_the_plane_leaves_the_slice(patient):
    still = _speckle(patient)
    found = [_correlation(still, _speckle(patient, offset, noise_seed=1)) for offset in (0.3, 1.0, 2.0, 4.0)]
    assert found[0] > 0.6
    assert all(nearer > farther - 0.03 for nearer, farther in itertools.pairwise(found))
    assert abs(found[-1]) < 0.2


def test_speckle_moves_with_the_tissue_when_the_probe_moves_in_the_plane(patient):
    scanner, _ = patient
    samples = 8
    step = (scanner.exam.depth - scanner.exam.near) / (DEPTHS - 1)
    still, moved = _speckle(patient), _speckle(patient, noise_seed=1, shift=(0.0, samples * step))
    in_place = _correlation(still, moved)
    followed = max(
        _correlation(still[: -samples or None], moved[samples:]), _correlation(still[samples:], moved[:-samples])
    )
    assert followed > 0.6
    assert followed > in_place + 0.4


def test_a_whole_beat_later_the_speckle_is_back(patient):
    scanner, anatomy = patient
    pose = standard_pose(anatomy, "4CH")

    def level(phase: float) -> np.ndarray:
        return np.log(image(scanner, anatomy, beat_at(phase), pose, np.random.default_rng(0)).signal + 1e-6)[FAR]

    start, systole, again = level(0.0), level(0.35), level(1.0)
    assert _correlation(start, again) > 0.999
    assert _correlation(start, systole) < 0.97


def test_patients_do_not_share_speckle():
    rng = np.random.default_rng(3)
    anatomy = draw_anatomy(rng)
    exam = draw_exam(rng, "internal", anatomy)
    scatterers = make_scatterers(0)
    found = []
    for seed in (1, 2):
        seat = draw_seat(np.random.default_rng(seed))
        scanner = make_scanner(exam, scatterers, seat, np.random.default_rng(0))
        found.append(_speckle((scanner, anatomy)))
    assert abs(_correlation(*found)) < 0.3  # not 0: vessels and spine are the same
