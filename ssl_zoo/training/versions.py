"""The versions of what numbers are computed with."""

from __future__ import annotations

import functools
import platform
from importlib import metadata

PACKAGES = ("ssl_zoo", "torch", "torchvision", "timm", "lightly", "numpy", "scikit-learn")


@functools.cache
def versions() -> dict[str, str]:
    """Python, the system and the packages that decide numbers, as they are installed here."""
    found = {"Python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    return found | {name: version(name) for name in PACKAGES}


def version(package: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
