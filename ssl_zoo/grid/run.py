"""Run jobs on this machine, with their needs, on as many workers as there are devices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

from ssl_zoo.files import holding
from ssl_zoo.grid.cells import finished, write_failure
from ssl_zoo.grid.devices import devices_of
from ssl_zoo.grid.jobs import Job, unfinished
from ssl_zoo.grid.progress import Progress
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.worker import Worker

SAVING_S = 120.0  # how long pre-training runs may take to save their place when the command is asked to stop
LEAVING_S = 1.0  # and cells, which have nothing to save, to end by themselves


@contextmanager
def only_runner(run: Path) -> Iterator[None]:
    """Hold the run folder. UserError when another process does."""
    with holding(run / ".lock", f"{run}: another ssl-zoo process is working in this run folder"):
        yield


def run_jobs(
    study: Study, jobs: list[Job], *, failed: Mapping[str, str] | None = None, progress: bool = True
) -> dict[str, str]:
    """Run all jobs, in parallel where nothing forbids it. Returns the errors of jobs that failed as a whole.

    A worker that dies (out of memory, say) fails its job and is replaced; cells whose pre-training
    failed are recorded as failed with that reason. `failed` are needs that have failed before, with the reason.
    When this process is asked to stop (SystemExit, KeyboardInterrupt), pre-training runs save their place first.
    """
    errors: dict[str, str] = dict(failed or {})
    queue, ended = list(jobs), {job.name for job in jobs}
    ended = {job.needs for job in jobs if job.needs} - ended - errors.keys()  # met already: no job provides them
    devices = devices_of(study.experiment.compute)[: max(1, len(jobs))]
    workers: list[Worker] = []
    with Progress(jobs, study.run, show=progress) as bar:
        try:
            while queue or any(worker.job for worker in workers):
                for job in [job for job in queue if job.needs in errors]:
                    queue.remove(job)
                    _fail(study, job, f"needs {job.needs}, which failed: {errors[job.needs or '']}")
                    bar.end(job, "blocked")
                for worker in workers:
                    if worker.job is None and (job := _next_ready(queue, ended)):
                        queue.remove(job)
                        worker.start(job)
                        bar.begin(job)
                while len(workers) < len(devices) and (job := _next_ready(queue, ended)):
                    queue.remove(job)
                    taken = {worker.device_slot for worker in workers}
                    slot = next(k for k in range(len(devices)) if k not in taken)
                    workers.append(Worker(study, slot, devices[slot]))
                    workers[-1].start(job)
                    bar.begin(job)
                for worker in list(workers):
                    for kind, *content in worker.messages():
                        job = worker.job
                        assert job is not None
                        if kind == "progress":
                            bar.update(job, *content)
                            continue
                        worker.job = None
                        if kind == "done":
                            ended.add(job.name)
                            bar.end(job, "done")
                            continue
                        if kind in ("died", "interrupted"):
                            worker.stop()
                            workers.remove(worker)
                        if kind == "interrupted":  # somebody asked the worker alone: its job goes on in another one
                            queue.append(job)
                            continue
                        errors[job.name] = content[0]
                        _fail(study, job, content[0])
                        bar.end(job, "failed", content[0])
                wait([end for worker in workers if worker.job for end in worker.waitables], timeout=1.0)
        except (SystemExit, KeyboardInterrupt):
            _save_places(workers)
            raise
        finally:
            for worker in workers:
                worker.stop()
    return {name: error for name, error in errors.items() if name not in (failed or {})}


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


def _next_ready(queue: list[Job], ended: set[str]) -> Job | None:
    """The dearest job whose need is met, so that long ones do not come last; pre-training before cells."""
    ready = [job for job in queue if job.needs is None or job.needs in ended]
    return max(ready, key=lambda job: (job.is_pretraining, job.cost), default=None)


def _fail(study: Study, job: Job, error: str) -> None:
    done, _ = finished(study.run, job.cells)
    for cell in unfinished(job.cells, done):
        write_failure(study.run, cell, error)
