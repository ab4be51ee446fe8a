"""Which job is next. Here for the one runner of a machine; `grid.shared_queue` has the same verbs for many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from ssl_zoo.grid.jobs import Job


class Queue(Protocol):
    """What the loop that looks after workers needs to know of the jobs, of which others may do some."""

    def take(self) -> Job | None:
        """A job that can be started now and that nobody else does; it is the caller's until it ends or is put back."""
        ...

    def put_back(self, job: Job) -> None:
        """A taken job was interrupted: somebody has to go on with it."""
        ...

    def end(self, job: Job, error: str = "") -> None:
        """A taken job has ended, well or with an error."""
        ...

    def take_blocked(self) -> list[tuple[Job, str]]:
        """Jobs that can never start, each with the reason; they have ended with it."""
        ...

    def is_over(self) -> bool:
        """Whether no job is left that this process may still get."""
        ...

    def has_lost(self, job: Job) -> bool:
        """Whether a taken job was given to somebody else; asked about once a second while the job is done."""
        ...


class LocalQueue:
    """The jobs of one runner. `errors` holds what failed; `failed` are needs that have failed before."""

    def __init__(self, jobs: Iterable[Job], failed: Mapping[str, str] | None = None) -> None:
        self._left = list(jobs)
        self.errors: dict[str, str] = dict(failed or {})
        names = {job.name for job in self._left}
        # needs that no job provides are met already
        self._ended = {job.needs for job in self._left if job.needs} - names - self.errors.keys()

    def take(self) -> Job | None:
        job = first_of(job for job in self._left if job.needs is None or job.needs in self._ended)
        if job is not None:
            self._left.remove(job)
        return job

    def put_back(self, job: Job) -> None:
        self._left.append(job)

    def end(self, job: Job, error: str = "") -> None:
        if error:
            self.errors[job.name] = error
        else:
            self._ended.add(job.name)

    def take_blocked(self) -> list[tuple[Job, str]]:
        found = [(job, why_blocked(job, self.errors)) for job in self._left if job.needs in self.errors]
        for job, why in found:
            self._left.remove(job)
            self.errors[job.name] = why
        return found

    def is_over(self) -> bool:
        return not self._left

    def has_lost(self, job: Job) -> bool:
        return False


def why_blocked(job: Job, errors: Mapping[str, str]) -> str:
    """The reason of a job whose need has failed."""
    return f"needs {job.needs}, which failed: {errors[job.needs or '']}"


def first_of(ready: Iterable[Job]) -> Job | None:
    """The dearest job, so that long ones do not come last; pre-training before cells."""
    return max(ready, key=lambda job: (job.is_pretraining, job.cost), default=None)
