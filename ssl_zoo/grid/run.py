"""Run a plan on this machine: jobs with their needs, worker processes that may die, one live line of progress."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from ssl_zoo.errors import UserError
from ssl_zoo.grid.cells import finished, write_failure
from ssl_zoo.grid.plan import Plan
from ssl_zoo.grid.settings import devices_of
from ssl_zoo.grid.study import Study, open_study
from ssl_zoo.grid.work import Job, do_job, is_trained, unfinished

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
    workers: list[_Worker] = []
    with _Progress(jobs, study.run, show=progress) as bar:
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
                    workers.append(_Worker(study, slot, devices[slot]))
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


class _Worker:
    """A process that does one job after another, and the near end of its pipe."""

    def __init__(self, study: Study, slot: int, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.device_slot = slot
        self.job: Job | None = None
        self.pipe, far = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(far, str(study.run), device, study.experiment.compute.threads), daemon=True
        )
        self.process.start()
        far.close()

    @property
    def waitables(self) -> list[Connection | int]:
        return [self.pipe, self.process.sentinel]

    def start(self, job: Job) -> None:
        self.job = job
        self.pipe.send(job)

    def messages(self) -> list[tuple[Any, ...]]:
        """What has come since the last look; ("died", reason) when the process ended in the middle of a job."""
        found: list[tuple[Any, ...]] = []
        try:
            while self.job and self.pipe.poll():
                found.append(self.pipe.recv())
                if found[-1][0] != "progress":
                    return found
        except (EOFError, OSError):
            pass  # the process is gone; its end is told below
        if self.job and not self.process.is_alive():
            code = self.process.exitcode or 0
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            found.append(("died", f"the worker process died ({how}{', out of memory?' if code == -9 else ''})"))
        return found

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()


def _serve(pipe: Connection, run: str, device: str, threads: int) -> None:
    """The worker's side: take jobs from the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the runner answers Ctrl-C, and ends its workers
    parent = multiprocessing.parent_process()
    if parent is not None:  # a runner killed with -9 takes its workers along
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    torch.set_num_threads(threads)
    study = open_study(Path(run))
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            do_job(study, job, device, lambda done, line: pipe.send(("progress", done, line)))
        except Exception as error:  # sent to the runner, which records it
            pipe.send(
                (
                    "failed",
                    f"{type(error).__name__}: {error}" if not isinstance(error, UserError) else str(error),
                )
            )
        else:
            pipe.send(("done",))


@dataclass
class _Progress:
    """One bar over the cost of all jobs with the state of those at work, and a line of `log.jsonl` per event."""

    jobs: list[Job]
    run: Path
    show: bool
    shares: dict[str, float] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> _Progress:
        total = sum(job.cost for job in self.jobs)
        self.bar = tqdm(
            total=total,
            disable=None if self.show else True,
            leave=False,
            bar_format="{percentage:3.0f}% |{bar:20}| {elapsed}<{remaining} {postfix}",
        )
        self.quiet = bool(self.bar.disable) and self.show
        self.ended = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def begin(self, job: Job) -> None:
        self.since[job.name] = time.monotonic()
        self.update(job, 0.0, "")

    def update(self, job: Job, share: float, line: str) -> None:
        self.bar.update((share - self.shares.get(job.name, 0.0)) * job.cost)
        self.shares[job.name], self.lines[job.name] = share, f"{job.name} {share:.0%} {line}".strip()
        self.bar.set_postfix_str(f"{self.ended}/{len(self.jobs)} jobs  " + " | ".join(self.lines.values()))

    def end(self, job: Job, how: str, error: str = "") -> None:
        self.update(job, 1.0, "")
        del self.lines[job.name]
        self.ended += 1
        seconds = round(time.monotonic() - self.since.get(job.name, time.monotonic()), 1)
        event = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "job": job.name,
            "event": how,
            "seconds": seconds,
        }
        with open(self.run / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(event | ({"error": error} if error else {})) + "\n")
        if self.quiet and (job.pretraining or error):
            print(
                f"[{self.ended}/{len(self.jobs)}] {job.name}: {how} in {seconds:.0f} s {error}".rstrip(),
                flush=True,
            )
