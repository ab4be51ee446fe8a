"""Which self-supervised pre-training is worth using on ultrasound scans, and how many labels does it save?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssl_zoo.analysis.pairs import load_pairings
    from ssl_zoo.analysis.reading import (
        load_budgets,
        load_diversity,
        load_encoder_points,
        load_histories,
        load_planes,
        load_store,
        load_stores,
        load_view_pages,
    )
    from ssl_zoo.encoders.load import load_encoder
    from ssl_zoo.errors import UserError
    from ssl_zoo.grid.cells import load_predictions, load_results

__version__ = "0.1.0"

_PUBLIC = {
    "load_encoder": "ssl_zoo.encoders.load",
    "load_results": "ssl_zoo.grid.cells",
    "load_predictions": "ssl_zoo.grid.cells",
    "load_histories": "ssl_zoo.analysis.reading",
    "load_budgets": "ssl_zoo.analysis.reading",
    "load_store": "ssl_zoo.analysis.reading",
    "load_stores": "ssl_zoo.analysis.reading",
    "load_diversity": "ssl_zoo.analysis.reading",
    "load_encoder_points": "ssl_zoo.analysis.reading",
    "load_planes": "ssl_zoo.analysis.reading",
    "load_view_pages": "ssl_zoo.analysis.reading",
    "load_pairings": "ssl_zoo.analysis.pairs",
    "UserError": "ssl_zoo.errors",
}
__all__ = [
    "UserError",
    "load_budgets",
    "load_diversity",
    "load_encoder",
    "load_encoder_points",
    "load_histories",
    "load_pairings",
    "load_planes",
    "load_predictions",
    "load_results",
    "load_store",
    "load_stores",
    "load_view_pages",
]


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used: `import ssl_zoo` itself loads no torch."""
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'ssl_zoo' has no attribute '{name}'")
