"""How much of a map falls on what defines the plane: only the phantom knows.

Pointing game (Zhang et al. 2016, arXiv 1608.00507): is the map's highest point on a defining structure? Energy share
(Wang et al. 2020, Score-CAM, arXiv 1910.01279): which part of the map lies on them? Both mean nothing by themselves: a
structure that fills half of the image gets half of any map, and hearts lie in the middle of images. So the share
of the area, and a plain blob in the middle of the image, are measured beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ssl_zoo.errors import UserError
from ssl_zoo.grid.study import Study, phantom_folder
from ssl_zoo.phantom.structures import DEFINING, defining_mask
from ssl_zoo.scans.scaling import fit_box

CARD = "phantom.json"
BLOB = 1 / 5  # SD of the blob in the middle, of the image's side: about as wide as a heart


@dataclass(frozen=True)
class OnTarget:
    """How one map falls on the defining structures, each 0..1; `energy` is NaN for an empty map."""

    area: float
    energy: float
    pointing: float


def truth_folder(study: Study) -> Path | None:
    """The phantom's folder that a study's planes come from; None for any other planes, or when it is gone, and where
    the planes are cut to the sector, so that they lie elsewhere than the truth.
    """
    if study.planes.sector != "keep":
        return None
    own = Path(str(study.planes.table["path"].iloc[0])).parent.parent
    candidates = [own]
    if study.experiment.planes.source == "phantom":
        candidates.append(phantom_folder(study.experiment))
    known = all(name in DEFINING for name in study.planes.classes)
    found = [folder for folder in candidates if (folder / CARD).is_file() and (folder / "truth").is_dir()]
    return found[0] if found and known else None


def target_area(cohort: Path, image: str, plane: str, size: int) -> np.ndarray:
    """Which part of every pixel of a plane image is on structures that define `plane`: float32 `[size, size]`, 0..1.

    The image is scaled as the planes themselves are, with its aspect ratio kept.
    """
    mask = defining_mask(cohort, image, plane)
    box = fit_box(mask.shape[1], mask.shape[0], size)
    scaled = Image.fromarray(mask.astype(np.float32)).resize(box, Image.Resampling.BOX)
    area = np.zeros((size, size), np.float32)
    top, left = (size - box[1]) // 2, (size - box[0]) // 2
    area[top : top + box[1], left : left + box[0]] = np.asarray(scaled)
    return area


def on_target(found: np.ndarray, area: np.ndarray) -> OnTarget:
    """How a map `[size, size]` >= 0 falls on `area` `[size, size]`. An empty map points at nothing."""
    if found.shape != area.shape:
        raise UserError(f"a map of {found.shape} pixels cannot be held to a truth of {area.shape}")
    total = float(found.sum(dtype=np.float64))
    share = float((found * area).sum(dtype=np.float64)) / total if total > 0 else float("nan")
    highest = found == found.max()  # a plateau points at all of its pixels
    pointing = float((area[highest] >= 0.5).mean()) if total > 0 else 0.0
    return OnTarget(float(area.mean()), share, pointing)


def middle_blob(size: int) -> np.ndarray:
    """A map that knows nothing but that hearts lie in the middle: float32 `[size, size]`."""
    away = (np.arange(size) - (size - 1) / 2) / (BLOB * size)
    line = np.exp(-0.5 * away**2)
    return np.outer(line, line).astype(np.float32)
