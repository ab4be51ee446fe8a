"""How each view is drawn: the recipes of the papers, adapted to grey frames, and the presets for ultrasound."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class ViewRecipe:
    """How one view is drawn. Every operation is left out when its probability or strength is zero."""

    crop_scale: tuple[float, float] = (0.3, 1.0)  # share of the frame's area, uniform
    aspect: tuple[float, float] = (3 / 4, 4 / 3)  # width to height, log-uniform
    min_content: float = 0.0  # least share of the frame's pixels that are not black in a crop, else it is redrawn
    flip: float = 0.5  # probability of a left-right flip
    rotation: float = 0.0  # degrees about the crop's centre, uniform in plus or minus
    tilt: float = 0.0  # degrees about the probe's face, uniform in plus or minus
    jitter: float = 0.8  # probability of gain, contrast and gamma together
    gain: float = 0.4  # factor uniform in 1 plus or minus this
    contrast: float = 0.4  # factor about the frame's mean, uniform in 1 plus or minus this
    gamma: float = 0.2  # exponent log-uniform between 1 / (1 + this) and 1 + this
    blur: float = 0.5  # probability
    blur_sigma: tuple[float, float] = (0.1, 2.0)  # pixels of 224, uniform; scaled to the view's size
    noise: float = 0.0  # probability of speckle and grain together
    speckle: float = 0.1  # deviation of the multiplicative noise, relative to the pixel
    grain: float = 0.02  # deviation of the additive noise, in 0..1 intensity
    solarise: float = 0.0  # probability
    tgc: float = 0.0  # probability of a random depth-gain curve
    tgc_gain: float = 0.3  # its knots are factors uniform in 1 plus or minus this
    cells: float = 0.0  # probability of multiplicative noise in speckle cells
    cells_deviation: float = 0.2  # its largest deviation, relative to the pixel
    haze: float = 0.0  # probability of a veil that is strongest at the probe
    haze_level: float = 0.3  # its largest brightness, in 0..1 intensity
    shadow: float = 0.0  # probability of one to three dark stripes along rays
    shadow_loss: float = 0.8  # largest share of the brightness that a stripe takes
    shadow_width: tuple[float, float] = (0.02, 0.08)  # half width of a stripe, share of the sector's, uniform
    small: bool = False  # a local crop of multi_crop, shown at 3/7 of the size (96 of 224 pixels)


# Crops: SimCLR and BYOL draw 0.08..1 of the area, MoCo 0.2..1. A crop below a third of a fetal frame often
# holds no heart, and arXiv 2403.07715 keeps at least 0.7; 0.3..1 is the default here, and `ViewSettings` sets
# another. Speckle noise is this suite's stand-in for the hue and grey-scale jitter, which do nothing on grey
# frames.
_SYMMETRIC = ViewRecipe(noise=0.2)  # MoCo v2: jitter 0.4, 0.4 with p 0.8, blur p 0.5
_BYOL_FIRST = ViewRecipe(noise=0.2, blur=1.0)  # BYOL, table 6
_BYOL_SECOND = ViewRecipe(noise=0.2, blur=0.1, solarise=0.2)
_SOLARISED = ViewRecipe(noise=0.2, solarise=0.1)  # VICReg, appendix C.1
_GLOBAL_FIRST = dataclasses.replace(_BYOL_FIRST, crop_scale=(0.4, 1.0))  # DINO, section 3.2 and released code
_GLOBAL_SECOND = dataclasses.replace(_BYOL_SECOND, crop_scale=(0.4, 1.0))
# DINO's local crops have 0.05..0.4 of the area; below a tenth many hold nothing but the black beside the sector.
_LOCAL = ViewRecipe(noise=0.2, crop_scale=(0.1, 0.4), small=True)
_SINGLE = ViewRecipe(crop_scale=(0.2, 1.0), jitter=0.0, blur=0.0)  # MAE, appendix A.1
MILD = ViewRecipe(
    crop_scale=(0.7, 1.0), rotation=10.0, jitter=0.5, gain=0.2, contrast=0.2, gamma=0.1, blur=0.0
)  # fine-tuning; crops as in arXiv 2403.07715
# The whole frame, flipped, with mild changes of intensity: "flips and a mild RandAugment" in arXiv 2407.21738.
_WHOLE = ViewRecipe(crop_scale=(1.0, 1.0), aspect=(1.0, 1.0), jitter=0.5, gain=0.2, contrast=0.2, gamma=0.1, blur=0.0)

VIEWS: dict[str, tuple[ViewRecipe, ...]] = {
    "two_view": (_SYMMETRIC, _SYMMETRIC),
    "two_view_solarised": (_SOLARISED, _SOLARISED),
    "asymmetric": (_BYOL_FIRST, _BYOL_SECOND),
    "multi_crop": (_GLOBAL_FIRST, _GLOBAL_SECOND, _LOCAL, _LOCAL, _LOCAL, _LOCAL),
    "single": (_SINGLE,),
    "autoencoder": (_WHOLE,),
    "mild": (MILD,),
}

ACOUSTIC = ("tgc", "cells", "haze", "shadow")  # operations on the frame's brightness, named by their probability
PRESETS: dict[str, dict[str, float]] = {
    "paper": {},
    # Mild on purpose: anatomy stays readable in every view. Not tuned on any score.
    "ultrasound": {
        "tgc": 0.5,
        "cells": 0.3,
        "haze": 0.3,
        "shadow": 0.3,
        "tilt": 5.0,
        "min_content": 0.3,
        "local_min_content": 0.1,
    },
}
