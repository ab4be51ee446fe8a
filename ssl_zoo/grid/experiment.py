"""A whole experiment, from its inputs to its tables; every part that is done already is left as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from ssl_zoo.config import Experiment
from ssl_zoo.grid.cells import finished, write_tables
from ssl_zoo.grid.jobs import STAGES, Job, pending_jobs, tuning_jobs
from ssl_zoo.grid.plan import Cell, Plan, Pretraining, make_plan
from ssl_zoo.grid.pretrain import is_trained
from ssl_zoo.grid.run import only_runner, run_jobs
from ssl_zoo.grid.study import Study, check_inputs, open_study, prepare
from ssl_zoo.grid.tuning import all_rungs, write_choices


@dataclass(frozen=True)
class Outcome:
    """How an experiment stands."""

    run: Path
    done: int
    failed: dict[str, str]  # what failed -> why
    changed: bool  # whether the tables are other than before


class Execute(Protocol):
    """Does jobs; returns the errors of those that failed as a whole. `failed` are needs that have failed before."""

    def __call__(
        self, study: Study, jobs: list[Job], *, failed: Mapping[str, str] | None = None, progress: bool = True
    ) -> dict[str, str]: ...


def run_experiment(
    experiment: Experiment,
    *,
    stages: tuple[str, ...] = STAGES,
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> Outcome:
    """Prepare, pre-train, evaluate and gather the tables; go on where an earlier run stopped.

    Raises UserError before any work when an input is wrong, or when another process works in the run folder.
    """
    check_inputs(experiment)
    with only_runner(experiment.run_folder):
        study = prepare(experiment, progress=progress)
        return work_through(study, run_jobs, stages=stages, progress=progress, tell=tell)


def work_through(
    study: Study, execute: Execute, *, stages: tuple[str, ...], progress: bool, tell: Callable[[str], None]
) -> Outcome:
    """Everything that a prepared study lacks: first the learning rates, then encoders and cells, then the tables."""
    lost: dict[str, str] = {}
    if "pretrain" in stages and (jobs := tuning_jobs(study)):
        rungs = len(all_rungs(study))
        tell(f"{study.experiment.name}: {rungs} short runs to choose learning rates ({rungs - len(jobs)} done)")
        lost = execute(study, jobs, progress=progress)
    for line in write_choices(study):
        tell(line)
    plan = make_plan(study)
    blocked = {
        pretraining.init.folder: _why(pretraining, lost) for pretraining in plan.pretrainings if pretraining.missing
    }
    jobs = pending_jobs(study, plan, stages=stages)
    done, _ = finished(study.run, plan.cells)
    trained = sum(not p.missing and is_trained(study, p.training) for p in plan.pretrainings)
    tell(
        f"{study.experiment.name}: {len(plan.pretrainings)} encoders to pre-train ({trained} done), "
        f"{len(plan.cells)} cells ({len(done)} done)"
    )
    errors = execute(study, jobs, failed=blocked, progress=progress) if jobs else {}
    return gather(study, plan, {} if "evaluate" in stages else blocked | errors)


def _why(pretraining: Pretraining, lost: Mapping[str, str]) -> str:
    """Why an encoder has no learning rate: a rung that could not be tried, else what the ladder says."""
    own = [error for name, error in lost.items() if name.startswith(f"tuning {pretraining.init.name} x")]
    return own[0] if own else pretraining.missing


def gather(study: Study, plan: Plan, errors: dict[str, str]) -> Outcome:
    """Write `results.csv` and `predictions.parquet` from the cells that are done."""
    changed = write_tables(study.run, study.experiment.name, plan.cells, study.planes.table, list(study.planes.classes))
    done, failed = finished(study.run, plan.cells)
    reasons = {_words(study, cell): failed[cell.key] for cell in plan.cells if cell.key in failed}
    return Outcome(study.run, len(done), reasons | errors, changed)


def _words(study: Study, cell: Cell) -> str:
    init = cell.init
    several = len(study.experiment.pretrain.seeds) > 1 and init.pretrain_seed is not None
    start = f"{init.name} ({init.backbone}{f', pre-training seed {init.pretrain_seed}' if several else ''})"
    return f"{start} {cell.mode} {cell.fraction:g} fold {cell.fold} seed {cell.seed}"


def status(run: Path) -> pd.DataFrame:
    """One row per init and mode of a run folder: `init, backbone, encoder, mode, cells, done, failed`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = open_study(run)
        plan = make_plan(study)
    done, failed = finished(run, plan.cells)
    untrained = {p.init: "not trained yet" for p in plan.pretrainings if p.missing or not is_trained(study, p.training)}
    rows = []
    for cell in plan.cells:
        init = cell.init
        trained = untrained.get(init, "")
        rows.append((init.name, init.backbone, trained, cell.mode, 1, cell.key in done, cell.key in failed))
    table = pd.DataFrame(rows, columns=["init", "backbone", "encoder", "mode", "cells", "done", "failed"])
    keys = ["init", "backbone", "encoder", "mode"]
    return pd.DataFrame(table.groupby(keys, sort=False, as_index=False)[["cells", "done", "failed"]].sum())
