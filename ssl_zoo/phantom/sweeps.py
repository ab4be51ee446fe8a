"""Freehand sweeps: the probe dwells near planes, moves on between them, trembles, and rides on breathing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ssl_zoo.phantom.anatomy import Anatomy
from ssl_zoo.phantom.planes import PLANES, Pose, between, off_pose, standard_pose, vary


@dataclass(frozen=True)
class Step:
    """Where the probe is in one frame: the plane, its turn (radians) and shift (mm) within it."""

    time_s: float
    pose: Pose
    turn: float
    shift: tuple[float, float]


def draw_sweep(anatomy: Anatomy, rng: np.random.Generator, frames: int, fps: float) -> list[Step]:
    """A sweep of `frames` frames over neighbouring planes in either direction, sometimes beyond the ends or astray."""
    stops = _stops(anatomy, rng, count=int(np.clip(round(frames / 17), 2, 9)))
    path = _timeline(rng, len(stops), frames)  # [frames], place along the stops
    tremor = [_tremor(rng, frames, fps) for _ in range(6)]
    time = np.arange(frames) / fps
    breath = np.sin(2 * np.pi * (rng.uniform(0.22, 0.4) * time + rng.random()))
    depth, side = rng.uniform(0.3, 1.6), rng.uniform(-0.8, 0.8)
    base_turn, base = rng.normal(0, 0.05), rng.normal(0, 2.0, 2)
    steps = []
    for k in range(frames):
        i = min(int(path[k]), len(stops) - 2)
        pose = between(stops[i], stops[i + 1], path[k] - i)
        lean = pose.normal + 0.018 * np.array([tremor[0][k], tremor[1][k], 0.0])
        centre = pose.centre + pose.normal * (0.22 * tremor[2][k])
        pose = Pose(centre, lean / np.linalg.norm(lean))
        across = base[0] + 0.5 * tremor[3][k] + side * breath[k]
        along = base[1] + 0.4 * tremor[4][k] + depth * breath[k]
        steps.append(Step(float(time[k]), pose, float(base_turn + 0.02 * tremor[5][k]), (float(across), float(along))))
    return steps


def _stops(anatomy: Anatomy, rng: np.random.Generator, count: int) -> list[Pose]:
    """The poses a sweep passes: planes in anatomical order, as an operator finds them, now and then none at all."""
    poses = [standard_pose(anatomy, plane) for plane in PLANES]
    at, direction = int(rng.integers(-1, len(poses) + 1)), int(rng.choice([-1, 1]))
    stops = []
    for _ in range(count):
        astray = not 0 <= at < len(poses) or rng.random() < 0.12
        stops.append(off_pose(anatomy, rng) if astray else vary(poses[at], rng, shift=0.5, lean=3.0))
        if not 0 <= at + direction < len(poses):
            direction = -direction  # turns round at the end
        at += direction
    return stops


def _timeline(rng: np.random.Generator, stops: int, frames: int) -> np.ndarray:
    """Place along the stops (0..stops-1) in each frame: still at a stop, then smoothly on to the next."""
    spans = rng.uniform(0.5, 1.5, 2 * stops - 1)  # dwell, move, dwell, ..., dwell
    edges = np.concatenate([[0], np.cumsum(spans)]) / spans.sum()
    now = (np.arange(frames) + 0.5) / frames
    place = np.zeros(frames)
    for k in range(stops - 1):
        start, end = edges[2 * k + 1], edges[2 * k + 2]
        part = np.clip((now - start) / (end - start), 0, 1)
        place += part**3 * (10 - 15 * part + 6 * part**2)  # minimum jerk, as hands move
    return place


def _tremor(rng: np.random.Generator, frames: int, fps: float) -> np.ndarray:
    """A smooth random path [frames] with unit SD: a hand's wandering over about a quarter of a second."""
    smooth = 0.15 * fps
    pad = int(4 * smooth) + 1
    path = ndimage.gaussian_filter1d(rng.standard_normal(frames + 2 * pad), smooth)[pad:-pad]
    return path * np.sqrt(2 * np.sqrt(np.pi) * smooth)
