"""Everything that is computed from the results of a run, once, for its tables and figures."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from ssl_zoo.analysis.friedman import Friedman, friedman
from ssl_zoo.analysis.label_area import Areas, label_areas
from ssl_zoo.analysis.labels_saved import labels_saved
from ssl_zoo.analysis.measures import measure_points
from ssl_zoo.analysis.ranks import Ranking, rank_inits
from ssl_zoo.analysis.statistics import Estimates, estimate


@dataclass(frozen=True, eq=False)
class Findings:
    """`measures`: of `measures.measure_points`; `saved`: of `labels_saved.labels_saved`; `ranking`: of the internal
    cohort, None where fewer than two inits can be compared; `friedman`: None where there is too little for it.
    """

    estimates: Estimates
    measures: pd.DataFrame
    areas: Areas
    saved: pd.DataFrame
    ranking: Ranking | None
    friedman: Friedman | None


def find(results: pd.DataFrame, predictions: pd.DataFrame | None, *, replicates: int = 2000) -> Findings:
    """All statistics of a run; `results` and `predictions` as in `statistics.estimate`."""
    estimates = estimate(results, predictions, replicates=replicates)
    ranking = rank_inits(estimates)
    return Findings(
        estimates,
        measure_points(results, predictions, replicates=replicates),
        label_areas(estimates),
        labels_saved(estimates),
        ranking,
        None if ranking is None else friedman(ranking),
    )
