"""The statistics of a run as CSV files beside its figures, with all digits and all cohorts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssl_zoo.analysis.csv_files import write_csv
from ssl_zoo.analysis.label_area import Areas
from ssl_zoo.analysis.statistics import Estimates


def write_score_files(
    folder: Path, estimates: Estimates, areas: Areas, saved: pd.DataFrame, measures: pd.DataFrame, *, unit: str
) -> list[Path]:
    """Write `scores`, `pairwise`, `label_areas`, `label_area_pairs`, `labels_saved` and `measures`, each `.csv`.

    `unit`, "patient" or "image", stands in each of them: what was resampled. Empty tables are not written.
    """
    tables = {
        "scores": estimates.table,
        "pairwise": estimates.pairs,
        "label_areas": areas.table,
        "label_area_pairs": areas.pairs,
        "labels_saved": saved,
        "measures": measures,
    }
    paths = []
    for name, table in tables.items():
        if len(table):
            path = Path(folder) / f"{name}.csv"
            paths.append(write_csv(path, table.assign(unit=unit)))
    return paths
