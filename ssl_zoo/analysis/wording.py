"""Numbers and inits in words: lists that read like English, intervals in brackets, variants of one method together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssl_zoo.analysis.looks import Look, Starts
from ssl_zoo.analysis.style import mode_label, number, percent

FEW = 6  # inits that are listed by name; of more, those that are left out are


class Names:
    """Inits in words; the backbone is added where one name occurs on several."""

    def __init__(self, starts: Starts) -> None:
        self._starts = starts

    def of(self, row: pd.Series) -> str:
        """The init of a point."""
        look = self._starts[str(row["init"]), str(row["backbone"])]
        return _with_backbone(look.name, look)

    def list(self, rows: pd.DataFrame) -> str:
        """ "BYOL and SimCLR"; variants of one method go together: "SimCLR @near/@far"."""
        groups: dict[tuple[str, str, str], tuple[Look, list[str]]] = {}
        for _, row in rows.iterrows():
            look = self._starts[str(row["init"]), str(row["backbone"])]
            key = (look.family, look.backbone, "" if look.variant else look.name)
            groups.setdefault(key, (look, []))[1].append(f"@{look.variant}")
        return words(
            [
                _with_backbone(f"{look.family} {'/'.join(variants)}" if look.variant else look.name, look)
                for look, variants in groups.values()
            ]
        )

    def some(self, rows: pd.DataFrame, of: pd.DataFrame) -> str:
        """A long list in short: "all 15 inits", "12 of the 15 inits (not BYOL and MoCo v2)", "8 of the 15 inits"."""
        if len(rows) <= FEW:
            return self.list(rows)
        rest = of.drop(index=rows.index)
        if rest.empty:
            return f"all {len(of)} inits"
        left = f" (not {self.list(rest)})" if len(rest) <= FEW else ""
        return f"{len(rows)} of the {len(of)} inits{left}"


def _with_backbone(name: str, look: Look) -> str:
    return f"{name} ({look.backbone})" if look.shared else name


def words(names: Sequence[str]) -> str:
    """ "A", "A and B", "A, B and C"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def span(low: float, high: float, *, sign: bool = False, before: str = "95\u00a0% interval ") -> str:
    """ " (95 % interval 0.66 to 0.76)", or nothing where there is no interval."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    return f" ({before}{number(low, sign=sign)} to {number(high, sign=sign)})"


def setting_in_words(mode: str, fraction: float, rows: pd.DataFrame) -> str:
    """ "With 5 % of the labels (3 patients) and a linear probe"; `rows`: points of one mode and fraction."""
    patients = rows["n_train_patients"].mean()
    count = f" ({patients:.0f} patients)" if np.isfinite(patients) else ""
    how = {"linear": "a linear probe", "finetune": "fine-tuning"}.get(mode, mode_label(mode))
    return f"With {percent(fraction)} of the labels{count} and {how}"
