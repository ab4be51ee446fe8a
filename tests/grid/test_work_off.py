"""Handing out jobs: a worker that is done has the next one at once, whatever the others do."""

from __future__ import annotations

import threading
import time
from multiprocessing import Pipe
from typing import Any

from ssl_zoo.grid import run
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.queue import LocalQueue


class FakeWorker:
    """Takes a job's cost in seconds for it, in a thread, and says nothing meanwhile."""

    def __init__(self, study: object, slot: int, device: str) -> None:
        self.device_slot, self.job = slot, None
        self.pipe, self.far = Pipe()

    @property
    def waitables(self) -> list[Any]:
        return [self.pipe]

    def start(self, job: Any) -> None:
        self.job = job
        threading.Timer(job.cost, lambda: self.far.send(("done",))).start()

    def messages(self) -> list[tuple[Any, ...]]:
        return [self.pipe.recv()] if self.job and self.pipe.poll() else []

    def stop(self) -> None:
        self.pipe.close()


class Spans:
    """When each job began and ended."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}

    def begin(self, job: Job) -> None:
        self.began[job.name] = time.monotonic()

    def update(self, job: Job, share: float, line: str) -> None: ...

    def end(self, job: Job, how: str, error: str = "") -> None:
        self.ended[job.name] = time.monotonic()


def test_a_worker_that_is_done_does_not_wait_for_the_others(monkeypatch):
    monkeypatch.setattr(run, "Worker", FakeWorker)
    short = [f"short {number}" for number in range(4)]
    queue, spans = LocalQueue([Job("long", 3.0), *(Job(name, 0.05) for name in short)]), Spans()
    began = time.monotonic()
    run.work_off(None, queue, ["cpu", "cpu"], spans)  # type: ignore[arg-type]  # jobs without cells ask no study
    assert set(spans.ended) == {"long", *short}
    assert all(spans.ended[name] < spans.ended["long"] for name in short)
    assert max(spans.ended[name] for name in short) - min(spans.began[name] for name in short) < 1.0
    assert time.monotonic() - began < 3.9  # and nobody waits when all is done
