"""Where the probe cuts: the five standard planes of the fetal heart as poses, and poses between them.

All five are (tilted) axial sections of the chest, in this order towards the head: four chambers (4CH), left outflow
(LVOT), right outflow (RVOT), three vessels (3VV), three vessels and trachea (3VT); Carvalho et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_zoo.phantom.anatomy import Anatomy

PLANES: tuple[str, ...] = ("4CH", "LVOT", "RVOT", "3VV", "3VT")
MIDDLE = (1.5, 0.5)  # x and y of the point that an operator keeps in the middle of the image, mm
DISC = 12.0  # mm: distances between planes are taken over a disc of this radius around the middle


@dataclass(frozen=True)
class Pose:
    """A plane through `centre` [3] with unit `normal` [3] (towards the head), thorax coordinates, 22-week mm."""

    centre: np.ndarray
    normal: np.ndarray


def standard_pose(anatomy: Anatomy, plane: str) -> Pose:
    """The textbook pose of one of PLANES in this fetus."""
    if plane == "4CH":
        return _through(anatomy.to_thorax(2, 0, 0), anatomy.axes[2])
    tubes = anatomy.tubes
    aorta, lung, duct = tubes[-2].points, tubes[-1].points, tubes[-3].points
    if plane == "LVOT":  # along the outflow, level across it
        return _along(anatomy.aortic_valve, aorta[3] - anatomy.to_thorax(5, 3.6, 0.8))
    if plane == "RVOT":
        return _through((anatomy.pulmonary_valve + lung[3]) / 2 - np.array([0, 0, 0.3]), np.array([0.0, 0.42, 1.0]))
    if plane == "3VV":
        return _through(np.array([0, lung[4][1], lung[4][2] + 0.2]), np.array([0.0, 0.1, 1.0]))
    top = (aorta[7] + duct[1]) / 2  # arch and duct in one plane
    return _through(top, np.array([0.0, 0.33, 1.0]))


def off_pose(anatomy: Anatomy, rng: np.random.Generator) -> Pose:
    """A pose that shows none of the planes: the abdomen, the upper chest, or a strongly oblique cut."""
    kind = rng.integers(3)
    if kind == 2:
        turn = rng.uniform(0, 2 * np.pi)
        lean = np.deg2rad(rng.uniform(28, 50))
        normal = np.array([np.sin(lean) * np.cos(turn), np.sin(lean) * np.sin(turn), np.cos(lean)])
        return _through(np.array([1.0, 0.0, rng.uniform(-4, 12)]), normal)
    height = rng.uniform(-22, -14) if kind == 0 else rng.uniform(21, 26)
    return _through(np.array([0.0, 0.0, height]), np.array([0.0, rng.normal(0, 0.08), 1.0]))


def vary(pose: Pose, rng: np.random.Generator, *, shift: float = 0.7, lean: float = 4.0) -> Pose:
    """The pose as an operator finds it: moved along its normal (SD `shift` mm) and leaned (SD `lean` degrees)."""
    leaned = pose.normal + np.deg2rad(lean) * rng.standard_normal(3)
    return _through(pose.centre + pose.normal * rng.normal(0, shift), leaned)


def between(first: Pose, second: Pose, part: float) -> Pose:
    """The pose `part` (0..1) of the way from one pose to another."""
    centre = (1 - part) * first.centre + part * second.centre
    return _through(centre, (1 - part) * first.normal + part * second.normal)


def pose_distance(pose: Pose, other: Pose) -> float:
    """Root mean square distance in mm between two planes over the disc around the middle of `other`."""
    offset = float((pose.centre - other.centre) @ pose.normal)
    tilt = 1 - float(np.clip(pose.normal @ other.normal, -1, 1)) ** 2
    return float(np.sqrt(offset**2 + DISC**2 / 4 * tilt))


def nearest_plane(anatomy: Anatomy, pose: Pose, within: float = 1.8) -> tuple[str, float]:
    """The nearest standard plane (or "none" beyond `within` mm) and its distance in mm."""
    distances = {plane: pose_distance(pose, standard_pose(anatomy, plane)) for plane in PLANES}
    plane = min(distances, key=lambda name: distances[name])
    return (plane if distances[plane] <= within else "none"), distances[plane]


def _through(point: np.ndarray, normal: np.ndarray) -> Pose:
    """The plane through `point`, centred where it meets the line of the operator's middle."""
    normal = normal / np.linalg.norm(normal)
    x, y = MIDDLE
    z = point[2] - (normal[0] * (x - point[0]) + normal[1] * (y - point[1])) / normal[2]
    return Pose(np.array([x, y, z]), normal)


def _along(point: np.ndarray, direction: np.ndarray) -> Pose:
    """The plane through `point` that holds `direction` and is level across it."""
    level = np.array([direction[1], -direction[0], 0.0])
    normal = np.cross(level, direction)
    return _through(point, normal * np.sign(normal[2]))
