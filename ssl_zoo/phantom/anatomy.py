"""The anatomy of one fetus: sizes, heart axis, vessel paths; drawn per patient around a mid-trimester norm.

Two frames, both in millimetres of a 22-week fetus (`scale` turns them into the patient's millimetres):
- thorax: x to the fetal left, y to the front, z to the head; the origin lies in the middle of the chest at the
  level of the four-chamber view;
- heart: u along the septum from the crux to the apex, v across it towards the left ventricle, w to the head.

Norms: thorax about 43 x 41 mm, heart a third of its area with its axis 45 +- 15 degrees to the left, great vessels
3-5 mm, pulmonary artery > aorta > superior vena cava (ISUOG fetal cardiac screening guideline, Carvalho et al. 2023;
vessel and ventricle sizes after Schneider et al., Ultrasound Obstet Gynecol 26, 2005).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ssl_zoo.phantom.tissue import CODE

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Tube:
    """A vessel: a chain of points in thorax coordinates [K, 3] with a lumen radius at each [K], in mm."""

    code: int
    points: np.ndarray
    radii: np.ndarray
    wall: float  # mm


@dataclass(frozen=True)
class Anatomy:
    """One fetus. Lengths in millimetres of a 22-week fetus; multiply by `scale` for this one."""

    scale: float
    crux: np.ndarray  # [3], thorax coordinates
    axes: np.ndarray  # [3, 3], rows u, v, w in thorax coordinates
    ventricle: float  # relative size of the ventricular cavities
    right_left: float  # right ventricle against left, about 1
    atrium: float  # relative size of the atrial cavities
    wall: float  # relative wall thickness
    septum: float  # half thickness of the ventricular septum, mm
    flap: float  # how far the foramen's flap bows into the left atrium, mm
    contraction: float  # radial shortening of the ventricles, about 0.45
    chest: tuple[float, float]  # half axes of the chest, mm
    ribs: tuple[float, float, float]  # first rib's height, pitch and drop from back to front, mm
    pocket: np.ndarray  # [6], Fourier terms of the depth of the amniotic fluid around the chest, mm
    stomach: float  # relative size
    aortic_valve: np.ndarray  # [3], thorax coordinates
    pulmonary_valve: np.ndarray  # [3], thorax coordinates
    tubes: tuple[Tube, ...]

    def to_thorax(self, u: float, v: float, w: float) -> np.ndarray:
        """A point of the heart frame in thorax coordinates."""
        return self.crux + np.array([u, v, w]) @ self.axes


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """A fetus of about 19 to 28 weeks with normal anatomy and individual sizes, axis and vessel courses."""
    scale = float(np.clip(rng.normal(1.08, 0.13), 0.85, 1.4))
    axis = np.deg2rad(np.clip(rng.normal(45, 7), 28, 62))  # from the midline to the left
    tilt = np.deg2rad(rng.normal(3, 3))  # apex slightly towards the feet
    along = np.array([np.sin(axis) * np.cos(tilt), np.cos(axis) * np.cos(tilt), -np.sin(tilt)])
    across = np.array([np.cos(axis), -np.sin(axis), 0.0])
    axes = np.stack([along, across, np.cross(across, along)])  # w = v x u points to the head
    crux = np.array([1.0, 1.0, 0.0]) + rng.normal(0, 0.7, 3) * (1, 1, 0.3)

    def heart(u: float, v: float, w: float) -> np.ndarray:
        return crux + np.array([u, v, w]) @ axes

    aortic_valve = heart(0.2, 0.1, 3.1 + rng.normal(0, 0.25))
    pulmonary_valve = heart(7.4, -2.9, 6.6 + rng.normal(0, 0.3))
    return Anatomy(
        scale=scale,
        crux=crux,
        axes=axes,
        ventricle=float(np.clip(rng.normal(1.06, 0.06), 0.9, 1.2)),
        right_left=float(np.clip(rng.normal(1, 0.06), 0.85, 1.15)),
        atrium=float(np.clip(rng.normal(1, 0.07), 0.82, 1.18)),
        wall=float(np.clip(rng.normal(1, 0.13), 0.7, 1.35)),
        septum=float(np.clip(rng.normal(1.1, 0.13), 0.8, 1.45)),
        flap=float(rng.uniform(0.6, 2.2)),
        contraction=float(np.clip(rng.normal(0.45, 0.06), 0.3, 0.6)),
        chest=(float(21.6 * rng.normal(1, 0.035)), float(20.4 * rng.normal(1, 0.035))),
        ribs=(float(rng.uniform(0, 6)), float(rng.uniform(5.4, 6.8)), float(rng.uniform(12, 20))),
        pocket=np.concatenate([[rng.uniform(0, 9)], rng.normal(0, 2.5, 5)]),
        stomach=float(rng.uniform(0.7, 1.2)),
        aortic_valve=aortic_valve,
        pulmonary_valve=pulmonary_valve,
        tubes=_vessels(rng, heart, aortic_valve, pulmonary_valve),
    )


def _vessels(
    rng: np.random.Generator,
    heart: Callable[[float, float, float], np.ndarray],
    aortic_valve: np.ndarray,
    pulmonary_valve: np.ndarray,
) -> tuple[Tube, ...]:
    """The vessels' courses; later tubes are painted over earlier ones."""
    aorta, lung, cava, back = rng.normal(0, 0.45, (4, 3)) * (1, 1, 0.7)  # how far this fetus's courses lie aside, mm
    width = {name: float(np.clip(rng.normal(1, 0.07), 0.82, 1.2)) for name in ("aorta", "lung", "cava", "veins")}

    def tube(
        name: str, size: float, wall: float, points: list, radii: list[float], shift: np.ndarray | None = None
    ) -> Tube:
        moved = np.array([np.asarray(point, float) for point in points])
        if shift is not None:  # points that hang on the heart (ndarray) are placed already
            moved += np.array([[0, 0, 0] if isinstance(point, np.ndarray) else shift for point in points])
        return Tube(CODE[name], moved.astype(np.float32), (np.array(radii) * size).astype(np.float32), wall)

    junction = (3.9, -11.0, 12.6)
    return (
        tube("inferior_vena_cava", width["cava"], 0.35,
             [(-4.5, -5.5, -34), (-5, -4.5, -14), (-5.2, -2, -7), heart(-4.4, -4.4, -3)], [1.7, 1.7, 1.8, 1.9], cava),
        tube("pulmonary_vein", width["veins"], 0.3,
             [heart(-4.8, 5.6, 0.6), (8, -8.5, 1.2), (13.5, -10, 2.5)], [1.1, 0.95, 0.6]),
        tube("pulmonary_vein", width["veins"], 0.3,
             [heart(-6.2, 2.4, 0.4), (-5.5, -7.5, 0.8), (-12, -9, 2)], [1.1, 0.95, 0.6]),
        tube("pulmonary_branch", width["lung"], 0.35,
             [(4.2, -1.2, 12.2), (0, -4.2, 9.9), (-6.5, -5, 9.2), (-13, -5.5, 8)], [1.5, 1.4, 1.3, 0.8], lung),
        tube("pulmonary_branch", width["lung"], 0.35,
             [(4.2, -1.6, 12.2), (8.5, -4.4, 10.6), (13.5, -6.5, 10)], [1.4, 1.2, 0.8], lung),
        tube("superior_vena_cava", width["cava"], 0.4,
             [(-5.6, -0.6, 25), (-6, -1.2, 12), (-6.1, -0.6, 7), heart(-4.6, -4.4, 3)], [1.5, 1.5, 1.55, 1.7], cava),
        tube("arch_branch", width["aorta"], 0.4, [(-0.6, -0.8, 15.5), (-2.2, 0.2, 26)], [1.0, 0.9], aorta),
        tube("arch_branch", width["aorta"], 0.4, [(1.4, -4.4, 16.4), (2.2, -4, 27)], [0.9, 0.8], aorta),
        tube("descending_aorta", width["aorta"], 0.5,
             [junction, (4, -11.4, 6), (3.6, -11.2, -12), (2.6, -10.5, -36)], [1.75, 1.8, 1.75, 1.6], back),
        tube("arterial_duct", width["lung"], 0.45,
             [(4.3, -2, 13.2), (4.6, -5.2, 14.9), (4.4, -8.6, 15), junction], [1.75, 1.55, 1.5, 1.65], lung),
        tube("aorta", width["aorta"], 0.5,
             [heart(4.2, 3.4, 0.6), heart(2.2, 1.8, 1.9), aortic_valve, (-1.7, 1.6, 5.6), (-2.0, 2.2, 9.5),
              (-1.7, 1.3, 13.2), (-0.2, -1.6, 15.7), (2, -5.6, 16.4), (3.5, -9.2, 15.3), junction],
             [2.0, 1.85, 1.95, 2.15, 2.0, 1.9, 1.75, 1.6, 1.55, 1.65], aorta),
        tube("pulmonary_artery", width["lung"], 0.5,
             [heart(5.4, -4.6, 1.2), heart(6.6, -3.9, 4.0), pulmonary_valve, (4.1, 5.4, 9.2), (4.0, 2, 11.2),
              (4.2, -1.6, 13.3)],
             [2.5, 2.3, 2.15, 2.45, 2.35, 1.95], lung),
    )  # fmt: skip
