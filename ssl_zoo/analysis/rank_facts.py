"""Rank stability as plain values for scripts, and the reading of a run that they share with `rank_report`'s words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_zoo.analysis.rank_runs import RunAgreement, compare_runs
from ssl_zoo.analysis.ranks import Ranking, agreement_table, concordance, rank_inits, rank_table, setting_table
from ssl_zoo.analysis.run_folder import read_results_and_predictions
from ssl_zoo.analysis.statistics import Estimates, estimate
from ssl_zoo.analysis.tables import unit_of
from ssl_zoo.errors import UserError


@dataclass(frozen=True, eq=False)
class RankedRun:
    """A run as far as its ranks go. `agreement`: of `ranks.agreement_table`; `unit`: of `tables.unit_of`."""

    path: Path
    unit: str
    estimates: Estimates
    ranking: Ranking
    agreement: pd.DataFrame


def read_ranked(path: Path, *, replicates: int) -> RankedRun:
    """Raises UserError for a folder that is no run, or in which no two inits can be ranked."""
    results, predictions = read_results_and_predictions(path)
    estimates = estimate(results, predictions, replicates=replicates)
    ranking = rank_inits(estimates)
    if ranking is None:
        raise UserError(f"{path}: no two inits have a gain over an untrained network in one setting; nothing to rank")
    return RankedRun(path, unit_of(results), estimates, ranking, agreement_table(results, predictions))


def rank_facts(runs: Sequence[Path], *, replicates: int = 2000) -> dict[str, Any]:
    """`runs`: for each its cohort, `unit`, `ranks` (a table, a row per init), `settings` (a row per setting and init),
    `agreement` (a row per thing that settings differ in) and `kendall_w` with its interval. `pairs`: how well the mean
    ranks of every two runs agree, None where they share too little.

    Raises UserError for a folder that is no run, or in which no two inits can be ranked.
    """
    read = [read_ranked(Path(path), replicates=replicates) for path in runs]
    pairs = [
        {
            "first": str(one.path),
            "second": str(other.path),
            "agreement": _of_pair(compare_runs(one.ranking, other.ranking)),
        }
        for one, other in itertools.combinations(read, 2)
    ]
    return {"runs": [_of_run(run) for run in read], "pairs": pairs}


def _of_run(run: RankedRun) -> dict[str, Any]:
    ranking = run.ranking
    w, low, high = concordance(ranking)
    return {
        "run": str(run.path),
        "unit": run.unit,
        "cohort": ranking.cohort,
        "ranks": rank_table(ranking),
        "settings": setting_table(ranking),
        "kendall_w": w,
        "kendall_w_low": low,
        "kendall_w_high": high,
        "left_out": [{"init": init, "backbone": backbone} for init, backbone in ranking.left_out],
        "agreement": run.agreement,
    }


def _of_pair(found: RunAgreement | None) -> dict[str, Any] | None:
    if found is None:
        return None
    numbers = {name: getattr(found, name) for name in ("tau", "low", "high", "rho", "p_value")}
    return {"inits": len(found.first.starts), "settings": len(found.first.settings), **numbers}
