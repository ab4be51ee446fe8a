"""Run a plan on this machine: jobs with their needs, on as many workers as there are devices."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ssl_zoo.errors import UserError
from ssl_zoo.grid.cells import finished, write_failure
from ssl_zoo.grid.plan import Plan
from ssl_zoo.grid.progress import Progress
from ssl_zoo.grid.settings import devices_of
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.work import Job, is_trained, unfinished
from ssl_zoo.grid.worker import Worker

# How often an image passes through a network in a job, for the ETA only: forward and backward count as three.
PASSES_OF_METHOD = {"mae": 2, "dino": 14}
PASSES_OF_PAIR = 8


@contextmanager
def only_runner(run: Path) -> Iterator[None]:
    """Hold the run folder; the lock goes with the process, however it ends. UserError when another one holds it."""
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{run}: another ssl-zoo process is working in this run folder") from None
    try:
        yield
    finally:
        lock.release()


def pending_jobs(study: Study, plan: Plan, *, stages: tuple[str, ...] = ("pretrain", "evaluate")) -> list[Job]:
    """The jobs that are left: untrained encoders, then unfinished cells, those of one encoder's probe together."""
    done, _ = finished(study.run, plan.cells)
    jobs, waiting = [], set()
    for pretraining in plan.pretrainings:
        cells = unfinished((cell for cell in plan.cells if cell.init == pretraining.init), done)
        trained = is_trained(study.run, pretraining.init)
        if not trained and ("pretrain" in stages):
            passes = PASSES_OF_METHOD.get(pretraining.settings.method, PASSES_OF_PAIR)
            cost = passes * pretraining.settings.frames_seen
            jobs.append(Job(pretraining.init.folder, cost, pretraining=pretraining))
            waiting.add(pretraining.init.folder)
        elif not trained and cells and "evaluate" in stages:
            raise UserError(
                f"{study.run}: the encoder {pretraining.init.folder} is not trained yet; run `pretrain` first"
            )
    if "evaluate" not in stages:
        return jobs
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for cell in unfinished(plan.cells, done):
        own = (cell.key,) if cell.mode == "finetune" else ()
        groups.setdefault((cell.init, cell.mode, *own), []).append(cell)
    tuning = study.experiment.transfer.finetune
    for (init, mode, *_), cells in groups.items():
        needs = init.folder if init.pretrain_seed is not None and init.folder in waiting else None
        if mode == "finetune":
            cost = 3.0 * tuning.steps * tuning.batch_size + len(study.images)
            name = f"{init.name}-{init.backbone} finetune {cells[0].fraction:g} f{cells[0].fold} s{cells[0].seed}"
        else:
            cost = float(len(study.images) + 100 * len(cells))
            name = f"{init.name}-{init.backbone} linear"
        jobs.append(Job(name, cost, cells=tuple(cells), needs=needs))
    return jobs


def run_jobs(study: Study, jobs: list[Job], *, progress: bool = True) -> dict[str, str]:
    """Run all jobs, in parallel where nothing forbids it. Returns the errors of jobs that failed as a whole.

    A worker that dies (out of memory, say) fails its job and is replaced; cells whose pre-training
    failed are recorded as failed with that reason.
    """
    errors: dict[str, str] = {}
    queue, ended = list(jobs), {job.name for job in jobs}
    ended = {job.needs for job in jobs if job.needs} - ended  # needs that no job provides are met already
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
                        errors[job.name] = content[0]
                        _fail(study, job, content[0])
                        bar.end(job, "failed", content[0])
                        if kind == "died":
                            worker.stop()
                            workers.remove(worker)
                wait([end for worker in workers if worker.job for end in worker.waitables], timeout=1.0)
        finally:
            for worker in workers:
                worker.stop()
    return errors


def _next_ready(queue: list[Job], ended: set[str]) -> Job | None:
    """The dearest job whose need is met, so that long ones do not come last; pre-training before cells."""
    ready = [job for job in queue if job.needs is None or job.needs in ended]
    return max(ready, key=lambda job: (job.pretraining is not None, job.cost), default=None)


def _fail(study: Study, job: Job, error: str) -> None:
    done, _ = finished(study.run, job.cells)
    for cell in unfinished(job.cells, done):
        write_failure(study.run, cell, error)
