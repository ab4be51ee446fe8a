"""A worker process that does one job after another, may die, and dies with the process that runs it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.errors import UserError
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.stopping import SIGNALS, StopSignal
from ssl_zoo.grid.study import Study, open_study
from ssl_zoo.grid.work import do_job
from ssl_zoo.pretraining.endings import Interrupted

GONE_S = 5.0  # how long a process whose pipe has ended may take to be gone
STOPS = tuple(int(number) for number in SIGNALS)


class Worker:
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
        with contextlib.suppress(ConnectionError):  # it has died meanwhile, which `messages` tells
            self.pipe.send(job)

    def messages(self) -> list[tuple[Any, ...]]:
        """What has come since the last look; ("died", reason) when the process ended in the middle of a job."""
        found: list[tuple[Any, ...]] = []
        try:
            while self.job and self.pipe.poll():
                found.append(self.pipe.recv())
                if found[-1][0] != "progress":
                    return found
        except (EOFError, ConnectionError):  # the process is gone; its end is told below
            self.process.join(GONE_S)
        if self.job and not self.process.is_alive():
            code = self.process.exitcode or 0
            if -code in STOPS:  # asked to stop before it could listen: nothing was begun
                return [*found, ("interrupted",)]
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            found.append(("died", f"the worker process died ({how}{', out of memory?' if code == -9 else ''})"))
        return found

    def ask_to_stop(self) -> None:
        """Ask for a checkpoint and an end of the job, which is then told as "interrupted"."""
        if self.job and self.process.is_alive():
            self.process.terminate()  # SIGTERM, which the worker remembers until it is asked

    def stop(self) -> None:
        """Put the worker away at once: an idle one has nothing to lose, one at work loses what it has not saved."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _serve(pipe: Connection, run: str, device: str, threads: int) -> None:
    """The worker's side: take jobs from the pipe until it closes."""
    stop = StopSignal()
    stop.listen(ignore_ctrl_c=True)  # the runner answers Ctrl-C, and asks its workers to stop
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
            do_job(study, job, device, lambda done, line: pipe.send(("progress", done, line)), stop)
        except Interrupted:
            pipe.send(("interrupted",))
            return
        except UserError as error:
            pipe.send(("failed", str(error)))
        except Exception as error:  # sent to the runner, which records it
            pipe.send(("failed", f"{type(error).__name__}: {error}"))
        else:
            pipe.send(("done",))
