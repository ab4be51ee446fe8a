from __future__ import annotations

import json

import numpy as np
import pytest

from ssl_zoo.scans import diversity as module
from ssl_zoo.scans.diversity import (
    Diversity,
    diversity,
    effective_number,
    known_diversity,
    measure,
    nearest_distances,
    spread,
)
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.table import read_scans


def drawn(n_frames: int, dimensions: int = 24, groups: int = 5, noise: float = 20.0, seed: int = 0) -> np.ndarray:
    """Descriptors int8 around a few centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 40, (groups, dimensions))
    points = centres[rng.integers(groups, size=n_frames)] + rng.normal(0, noise, (n_frames, dimensions))
    return np.clip(np.rint(points), -127, 127).astype(np.int8)


def cosines(points: np.ndarray) -> np.ndarray:
    unit = points / np.linalg.norm(points.astype(float), axis=1, keepdims=True)
    return unit @ unit.T


@pytest.mark.parametrize("dimensions", [40, 8], ids=["through the Gram matrix", "through its dual"])
def test_the_effective_number_of_known_frames(dimensions):
    axes = 100 * np.eye(dimensions, dtype=np.int8)
    assert effective_number(axes) == pytest.approx(dimensions)
    assert effective_number(np.repeat(axes[:1], 30, axis=0)) == pytest.approx(1)
    assert effective_number(np.repeat(axes[:4], 7, axis=0)) == pytest.approx(4)
    assert effective_number(np.repeat(axes[:2], (30, 10), axis=0)) == pytest.approx(
        np.exp(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    )


@pytest.mark.parametrize("n_frames", [10, 24, 200])
def test_the_effective_number_is_that_of_the_whole_gram_matrix(n_frames):
    points = drawn(n_frames)
    values = np.linalg.eigvalsh(cosines(points) / n_frames)
    values = values[values > 1e-12]
    assert effective_number(points) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-9)


def test_copies_and_contrast_do_not_change_the_effective_number():
    points = drawn(60) // 4
    assert effective_number(np.repeat(points, 3, axis=0)) == pytest.approx(effective_number(points), rel=1e-9)
    assert effective_number(points * 2) == pytest.approx(effective_number(points), rel=1e-9)


def test_nearest_distances_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    points = drawn(70)
    others = cosines(points) - 3 * np.eye(70)
    rows = np.array([69, 3, 16, 15, 40])
    np.testing.assert_allclose(nearest_distances(points, rows), 1 - others.max(axis=1)[rows], atol=1e-6)


def test_near_duplicates_are_frames_that_have_another_one_nearby():
    axes = 100 * np.eye(8, dtype=np.int8)
    found = spread(np.concatenate([axes, axes[:2]]))
    assert found.near_duplicates == 0.4
    assert found.nearest == pytest.approx(0.6)
    turned = axes[:1] + np.array([[0, 0, 0, 0, 0, 0, 0, 13]], np.int8)  # cosine 0.9917
    assert spread(np.concatenate([axes[:2], turned])).near_duplicates == pytest.approx(2 / 3)
    turned[0, 7] = 15  # cosine 0.989
    assert spread(np.concatenate([axes[:2], turned])).near_duplicates == 0


def test_a_frame_alone_has_no_neighbour():
    alone = spread(drawn(1))
    assert (alone.frames, alone.nearest, alone.near_duplicates) == (1, None, 0.0)
    assert alone.effective == pytest.approx(1)


def test_scans_and_patients_are_measured_within_themselves():
    points = drawn(90)
    scans = np.repeat(["b", "a", "c"], 30)
    patients = np.repeat(["q", "p"], (60, 30))
    found = measure(points, scans, patients)
    assert found.scans == {"a": spread(points[30:60]), "b": spread(points[:30]), "c": spread(points[60:])}
    assert found.patients == {"p": spread(points[60:]), "q": spread(points[:60])}
    assert found.whole == spread(points)


def test_the_curves_grow_to_the_effective_number_of_all():
    points = drawn(500, noise=4.0)
    scans = np.repeat([f"scan{k:02}" for k in range(20)], 25)
    found = measure(points, scans, scans)
    for curve, first in ((found.by_frames, 1), (found.by_scans, 25)):
        assert curve[0].frames == first
        assert curve[-1].frames == 500
        assert curve[-1].effective == pytest.approx(found.whole.effective)
        assert all(point.low <= point.effective <= point.high for point in curve)
        assert [point.frames for point in curve] == sorted({point.frames for point in curve})
    assert found.by_frames[0].effective == pytest.approx(1)


def test_frames_of_the_same_scan_add_less_than_frames_at_random():
    rng = np.random.default_rng(0)
    points = np.clip(np.repeat(rng.normal(0, 40, (20, 24)), 25, axis=0) + rng.normal(0, 2, (500, 24)), -127, 127)
    scans = np.repeat([f"scan{k:02}" for k in range(20)], 25)
    found = measure(points.astype(np.int8), scans, scans)
    by_frames = np.interp(100, [p.frames for p in found.by_frames], [p.effective for p in found.by_frames])
    by_scans = np.interp(100, [p.frames for p in found.by_scans], [p.effective for p in found.by_scans])
    assert by_scans < 0.6 * by_frames


def test_large_stores_are_compared_by_lot_and_say_so(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 4000)
    monkeypatch.setattr(module, "FEWEST", 10)
    points, scans = drawn(400), np.array(["scan"] * 400)
    one, again, other = (measure(points, scans, scans, seed=seed) for seed in (0, 0, 1))
    assert one.compared == 10
    assert one == again
    assert one.whole.nearest != other.whole.nearest
    assert one.whole.effective == other.whole.effective


@pytest.fixture
def store(tmp_path, make_video):
    make_video(tmp_path / "scans" / "a.mp4", 30)
    make_video(tmp_path / "scans" / "b.mp4", 20, first=100)
    scans = read_scans(tmp_path / "scans")
    return build_store(
        scans, tmp_path / "store", sampler=SamplerSettings(per_scan=10), size=64, workers=1, progress=False
    )


def test_the_diversity_of_a_store_can_be_written_and_read(store):
    found = diversity(store)
    assert found.store == store.fingerprint
    assert found.whole.frames == 20
    assert set(found.scans) == {"a", "b"}
    assert 1 < found.scans["a"].effective < found.whole.effective < 20
    assert Diversity.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
    assert found.sentence().startswith("20 frames of 2 scans are as diverse as ")


def test_diversity_is_measured_once_and_again_when_the_store_is_another(store, monkeypatch):
    first = known_diversity(store)
    assert (store.path / "diversity.json").is_file()
    monkeypatch.setattr(module, "diversity", None)  # measuring would fail
    assert known_diversity(store) == first
    monkeypatch.undo()
    path = store.path / "diversity.json"
    path.write_text(path.read_text().replace(store.fingerprint, "0" * 16).replace('"frames": 20', '"frames": 21'))
    assert known_diversity(store) == first
