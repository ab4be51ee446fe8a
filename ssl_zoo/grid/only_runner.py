"""Who may work in a run folder: one command at a time, and none that would change what a cluster's tasks read there."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from ssl_zoo.config import Experiment, SlurmConfig, load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import holding
from ssl_zoo.grid.shared_queue import claims_of
from ssl_zoo.grid.slurm import current_order, is_there


@contextmanager
def only_runner(experiment: Experiment) -> Iterator[None]:
    """Hold the experiment's run folder for whatever writes its data, encoders or cells.

    UserError when another process holds it, and when tasks of a cluster work there under other settings, or on this
    machine at all: what would be changed there, they would take for their own.
    """
    run = experiment.run_folder
    with holding(run / ".lock", f"{run}: another ssl-zoo process is working in this run folder"):
        _refuse_beside_tasks(experiment)
        yield


def _refuse_beside_tasks(experiment: Experiment) -> None:
    run = experiment.run_folder
    busy = claims_of(run, experiment.compute.slurm.lost_after_s)
    current = current_order(run)
    if not busy and not (shutil.which("squeue") and is_there(current.get("job"))):
        return
    who = f"Slurm's job {current['job']}" if current.get("job") else ", ".join(sorted({claim.by for claim in busy}))
    mend = f"wait, or end it with `scancel {current.get('job') or 'JOB'}`"
    if experiment.compute.executor != "slurm":
        raise UserError(f"{run}: {who} is at work in this run folder; {mend}")
    if _numbers_of(load_experiment(run / "experiment.yaml")) != _numbers_of(experiment):
        raise UserError(f"{run}: {who} is at work in this run folder under other settings; {mend}")


def _numbers_of(experiment: Experiment) -> Experiment:
    """The experiment without what only says where it runs."""
    compute = dataclasses.replace(experiment.compute, executor="local", slurm=SlurmConfig(), workers=None)
    return dataclasses.replace(experiment, compute=compute)
