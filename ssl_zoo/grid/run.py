"""Run jobs on this machine, with their needs, on as many workers as there are devices."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Protocol

from ssl_zoo.grid.cells import write_failure
from ssl_zoo.grid.devices import devices_of
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.ledger import outcome
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.progress import Progress
from ssl_zoo.grid.queue import LocalQueue, Queue
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.worker import Worker

SAVING_S = 120.0  # how long pre-training runs may take to save their place when the command is asked to stop
LEAVING_S = 1.0  # and cells, which have nothing to save, to end by themselves


class Bar(Protocol):
    """Is told how the jobs go on."""

    def begin(self, job: Job) -> None: ...

    def update(self, job: Job, share: float, line: str) -> None: ...

    def end(self, job: Job, how: str, error: str = "") -> None: ...


def run_jobs(
    study: Study, jobs: list[Job], *, failed: Mapping[str, str] | None = None, progress: bool = True
) -> dict[str, str]:
    """Run all jobs, in parallel where nothing forbids it. Returns the errors of jobs that failed as a whole.

    A worker that dies (out of memory, say) fails its job and is replaced; cells whose pre-training
    failed are recorded as failed with that reason. `failed` are needs that have failed before, with the reason.
    When this process is asked to stop (SystemExit, KeyboardInterrupt), pre-training runs save their place first.
    """
    queue = LocalQueue(jobs, failed)
    devices = devices_of(study.experiment.compute)[: max(1, len(jobs))]
    with Progress(jobs, study.run, show=progress) as bar:
        work_off(study, queue, devices, bar)
    return {name: error for name, error in queue.errors.items() if name not in (failed or {})}


def work_off(
    study: Study, queue: Queue, devices: Sequence[str], bar: Bar, on_stop: Callable[[Job], None] | None = None
) -> None:
    """Do jobs of the queue, one at a time for each device, until there is none left for this process.

    `on_stop` is told each job that was interrupted when this process is asked to stop, once their places are saved.
    """
    workers: list[Worker] = []
    try:
        while not queue.is_over() or any(worker.job for worker in workers):
            for worker in list(workers):  # first, so that who is done is given the next job before anybody waits
                _hear(study, worker, workers, queue, bar)
            for job, error in queue.take_blocked():
                fail(study, job, error)
                bar.end(job, "blocked")
            for worker in workers:
                if worker.job is None and (job := queue.take()):
                    worker.start(left_of(study, job))
                    bar.begin(job)
            while len(workers) < len(devices) and (job := queue.take()):
                taken = {worker.device_slot for worker in workers}
                slot = next(k for k in range(len(devices)) if k not in taken)
                workers.append(Worker(study, slot, devices[slot]))
                workers[-1].start(left_of(study, job))
                bar.begin(job)
            if ends := [end for worker in workers if worker.job for end in worker.waitables]:
                wait(ends, timeout=1.0)
            elif not queue.is_over():
                time.sleep(0.2)  # the jobs that are left are with others
    except (SystemExit, KeyboardInterrupt):
        jobs = [worker.job for worker in workers if worker.job]
        _save_places(workers)
        if on_stop is not None:
            for job in jobs:
                on_stop(job)
        raise
    finally:
        for worker in workers:
            worker.stop()


def _hear(study: Study, worker: Worker, workers: list[Worker], queue: Queue, bar: Bar) -> None:
    """Take in what a worker has to tell; one that has died is put away."""
    for kind, *content in worker.messages():
        job = worker.job
        assert job is not None
        if kind == "progress":
            bar.update(job, *content)
            continue
        worker.job = None
        if kind in ("died", "interrupted"):
            worker.stop()
            workers.remove(worker)
        if kind == "interrupted":  # somebody asked the worker alone: its job goes on in another one
            queue.put_back(job)
            continue
        error = "" if kind == "done" else content[0]
        if error:
            fail(study, job, error)
        queue.end(job, error)
        bar.end(job, "failed" if error else "done", error)
    if worker.job is not None and queue.has_lost(worker.job):  # somebody else goes on with it
        worker.job = None
        worker.stop()
        workers.remove(worker)


def _save_places(workers: list[Worker]) -> None:
    """Ask all workers to stop, and wait until those that pre-train have written their checkpoints."""
    for worker in workers:
        worker.ask_to_stop()
    started = time.monotonic()
    while busy := [worker for worker in workers if worker.job]:
        saving = any(worker.job and worker.job.is_pretraining for worker in busy)
        if time.monotonic() - started > (SAVING_S if saving else LEAVING_S):
            return
        wait([end for worker in busy for end in worker.waitables], timeout=0.2)
        for worker in busy:
            if any(kind != "progress" for kind, *_ in worker.messages()):
                worker.job = None


def left_of(study: Study, job: Job) -> Job:
    """The job without the cells that have a result: of one that was interrupted, or whose last owner died over it."""

    def is_left(cell: Cell) -> bool:
        found = outcome(study.run, cell.key)
        return found is None or found.error is not None

    return dataclasses.replace(job, cells=tuple(cell for cell in job.cells if is_left(cell)))


def fail(study: Study, job: Job, error: str) -> None:
    """Record why the cells of a job that have no result have none, as far as the disk takes it; the runner tells it."""
    try:
        for cell in job.cells:
            found = outcome(study.run, cell.key)
            if found is None or found.error not in (None, error):
                write_failure(study.run, cell, error)
    except OSError:  # the disk is full or read-only, perhaps the very cause: the queue's errors are told all the same
        return
