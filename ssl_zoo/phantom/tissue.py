"""The tissues of the phantom: how strongly each scatters, attenuates and reflects.

Levels are plausible rather than measured: blood and fluid are nearly echo-free, lung is a little brighter than
liver and myocardium, ossified bone is brightest and shadows (compare the ISUOG guideline on fetal cardiac screening,
Carvalho et al. 2023, and the attenuation tables in Szabo, Diagnostic Ultrasound Imaging, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """One tissue. `echo_db`: scattering level against ossified bone at 0 dB; `attenuation`: dB/cm/MHz, one way;
    `impedance`: relative, only its jumps matter (they make the bright lines across the beam)."""

    name: str
    echo_db: float
    attenuation: float
    impedance: float


# A tissue's place in this tuple is its code in label maps; code 0 lies outside the sector.
TISSUES: tuple[Tissue, ...] = (
    Tissue("outside", -90, 0.0, 1.00),
    Tissue("maternal_wall", -28, 0.55, 1.05),
    Tissue("uterus_placenta", -26, 0.50, 1.05),
    Tissue("amniotic_fluid", -80, 0.01, 1.00),
    Tissue("skin", -19, 0.60, 1.08),
    Tissue("chest_muscle", -28, 0.55, 1.05),
    Tissue("rib", -4, 5.5, 1.35),
    Tissue("lung", -23, 0.50, 1.06),
    Tissue("vertebra", 0, 9.0, 1.45),
    Tissue("spinal_soft_tissue", -30, 0.60, 1.05),
    Tissue("myocardium", -29.5, 0.52, 1.06),
    Tissue("ventricular_septum", -28.5, 0.52, 1.07),
    Tissue("atrial_septum", -21, 0.52, 1.08),
    Tissue("pericardium", -18, 0.55, 1.08),
    Tissue("left_ventricle", -60, 0.15, 1.00),
    Tissue("right_ventricle", -60, 0.15, 1.00),
    Tissue("left_atrium", -60, 0.15, 1.00),
    Tissue("right_atrium", -60, 0.15, 1.00),
    Tissue("valve", -15, 0.55, 1.10),
    Tissue("aorta", -60, 0.15, 1.00),
    Tissue("descending_aorta", -60, 0.15, 1.00),
    Tissue("pulmonary_artery", -60, 0.15, 1.00),
    Tissue("arterial_duct", -60, 0.15, 1.00),
    Tissue("pulmonary_branch", -60, 0.15, 1.00),
    Tissue("superior_vena_cava", -60, 0.15, 1.00),
    Tissue("inferior_vena_cava", -60, 0.15, 1.00),
    Tissue("pulmonary_vein", -60, 0.15, 1.00),
    Tissue("arch_branch", -60, 0.15, 1.00),
    Tissue("vessel_wall", -18, 0.55, 1.09),
    Tissue("trachea", -50, 0.10, 1.00),
    Tissue("trachea_wall", -10, 0.80, 1.12),
    Tissue("thymus", -30, 0.50, 1.05),
    Tissue("mediastinum", -22, 0.55, 1.06),
    Tissue("liver", -27, 0.50, 1.06),
    Tissue("stomach", -75, 0.02, 1.00),
    Tissue("diaphragm", -13, 0.60, 1.10),
)

CODE: dict[str, int] = {tissue.name: code for code, tissue in enumerate(TISSUES)}
AMPLITUDE = np.array([10 ** (tissue.echo_db / 20) for tissue in TISSUES], np.float32)
ATTENUATION = np.array([tissue.attenuation for tissue in TISSUES], np.float32)  # dB/cm/MHz
IMPEDANCE = np.array([tissue.impedance for tissue in TISSUES], np.float32)
