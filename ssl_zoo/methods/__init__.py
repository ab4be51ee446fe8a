"""The self-supervised methods, one file each. To add one: a file, and a line here."""

from __future__ import annotations

from ssl_zoo.methods.autoencoder import Autoencoder
from ssl_zoo.methods.barlow_twins import BarlowTwins
from ssl_zoo.methods.base import Method, Output
from ssl_zoo.methods.byol import BYOL
from ssl_zoo.methods.dino import DINO
from ssl_zoo.methods.inpainting_autoencoder import InpaintingAutoencoder
from ssl_zoo.methods.mae import MAE
from ssl_zoo.methods.moco import MoCo
from ssl_zoo.methods.recipe import Recipe
from ssl_zoo.methods.simclr import SimCLR
from ssl_zoo.methods.vicreg import VICReg

METHODS: dict[str, type[Method]] = {
    "barlow_twins": BarlowTwins,
    "simclr": SimCLR,
    "moco": MoCo,
    "byol": BYOL,
    "mae": MAE,
    "dino": DINO,
    "vicreg": VICReg,
    "autoencoder": Autoencoder,
    "inpainting_autoencoder": InpaintingAutoencoder,
}

__all__ = ["METHODS", "Method", "Output", "Recipe"]
