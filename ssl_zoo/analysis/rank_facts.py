"""Rank stability as plain values for scripts: what `rank_report` puts into words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ssl_zoo.analysis.rank_runs import RunAgreement, compare_runs
from ssl_zoo.analysis.ranks import Ranking, agreement_table, concordance, rank_inits, rank_table, setting_table
from ssl_zoo.analysis.run_folder import read_results_and_predictions
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.errors import UserError


def rank_facts(runs: Sequence[Path], *, replicates: int = 2000) -> dict[str, Any]:
    """`runs`: for each its cohort, `ranks` (a table, a row per init), `settings` (a row per setting and init),
    `agreement` (a row per thing that settings differ in) and `kendall_w` with its interval. `pairs`: how well the mean
    ranks of every two runs agree, None where they share too little.

    Raises UserError for a folder that is no run, or in which no two inits can be ranked.
    """
    told, rankings = [], []
    for path in runs:
        results, predictions = read_results_and_predictions(Path(path))
        ranking = rank_inits(estimate(results, predictions, replicates=replicates))
        if ranking is None:
            raise UserError(
                f"{path}: no two inits have a gain over an untrained network in one setting; nothing to rank"
            )
        rankings.append((str(path), ranking))
        told.append({"run": str(path), **_of_run(ranking), "agreement": agreement_table(results)})
    pairs = [
        {"first": one, "second": other, "agreement": _of_pair(compare_runs(first, second))}
        for (one, first), (other, second) in itertools.combinations(rankings, 2)
    ]
    return {"runs": told, "pairs": pairs}


def _of_run(ranking: Ranking) -> dict[str, Any]:
    w, low, high = concordance(ranking)
    return {
        "cohort": ranking.cohort,
        "ranks": rank_table(ranking),
        "settings": setting_table(ranking),
        "kendall_w": w,
        "kendall_w_low": low,
        "kendall_w_high": high,
        "left_out": [{"init": init, "backbone": backbone} for init, backbone in ranking.left_out],
    }


def _of_pair(found: RunAgreement | None) -> dict[str, Any] | None:
    if found is None:
        return None
    numbers = {name: getattr(found, name) for name in ("tau", "low", "high", "rho", "p_value")}
    return {"inits": len(found.first.starts), "settings": len(found.first.settings), **numbers}
