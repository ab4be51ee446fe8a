"""Machines and examinations: what a site's scanner is set to, and how one patient lies under its probe.

Site `internal` has 5 MHz class convex probes with a narrow, zoomed cardiac sector and 25 frames/s; site `external` an
older machine of lower frequency: wider beam, wider sector, harder grey map, smoothing and persistence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ssl_zoo.phantom.anatomy import Anatomy


@dataclass(frozen=True)
class Site:
    """What the machines of one hospital have in common; ranges are drawn from per patient."""

    devices: tuple[str, ...]
    frequency: tuple[float, float]  # MHz
    pulse: tuple[float, float]  # axial width of the pulse, SD in mm
    beam: tuple[float, float]  # lateral width of the beam at its focus, SD in mm
    probe_radius: tuple[float, float]  # mm
    sector: tuple[float, float]  # full angle, degrees
    dynamic_range: tuple[float, float]  # dB
    grey_curve: tuple[float, float]  # exponent of the grey map; above 1 darkens the mid-greys
    smooth: tuple[float, float]  # incoherent smoothing of the envelope, SD in lines
    persistence: tuple[float, float]  # share of the previous frame
    noise_db: tuple[float, float]  # electronic noise at 8 cm, in echo level
    gain: float  # what its users add on average, dB
    fps: int


SITES: dict[str, Site] = {
    "internal": Site(
        ("convex-a1", "convex-a2"), (4.6, 6.0), (0.15, 0.22), (0.28, 0.42), (40, 55), (40, 56), (50, 60), (0.9, 1.2),
        (0.5, 0.9), (0.0, 0.25), (-62, -50), 0.0, 25,
    ),
    "external": Site(
        ("convex-b1",), (3.2, 4.2), (0.23, 0.32), (0.42, 0.62), (55, 65), (54, 70), (42, 50), (1.1, 1.45),
        (0.9, 1.4), (0.25, 0.5), (-58, -46), 4.5, 32,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Exam:
    """One patient's examination: machine settings and how the fetus lies. Lengths in mm of this patient."""

    site: str
    device: str
    frequency: float
    pulse: float
    beam: float
    focus: float  # depth, mm
    probe_radius: float
    sector: float  # full angle, radians
    near: float  # depth where the displayed window begins, mm
    depth: float  # depth where it ends, mm
    dynamic_range: float
    gain: float  # dB
    grey_curve: float
    smooth: float
    persistence: float
    noise_db: float
    attenuation: float  # of this patient's tissue, relative
    compensation: float  # time gain compensation, dB/cm/MHz one way
    haze_db: float  # near-field clutter
    side_lobes: float  # share of the beam that leaks sideways
    fps: int
    approach: float  # radians: where the probe is, around the chest; 0 in front, pi/2 at the fetal left
    mirrored: bool  # the probe is turned round, so that left and right change sides
    middle_depth: float  # depth of the chest's middle, mm
    maternal: tuple[float, float, float]  # thickness of the maternal and uterine wall, its waviness (mm), its phase
    heart_rate: float  # beats per minute


def draw_exam(rng: np.random.Generator, site: str, anatomy: Anatomy) -> Exam:
    """Settings and lie of one patient; the operator fits depth and focus to the chest, as one does."""
    machine = SITES[site]
    # The probe rarely comes from behind: the spine would hide the heart.
    approach = float(rng.choice([rng.normal(0, 0.75), rng.normal(np.pi / 2, 0.4), rng.normal(-np.pi / 2, 0.4),
                                 rng.choice([-1, 1]) * rng.normal(2.25, 0.15)], p=[0.5, 0.2, 0.2, 0.1]))  # fmt: skip
    chest = anatomy.scale * float(np.hypot(anatomy.chest[0] * np.sin(approach), anatomy.chest[1] * np.cos(approach)))
    wall = float(rng.uniform(9, 26))
    middle = wall + float(rng.uniform(0.5, 9)) + chest
    depth = middle + chest * float(rng.uniform(0.95, 1.2)) + float(rng.uniform(0, 5))
    attenuation = float(np.clip(rng.normal(1, 0.12), 0.7, 1.4))
    return Exam(
        site=site,
        device=str(rng.choice(machine.devices)),
        frequency=float(rng.uniform(*machine.frequency)),
        pulse=float(rng.uniform(*machine.pulse)),
        beam=float(rng.uniform(*machine.beam)),
        focus=middle * float(rng.uniform(0.8, 1.25)),
        probe_radius=float(rng.uniform(*machine.probe_radius)),
        sector=float(np.deg2rad(rng.uniform(*machine.sector))),
        near=float(max(0.0, (wall - 3) * rng.uniform(0.3, 1))) if rng.random() < 0.7 else 0.0,
        depth=depth,
        dynamic_range=float(rng.uniform(*machine.dynamic_range)),
        gain=machine.gain + float(rng.normal(0, 2.2)),
        grey_curve=float(rng.uniform(*machine.grey_curve)),
        smooth=float(rng.uniform(*machine.smooth)),
        persistence=float(rng.uniform(*machine.persistence)),
        noise_db=float(rng.uniform(*machine.noise_db)),
        attenuation=attenuation,
        compensation=0.46 * attenuation * float(rng.normal(1, 0.05)),
        haze_db=float(rng.uniform(-48, -30)),
        side_lobes=float(rng.uniform(0.02, 0.10)),
        fps=machine.fps,
        approach=approach,
        mirrored=bool(rng.random() < 0.5),
        middle_depth=middle,
        maternal=(wall, float(rng.uniform(0.3, 2.5)), float(rng.uniform(0, 2 * np.pi))),
        heart_rate=float(np.clip(rng.normal(145, 9), 118, 172)),
    )
