"""A whole experiment, from its inputs to its tables; every part that is done already is left as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssl_zoo.config import Experiment
from ssl_zoo.grid.cells import finished, write_tables
from ssl_zoo.grid.plan import Plan, make_plan
from ssl_zoo.grid.run import only_runner, pending_jobs, run_jobs
from ssl_zoo.grid.study import Study, check_inputs, open_study, prepare
from ssl_zoo.grid.work import is_trained


@dataclass(frozen=True)
class Outcome:
    """How an experiment stands."""

    run: Path
    done: int
    failed: dict[str, str]  # what failed -> why
    changed: bool  # whether the tables are other than before


def run_experiment(
    experiment: Experiment,
    *,
    stages: tuple[str, ...] = ("pretrain", "evaluate"),
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> Outcome:
    """Prepare, pre-train, evaluate and gather the tables; go on where an earlier run stopped.

    Raises UserError before any work when an input is wrong, or when another process works in the run folder.
    """
    check_inputs(experiment)
    with only_runner(experiment.run_folder):
        study = prepare(experiment, progress=progress)
        plan = make_plan(study)
        jobs = pending_jobs(study, plan, stages=stages)
        done, _ = finished(study.run, plan.cells)
        trained = sum(is_trained(study.run, pretraining.init) for pretraining in plan.pretrainings)
        tell(
            f"{experiment.name}: {len(plan.pretrainings)} encoders to pre-train ({trained} done), "
            f"{len(plan.cells)} cells ({len(done)} done)"
        )
        errors = run_jobs(study, jobs, progress=progress) if jobs else {}
        return gather(study, plan, errors if "evaluate" not in stages else {})


def gather(study: Study, plan: Plan, errors: dict[str, str]) -> Outcome:
    """Write `results.csv` and `predictions.parquet` from the cells that are done."""
    changed = write_tables(study.run, study.experiment.name, plan.cells, study.planes.table, list(study.planes.classes))
    done, failed = finished(study.run, plan.cells)
    reasons = {
        f"{cell.init.name} ({cell.init.backbone}) {cell.mode} {cell.fraction:g} fold {cell.fold} seed {cell.seed}": (
            failed[cell.key]
        )
        for cell in plan.cells
        if cell.key in failed
    }
    return Outcome(study.run, len(done), reasons | errors, changed)


def status(run: Path) -> pd.DataFrame:
    """One row per init and mode of a run folder: `init, backbone, encoder, mode, cells, done, failed`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = open_study(run)
        plan = make_plan(study)
    done, failed = finished(run, plan.cells)
    rows = []
    for cell in plan.cells:
        init = cell.init
        trained = "" if init.pretrain_seed is None or is_trained(run, init) else "not trained yet"
        rows.append((init.name, init.backbone, trained, cell.mode, 1, cell.key in done, cell.key in failed))
    table = pd.DataFrame(rows, columns=["init", "backbone", "encoder", "mode", "cells", "done", "failed"])
    keys = ["init", "backbone", "encoder", "mode"]
    return pd.DataFrame(table.groupby(keys, sort=False, as_index=False)[["cells", "done", "failed"]].sum())
