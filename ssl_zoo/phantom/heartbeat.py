"""The beat: where a point of the beating heart comes from in the heart at rest (end of diastole).

Everything that belongs to the tissue (labels, scatterers) is looked up at that material point, so walls thicken,
cavities empty and speckle moves together, without being drawn again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_zoo.phantom.anatomy import Anatomy

LONGITUDINAL = 1.8  # mm that the valve plane moves towards the apex in systole


@dataclass(frozen=True)
class Beat:
    """The state of the heart at one moment, each in 0..1."""

    ventricles: float  # contraction of the ventricles
    atria: float  # contraction of the atria
    inflow: float  # opening of mitral and tricuspid valve
    outflow: float  # opening of aortic and pulmonary valve


def beat_at(phase: float) -> Beat:
    """The state at `phase` of the cycle (0 = end of diastole, 1 = one beat later; any real number)."""
    phase = phase % 1.0
    systole = _bump(phase, 0.0, 0.36, 0.62)
    early, kick = _bump(phase, 0.44, 0.60, 0.80), _bump(phase, 0.74, 0.88, 1.0)
    return Beat(
        ventricles=systole,
        atria=_bump(phase, 0.72, 0.92, 1.12) + _bump(phase + 1, 0.72, 0.92, 1.12),
        inflow=min(1.0, max(early, 0.9 * kick, 0.35 if 0.6 < phase < 0.88 else 0.0)),
        outflow=_bump(phase, 0.04, 0.18, 0.42),
    )


def _bump(phase: float, start: float, top: float, end: float) -> float:
    """A smooth hill from 0 at `start` to 1 at `top` and back to 0 at `end`."""
    if not start < phase < end:
        return 0.0
    part = (phase - start) / (top - start) if phase < top else (end - phase) / (end - top)
    return float(0.5 - 0.5 * np.cos(np.pi * part))


def turned(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """`matrix` [3, 3] times `points` [3, N] in float32. Not `@`: its threads would fight in many processes."""
    rows = matrix.astype(np.float32)
    return np.stack([a * points[0] + b * points[1] + c * points[2] for a, b, c in rows])


def at_rest(anatomy: Anatomy, beat: Beat, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, ...]:
    """Heart coordinates [N] of the beating heart to those of the same tissue at the end of diastole.

    A cavity that shortens by a third pulls its inner wall far and its outer wall little: the pull falls with
    distance from the cavity, and so the wall thickens.
    """
    squeeze = anatomy.contraction * beat.ventricles
    fill = 0.22 * beat.atria - 0.10 * beat.ventricles  # the atria fill while the ventricles eject
    du, dv, dw = np.zeros_like(u), np.zeros_like(v), np.zeros_like(w)
    size = anatomy.ventricle
    for centre_v, radius in ((4.3, 4.1 * size), (-4.3, 4.2 * size)):
        a, b = v - np.float32(centre_v), w
        pull = squeeze * np.exp(-(a * a + b * b) / np.float32(radius**2) - ((u - 5) / 8.5) ** 2)
        dv += pull * a
        dw += pull * b
    for centre_u, centre_v in ((-3.6, 4.0), (-3.4, -4.6)):
        a, b, c = u - np.float32(centre_u), v - np.float32(centre_v), w
        pull = fill * np.exp(-(a * a + b * b + c * c) / np.float32((5.2 * anatomy.atrium) ** 2))
        du += pull * a
        dv += pull * b
        dw += pull * c
    du -= (LONGITUDINAL * beat.ventricles) * np.exp(-(((u - 1) / 7.5) ** 2) - (v * v + w * w) / 150)
    return u + du, v + dv, w + dw
