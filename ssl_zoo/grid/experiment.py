"""A whole experiment, from its inputs to its tables; every part that is done already is left as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ssl_zoo.config import Experiment
from ssl_zoo.grid.audit import audit_lines
from ssl_zoo.grid.cells import Gathered, finished, write_tables
from ssl_zoo.grid.jobs import STAGES, Job, pending_jobs, tuning_jobs
from ssl_zoo.grid.only_runner import only_runner
from ssl_zoo.grid.outline import outline, summary
from ssl_zoo.grid.plan import Cell, Plan, Pretraining, make_plan
from ssl_zoo.grid.run import run_jobs
from ssl_zoo.grid.selection import Selection, select
from ssl_zoo.grid.slurm import check_slurm, run_on_slurm
from ssl_zoo.grid.study import Study, check_inputs, prepare
from ssl_zoo.grid.tuning import all_rungs, write_choices

EVERYTHING = Selection()


@dataclass(frozen=True)
class Outcome:
    """How an experiment stands."""

    run: Path
    done: int
    failed: dict[str, str]  # what failed -> why
    changed: bool  # whether the tables are other than before
    unconverged: int = 0  # cells whose solver stopped short of its end


class Execute(Protocol):
    """Does jobs; returns the errors of those that failed as a whole. `failed` are needs that have failed before."""

    def __call__(
        self, study: Study, jobs: list[Job], *, failed: Mapping[str, str] | None = None, progress: bool = True
    ) -> dict[str, str]: ...


def run_experiment(
    experiment: Experiment,
    *,
    stages: tuple[str, ...] = STAGES,
    wanted: Selection = EVERYTHING,
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> Outcome:
    """Prepare, pre-train, evaluate and gather the tables; go on where an earlier run stopped.

    Cells that failed before are tried again; with `wanted.retry_failed` they alone are.
    Raises UserError before any work when an input is wrong, or when somebody else works in the run folder.
    """
    on_slurm = experiment.compute.executor == "slurm"
    check_inputs(experiment)
    if on_slurm:
        check_slurm()
    with only_runner(experiment):
        study = prepare(experiment, progress=progress)
        execute = run_on_slurm if on_slurm else run_jobs
        return work_through(study, execute, stages=stages, wanted=wanted, progress=progress, tell=tell)


def work_through(
    study: Study,
    execute: Execute,
    *,
    stages: tuple[str, ...],
    progress: bool,
    tell: Callable[[str], None],
    wanted: Selection = EVERYTHING,
) -> Outcome:
    """Everything that a prepared study lacks: first the learning rates, then encoders and cells, then the tables."""
    for line in audit_lines(study.run):
        tell(line)
    lost: dict[str, str] = {}
    part = part_of(study, make_plan(study), wanted)
    inits = None if wanted.is_all else {pretraining.init.name for pretraining in part.pretrainings}
    if "pretrain" in stages and (jobs := tuning_jobs(study, inits)):
        rungs = len(all_rungs(study))
        tell(f"{study.experiment.name}: {rungs} short runs to choose learning rates ({rungs - len(jobs)} done)")
        lost = execute(study, jobs, progress=progress)
    for line in write_choices(study):
        tell(line)
    plan = make_plan(study)  # the learning rates are known now, and with them the keys of the cells
    part = part_of(study, plan, wanted)
    blocked = {
        pretraining.init.folder: _why(pretraining, lost) for pretraining in part.pretrainings if pretraining.missing
    }
    jobs = pending_jobs(study, part, stages=stages)
    if jobs:
        tell(outline(study, part, left_to_others=stages != STAGES))
    tell(summary(study, part))
    errors = execute(study, jobs, failed=blocked, progress=progress) if jobs else {}
    outcome = gather(study, plan, part, jobs, blocked | errors, stages)
    if outcome.unconverged:
        tell(f"warning: {outcome.unconverged} cells did not converge; see `gap` in the notes of their records")
    return outcome


def part_of(study: Study, plan: Plan, wanted: Selection) -> Plan:
    """The wanted part of the plan; see `select`."""
    return plan if wanted.is_all else select(plan, wanted, finished(study.run, plan.cells)[1])


def _why(pretraining: Pretraining, lost: Mapping[str, str]) -> str:
    """Why an encoder has no learning rate: a rung that could not be tried, else what the ladder says."""
    own = [error for name, error in lost.items() if name.startswith(f"tuning {pretraining.init.name} x")]
    return own[0] if own else pretraining.missing


def gather(
    study: Study, plan: Plan, part: Plan, jobs: list[Job], errors: Mapping[str, str], stages: tuple[str, ...]
) -> Outcome:
    """Write `results.csv` and `predictions.parquet` from the cells that are done; say what of `part` has failed.

    `errors` are those of the jobs. Cells have theirs in their files, unless the disk took none.
    """
    table, classes = study.planes.table, list(study.planes.classes)
    reasons: dict[str, str] = {} if "evaluate" in stages else dict(errors)
    tables = Gathered()
    try:
        tables = write_tables(study.run, study.experiment.name, plan.cells, table, classes)
    except OSError as error:
        reasons["results.csv and predictions.parquet"] = f"{error.strerror}; run again to write them"
    done, failed = finished(study.run, part.cells)
    told = {cell.key: errors[job.name] for job in jobs if job.name in errors for cell in job.cells}
    for cell in part.cells:
        if cell.key not in done and (why := told.get(cell.key) or failed.get(cell.key)):
            reasons[words(study, cell)] = why
    return Outcome(study.run, len(done), reasons, tables.changed, tables.unconverged)


def words(study: Study, cell: Cell) -> str:
    """A cell as people name it."""
    init = cell.init
    several = len(study.experiment.pretrain.seeds) > 1 and init.pretrain_seed is not None
    start = f"{init.name} ({init.backbone}{f', pre-training seed {init.pretrain_seed}' if several else ''})"
    return f"{start} {cell.mode} {cell.fraction:g} fold {cell.fold} seed {cell.seed}"
