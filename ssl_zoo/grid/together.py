"""A whole experiment under torchrun or Slurm's srun: all processes pre-train together, the first one does the rest.

The first process holds the run folder, prepares the study, says which encoder is next, and evaluates at the end. The
others follow: they train their part of every batch, write nothing, and leave before the evaluation.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from ssl_zoo.config import Experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import write_text
from ssl_zoo.grid.devices import devices_of
from ssl_zoo.grid.experiment import Outcome, work_through
from ssl_zoo.grid.jobs import STAGES, Job
from ssl_zoo.grid.launch import ENDINGS
from ssl_zoo.grid.only_runner import only_runner
from ssl_zoo.grid.pretrain import Training, is_trained, make_way, train_here
from ssl_zoo.grid.progress import Progress
from ssl_zoo.grid.run import run_jobs
from ssl_zoo.grid.stopping import StopSignal
from ssl_zoo.grid.study import Study, check_inputs, open_study, prepare
from ssl_zoo.grid.work import do_job
from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.pretraining.processes import Processes, connect

WORD = ".together"  # file in the run folder with which the first process says that all is prepared, or that it failed
LOOK_EVERY_S = 0.5
LAUNCHED_BY = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID")


def run_together(
    experiment: Experiment,
    *,
    stages: tuple[str, ...] = STAGES,
    progress: bool = True,
    tell: Callable[[str], None] = print,
) -> Outcome | None:
    """What `run_experiment` does, called by every process of a launch; None in all but the first.

    Raises SystemExit(128 + signal) in all of them when one is asked to stop, after the checkpoint.
    """
    check_inputs(experiment)  # by every process, so that all of them end alike where something is wrong
    device = devices_of(experiment.compute)[0].partition(":")[0]
    processes = connect(device, experiment.compute.precision)
    with contextlib.ExitStack() as held:
        word = uuid.uuid4().hex
        if processes.is_first:
            try:
                held.enter_context(only_runner(experiment))
            except BaseException:
                processes.from_first("")  # so that the others do not wait for a word
                raise
        word = processes.from_first(word)
        if not processes.is_first:
            follow(experiment, processes, device, word)
            return None
        try:
            study = prepare(experiment, progress=progress)
        except BaseException:
            write_text(experiment.run_folder / WORD, f"{word} failed")
            raise
        write_text(experiment.run_folder / WORD, word)
        leader = Leader(processes, device)
        try:
            outcome = work_through(study, leader.execute, stages=stages, progress=progress, tell=tell)
        finally:
            (experiment.run_folder / WORD).unlink(missing_ok=True)
        leader.part()
        return outcome


class Leader:
    """The first process: it has every pre-training run done by all, and evaluates alone."""

    def __init__(self, processes: Processes, device: str) -> None:
        self.processes, self.device = processes, device
        self.parted = False

    def execute(
        self, study: Study, jobs: list[Job], *, failed: Mapping[str, str] | None = None, progress: bool = True
    ) -> dict[str, str]:
        """`run_jobs`, with the pre-training by the whole group."""
        errors: dict[str, str] = {}
        shared = [job for job in jobs if job.is_pretraining]
        with StopSignal().listening() as stop, Progress(shared, study.run, show=progress) as bar:
            for job in shared:
                bar.begin(job)
                error = self._train(study, job, lambda done, line, job=job: bar.update(job, done, line), stop)
                if error:
                    errors[job.name] = error
                bar.end(job, "failed" if error else "done", error)
                if stop():
                    self.part()
                    stop.leave()
        alone = [job for job in jobs if not job.is_pretraining]
        if not alone:
            return errors
        self.part()
        return errors | run_jobs(study, alone, failed={**(failed or {}), **errors}, progress=progress)

    def _train(self, study: Study, job: Job, report: Callable[[float, str], None], stop: StopSignal) -> str:
        """One job by all processes; its error, or nothing."""
        training = job.training or (job.rung.training if job.rung else None)
        assert training is not None
        make_way(study, training)
        if not is_trained(study, training):
            self.processes.from_first(training)
        try:
            do_job(study, job, self.device, report, stop)
        except Interrupted:  # in all processes
            stop.leave()
        except UserError as error:
            return str(error)
        except tuple(ENDINGS.values()) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def part(self) -> None:
        """Let the others go, and be a process of its own from here on."""
        if not self.parted:
            self.parted = True
            self.processes.from_first(None)
            leave_group()


def follow(experiment: Experiment, processes: Processes, device: str, word: str) -> None:
    """Any other process: train what the first one says, until there is nothing more."""
    if not word:  # the first one may not work in the run folder
        raise SystemExit(1)
    _wait_for(experiment.run_folder / WORD, word)
    study = open_study(experiment.run_folder)
    with StopSignal().listening() as stop:
        while (training := processes.from_first(None)) is not None:
            assert isinstance(training, Training)
            try:
                train_here(study, training, device, lambda done, line: None, stop)
            except Interrupted:
                raise SystemExit(stop.status) from None
            except tuple(ENDINGS.values()):
                continue  # the first process has the same error, and records it
    leave_group()


def leave_group() -> None:
    """End the group of processes, so that what is started from here on is no part of it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    for name in LAUNCHED_BY:
        os.environ.pop(name, None)


def _wait_for(path: Path, word: str) -> None:
    """Until the first process has prepared the study: hours, perhaps, longer than a collective call may wait."""
    while True:
        said = path.read_text().split() if path.is_file() else []
        if said and said[0] == word:
            if len(said) > 1:
                raise SystemExit(1)
            return
        time.sleep(LOOK_EVERY_S)
