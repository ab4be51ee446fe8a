"""Run jobs on a Slurm cluster: one job array, whose tasks take ready jobs from the run folder that all machines share.

The command hands out the jobs, submits the array and looks on; the tasks need neither it nor each other. A task does
what a worker of one machine does, so the numbers are the same. Told that its time is up (SIGUSR1), it saves its
pre-training, gives its jobs up and is queued again; a task that dies is missed after `compute.slurm.lost_after_s`.
Started again, the command hands out what is left under a new order; tasks of the old one end with the job at hand.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_zoo.config import Experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json, write_json
from ssl_zoo.grid.devices import devices_of
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.progress import Progress
from ssl_zoo.grid.queue import why_blocked
from ssl_zoo.grid.run import fail, work_off
from ssl_zoo.grid.shared_queue import FOLDER, SharedQueue, claims_of, mark_of, read_order, write_order
from ssl_zoo.grid.stopping import leave_on_signal
from ssl_zoo.grid.study import Study, open_study

CURRENT = "current.json"  # in .queue: the order that holds, and the number of its job array
WARNING = "USR1"  # Slurm's signal before a task's time is up
LOOK_EVERY_S = 1.0
ASK_EVERY_S = 10.0  # whether the tasks are still in Slurm's queue
OWN_VARIABLES = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_ID")  # that would make a task's processes a launch of many


def check_slurm() -> None:
    """Refuse to work for a cluster that is not there, before any work."""
    if shutil.which("sbatch") is None:
        raise UserError("compute.executor: 'slurm' is asked for, and this machine has no sbatch")
    _submitit()


def run_on_slurm(
    study: Study, jobs: list[Job], *, failed: Mapping[str, str] | None = None, progress: bool = True
) -> dict[str, str]:
    """What `run_jobs` does, by tasks of a cluster. Returns when all jobs have ended, or no task is left."""
    errors = dict(failed or {})
    work = [job for job in jobs if job.needs not in errors]
    with Progress(jobs, study.run, show=progress) as bar:
        for job in jobs:
            if job not in work:
                errors[job.name] = why_blocked(job, errors)
                fail(study, job, errors[job.name])
                bar.end(job, "blocked")
        if work:
            order, array = hand_out(study, work)
            try:
                _look_on(study, order, array, work, errors, bar)
            except (SystemExit, KeyboardInterrupt):
                print(f"Slurm's job {array} goes on without this command; `scancel {array}` ends it", file=sys.stderr)
                raise
    return {name: error for name, error in errors.items() if name not in (failed or {})}


def hand_out(study: Study, jobs: list[Job]) -> tuple[str, str]:
    """Write the order down and submit its array; the order's name and the array's number."""
    config, folder = study.experiment.compute.slurm, study.run / FOLDER
    order = uuid.uuid4().hex[:8]
    write_order(study.run, order, jobs)
    write_json(folder / CURRENT, {"order": order, "job": None})  # from here on, older tasks take no further job
    if not claims_of(study.run, config.lost_after_s):
        shutil.rmtree(folder / "claims", ignore_errors=True)
    (folder / "claims").mkdir(exist_ok=True)
    array = submit(study.experiment, study.run, order, min(config.tasks, len(jobs)))
    write_json(folder / CURRENT, {"order": order, "job": array})
    return order, array


def submit(experiment: Experiment, run: Path, order: str, tasks: int) -> str:
    """Submit the array; Slurm's number of it. UserError with sbatch's words where it refuses."""
    submitit = _submitit()
    compute = experiment.compute
    config = compute.slurm
    cpus = config.cpus or compute.threads * compute.devices * (compute.workers or 1)
    executor = submitit.SlurmExecutor(folder=run / FOLDER / order / "slurm", max_num_timeout=config.requeues)
    executor.update_parameters(
        job_name=f"ssl-zoo-{experiment.name}",
        time=config.minutes,
        mem=f"{round(config.memory_gb * 1024)}M",
        cpus_per_task=cpus,
        signal_delay_s=config.warning_s,
        array_parallelism=tasks,
        setup=[f"export SUBMITIT_PREEMPT_SIGNAL={WARNING}"],
        srun_args=[f"--cpus-per-task={cpus}"],  # which srun no longer takes from its job
        **{key: value for key, value in (("partition", config.partition), ("account", config.account)) if value},
        **({"gpus_per_node": config.gpus} if config.gpus else {}),
        additional_parameters={"requeue": True, **config.options},
    )
    try:
        job = executor.map_array(Task(str(run.resolve()), order), range(tasks))[0]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise UserError(f"sbatch refuses the job array: {' '.join(str(error).split())}") from None
    return str(job.job_id).partition("_")[0]


class Task:
    """What each task of the array runs. submitit pickles it, and calls `checkpoint` before it queues the task again."""

    def __init__(self, run: str, order: str) -> None:
        self.run, self.order = run, order

    def __call__(self, number: int) -> None:
        queue_again = signal.getsignal(signal.SIGUSR1)  # submitit's
        leave_on_signal()
        for name in OWN_VARIABLES:
            os.environ.pop(name, None)
        try:
            serve(Path(self.run), self.order)
        except SystemExit as end:
            if end.code == 128 + signal.SIGUSR1 and callable(queue_again):
                os.environ["SLURM_PROCID"] = "0"
                queue_again(signal.SIGUSR1, None)
            raise

    def checkpoint(self, number: int) -> Any:
        """The task as it goes on: all that it knows is in the run folder."""
        return _submitit().helpers.DelayedSubmission(self, number)


def serve(run: Path, order: str) -> None:
    """Take jobs of the order until none is left, or another order holds."""
    study = open_study(run)
    config = study.experiment.compute
    devices = devices_of(dataclasses.replace(config, executor="local"))
    number = "_".join(os.environ[name] for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID") if name in os.environ)
    me = f"{number or os.environ.get('SLURM_JOB_ID', os.getpid())} on {_machine()}"
    queue = OrderedQueue(run, order, read_order(run, order, study), me, config.slurm.lost_after_s)
    print(f"{me}: {len(devices)} worker(s) on {', '.join(devices)}", flush=True)
    work_off(study, queue, devices, Signs(queue), on_stop=queue.put_back)


class OrderedQueue(SharedQueue):
    """A shared queue that is over as soon as its order holds no more."""

    def take(self) -> Job | None:
        return super().take() if self._holds() else None

    def is_over(self) -> bool:
        return super().is_over() or not self._holds()

    def _holds(self) -> bool:
        return current_order(self.folder.parent.parent).get("order") == self.folder.name


class Signs:
    """What a task tells of its jobs: a line in its output, and words in the next sign of life."""

    def __init__(self, queue: SharedQueue) -> None:
        self.queue = queue

    def begin(self, job: Job) -> None:
        print(f"{time.strftime('%H:%M:%S')} {job.name}: begins", flush=True)

    def update(self, job: Job, share: float, line: str) -> None:
        self.queue.progress(job, share, line)

    def end(self, job: Job, how: str, error: str = "") -> None:
        print(f"{time.strftime('%H:%M:%S')} {job.name}: {how} {error}".rstrip(), flush=True)


def _look_on(study: Study, order: str, array: str, jobs: list[Job], errors: dict[str, str], bar: Progress) -> None:
    """Show how the tasks go on, and record what can never start, until all jobs have ended or no task is left."""
    folder, lost_after_s = study.run / FOLDER / order, study.experiment.compute.slurm.lost_after_s
    left, asked, gone = {mark_of(job): job for job in jobs}, time.monotonic(), False
    begun: set[str] = set()
    while left:
        names = {path.name for path in folder.iterdir()}
        for mark, job in list(left.items()):
            if how := next((how for how in ("done", "failed") if f"{mark}.{how}" in names), None):
                said = read_json(folder / f"{mark}.{how}")
                if said["error"]:
                    errors[job.name] = said["error"]
                bar.end(job, how, said["error"], seconds=said["seconds"])
            elif job.needs in errors:
                errors[job.name] = why_blocked(job, errors)
                fail(study, job, errors[job.name])
                bar.end(job, "blocked")
            else:
                continue
            del left[mark]
        by_name = {job.name: job for job in left.values()}
        for claim in claims_of(study.run, lost_after_s):
            if (job := by_name.get(claim.job)) is not None:
                if job.name not in begun:
                    begun.add(job.name)
                    bar.begin(job)
                bar.update(job, claim.share, claim.line)
        if gone:  # and this was the last look
            why = f"Slurm's job {array} has ended before it; see {folder / 'slurm'}"
            for job in left.values():
                errors[job.name] = why
                bar.end(job, "lost", why)
            return
        if left:
            time.sleep(LOOK_EVERY_S)
        if time.monotonic() - asked > ASK_EVERY_S:
            asked, gone = time.monotonic(), not is_there(array)


def is_there(array: str | None) -> bool:
    """Whether tasks of a job array run or wait in Slurm's queue. Where Slurm does not answer, they may."""
    if array is None:
        return False
    try:
        said = subprocess.run(
            ["squeue", "-h", "-o", "%T", "-j", array], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    if said.returncode:
        return "Invalid job id" not in said.stderr
    return bool(said.stdout.strip())


def current_order(run: Path) -> dict[str, Any]:
    """The order that holds in a run folder, and the number of its job array; nothing where none was handed out."""
    path = run / FOLDER / CURRENT
    return read_json(path) if path.is_file() else {}


def _machine() -> str:
    return os.environ.get("SLURMD_NODENAME", socket.gethostname())


def _submitit() -> Any:
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = WARNING  # read when the module below is imported
    try:
        import submitit
        import submitit.helpers
    except ImportError:
        raise UserError("compute.executor: 'slurm' needs submitit; pip install 'ssl_zoo[slurm]'") from None
    return submitit
