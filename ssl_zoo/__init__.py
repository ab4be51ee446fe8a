"""Which self-supervised pre-training is worth using on ultrasound scans, and how many labels does it save?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_zoo.encoders.files import load_encoder
    from ssl_zoo.errors import UserError
    from ssl_zoo.grid.cells import load_predictions, load_results

__version__ = "0.1.0"

_PUBLIC = {
    "load_encoder": "ssl_zoo.encoders.files",
    "load_results": "ssl_zoo.grid.cells",
    "load_predictions": "ssl_zoo.grid.cells",
    "UserError": "ssl_zoo.errors",
}
__all__ = ["UserError", "load_encoder", "load_predictions", "load_results"]


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used: `import ssl_zoo` itself loads no torch."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ssl_zoo' has no attribute '{name}'")
