"""Which structures define each standard plane, and where they are in a plane image: the truth that maps are held to.

Named after the ISUOG guideline on fetal cardiac screening (Carvalho et al. 2023) and its three-vessel and trachea
view: what an examiner must see to call a plane by its name.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from ssl_zoo.errors import unknown
from ssl_zoo.phantom.cohort import structure_mask

DEFINING: dict[str, tuple[str, ...]] = {
    "4CH": (
        "left_ventricle",
        "right_ventricle",
        "left_atrium",
        "right_atrium",
        "ventricular_septum",
        "atrial_septum",
        "valve",
    ),
    "LVOT": ("left_ventricle", "ventricular_septum", "aorta", "valve"),
    "RVOT": ("right_ventricle", "pulmonary_artery", "pulmonary_branch", "valve"),
    "3VV": ("pulmonary_artery", "arterial_duct", "aorta", "superior_vena_cava"),
    "3VT": ("arterial_duct", "aorta", "superior_vena_cava", "trachea", "trachea_wall"),
}
WALL = 1 / 64  # of the image's side: how far a structure's wall reaches around its lumen; its edge is what is seen


def defining_mask(cohort: Path, image: str, plane: str) -> np.ndarray:
    """Where the structures that define `plane` are in a plane image: bool `[size, size]`, their walls included.

    `image` is the path in planes.csv. The mask is empty where none of them is cut, and never leaves the sector.
    Raises UserError for a plane that is not in DEFINING or an image without truth.
    """
    if plane not in DEFINING:
        raise unknown("standard plane", plane, DEFINING)
    codes, legend = structure_mask(cohort, image)
    wanted = [code for code, name in legend.items() if name in DEFINING[plane]]
    reach = max(1, round(WALL * codes.shape[0]))
    square = np.ones((3, 3), bool)
    grown = ndimage.binary_dilation(np.isin(codes, wanted), square, iterations=reach)
    return np.asarray(grown, dtype=bool) & (codes > 0)
