"""The jobs of a run folder that many processes on many machines share, with nothing between them but its files.

    .queue/<order>/order.json        the jobs, written once by the runner
    .queue/<order>/<job>.done        the job has ended well
    .queue/<order>/<job>.failed      it has not; the file says why
    .queue/claims/<job>.<n>          somebody does the job

A job belongs to who made its claim with the highest number. The owner writes into the claim again and again; a claim
that has been silent for `lost_after_s`, or that its owner has given up, is followed by one with the next number, which
the file system lets only one process create. An owner that was only slow finds the new claim and lets go. Ages are told
by the clock of the file system, so the machines' own clocks may differ. Should two processes do the same work all the
same, both write the same result, whole, under the same name.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint, read_json, write_json
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.queue import first_of
from ssl_zoo.grid.study import Study
from ssl_zoo.grid.tuning import all_rungs

FOLDER = ".queue"
BEATS = 6  # signs of life within the time after which a claim is lost


@dataclass(frozen=True)
class Claim:
    """Who does a job, and how it goes on."""

    job: str
    by: str  # the process: "<Slurm's job> on <machine>"
    age_s: float
    share: float = 0.0
    line: str = ""
    given_up: bool = False


class SharedQueue:
    """The jobs of an order, seen by one of the processes that do them."""

    def __init__(self, run: Path, order: str, jobs: Iterable[Job], me: str, lost_after_s: float) -> None:
        self.folder, self.claims = run / FOLDER / order, run / FOLDER / "claims"
        self.claims.mkdir(parents=True, exist_ok=True)
        self.me, self.lost_after_s = me, lost_after_s
        self._jobs = {mark_of(job): job for job in jobs}
        self._names = {job.name: mark for mark, job in self._jobs.items()}
        self._own: dict[str, int] = {}  # mark of a job -> number of our claim on it
        self._told: dict[str, dict[str, Any]] = {}
        self._since: dict[str, float] = {}
        self._beaten = 0.0
        self._errors: dict[str, str] = {}
        self._done: set[str] = set()

    def take(self) -> Job | None:
        self._look()
        ready = [
            job
            for mark, job in self._jobs.items()
            if not self._has_ended(mark) and mark not in self._own and self._is_met(job)
        ]
        while (job := first_of(ready)) is not None:
            ready.remove(job)
            if self._claim(mark_of(job)):
                return job
        return None

    def put_back(self, job: Job) -> None:
        mark = mark_of(job)
        self._tell(mark, given_up=True)
        self._own.pop(mark, None)

    def end(self, job: Job, error: str = "") -> None:
        mark = mark_of(job)
        seconds = round(time.monotonic() - self._since.get(mark, time.monotonic()), 1)
        how = "failed" if error else "done"
        write_json(self.folder / f"{mark}.{how}", {"job": job.name, "seconds": seconds, "error": error, "by": self.me})
        if mark in self._own:
            self._tell(mark, given_up=True)
            del self._own[mark]

    def take_blocked(self) -> list[tuple[Job, str]]:
        return []  # the runner records them, see `grid.slurm`

    def is_over(self) -> bool:
        self._look()
        self._beat()
        return all(self._has_ended(mark) or self._is_blocked(job) for mark, job in self._jobs.items())

    def has_lost(self, job: Job) -> bool:
        mark = mark_of(job)
        numbers = self._numbers().get(mark, [])
        if mark in self._own and (not numbers or max(numbers) > self._own[mark]):
            del self._own[mark]
            return True
        return False

    def progress(self, job: Job, share: float, line: str) -> None:
        """What the next sign of life says."""
        self._told[mark_of(job)] = {"share": share, "line": line}

    def _look(self) -> None:
        """Take in what has ended since the last look."""
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            mark, _, how = name.partition(".")
            if mark not in self._jobs or self._has_ended(mark):
                continue
            if how == "done":
                self._done.add(mark)
            elif how == "failed":
                self._errors[self._jobs[mark].name] = read_json(self.folder / name)["error"]

    def _has_ended(self, mark: str) -> bool:
        return mark in self._done or self._jobs[mark].name in self._errors

    def _is_met(self, job: Job) -> bool:
        return job.needs is None or (job.needs not in self._names) or self._names[job.needs] in self._done

    def _is_blocked(self, job: Job) -> bool:
        return job.needs is not None and job.needs in self._errors

    def _numbers(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        with os.scandir(self.claims) as entries:
            for entry in entries:
                mark, _, number = entry.name.partition(".")
                if mark and number.isdigit():
                    found.setdefault(mark, []).append(int(number))
        return found

    def _claim(self, mark: str) -> bool:
        """Make the claim with the next number, unless the last one is alive or somebody else is faster."""
        number = max(self._numbers().get(mark, [-1])) + 1
        if number > 0 and not self._is_free(self.claims / f"{mark}.{number - 1}"):
            return False
        try:
            os.close(os.open(self.claims / f"{mark}.{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        self._own[mark], self._since[mark] = number, time.monotonic()
        if (self.folder / f"{mark}.done").exists() or (self.folder / f"{mark}.failed").exists():
            self.put_back(self._jobs[mark])  # it had ended between the look and the claim
            return False
        self._tell(mark)
        return True

    def _is_free(self, path: Path) -> bool:
        claim = _read(path, now=file_system_time(self.claims, self.me))
        return claim is not None and (claim.given_up or claim.age_s > self.lost_after_s)

    def _beat(self) -> None:
        if time.monotonic() - self._beaten > self.lost_after_s / BEATS:
            self._beaten = time.monotonic()
            for mark in self._own:
                self._tell(mark)

    def _tell(self, mark: str, *, given_up: bool = False) -> None:
        path = self.claims / f"{mark}.{self._own[mark]}"
        said = {"job": self._jobs[mark].name, "by": self.me, "given_up": given_up, **self._told.get(mark, {})}
        try:
            write_json(path, said)
        except OSError:  # a full disk must not make the others think that this one is dead
            os.utime(path)


def mark_of(job: Job) -> str:
    """The name of a job's files."""
    return fingerprint(job.name)


def claims_of(run: Path, lost_after_s: float) -> list[Claim]:
    """The claims of a run folder that are alive: what is being done by somebody at this moment."""
    folder = run / FOLDER / "claims"
    if not folder.is_dir():
        return []
    newest: dict[str, int] = {}
    for path in folder.iterdir():
        mark, _, number = path.name.partition(".")
        if mark and number.isdigit():
            newest[mark] = max(newest.get(mark, 0), int(number))
    now = file_system_time(folder, f"look-{os.getpid()}")
    found = [_read(folder / f"{mark}.{number}", now) for mark, number in newest.items()]
    return [claim for claim in found if claim and not claim.given_up and claim.age_s <= lost_after_s]


def file_system_time(folder: Path, name: str) -> float:
    """What the clock of the file system says, which gives the files of all machines their times."""
    path = folder / f".clock-{fingerprint(name)}"
    try:
        with open(path, "w"):
            os.utime(path)
        return path.stat().st_mtime
    except OSError:  # a look into a folder of somebody else, or a full disk
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _read(path: Path, now: float) -> Claim | None:
    """A claim; None when it is just being replaced or has gone."""
    try:
        age_s = now - path.stat().st_mtime
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    said = json.loads(text) if text else {}  # empty: made a moment ago, or by one that died at once
    return Claim(
        said.get("job", ""),
        said.get("by", ""),
        age_s,
        said.get("share", 0.0),
        said.get("line", ""),
        said.get("given_up", False),
    )


def write_order(run: Path, order: str, jobs: Iterable[Job]) -> None:
    """Write down the jobs, by what names them in every process that opens the study."""
    written = [
        {"name": job.name, "cost": job.cost, "needs": job.needs, "cells": [cell.key for cell in job.cells]}
        for job in jobs
    ]
    write_json(run / FOLDER / order / "order.json", {"jobs": written})


def read_order(run: Path, order: str, study: Study) -> list[Job]:
    """The jobs of an order, put together from the study. UserError where the study is not the one they are of."""
    plan = make_plan(study)
    cells = {cell.key: cell for cell in plan.cells}
    trainings = {pretraining.init.folder: pretraining.training for pretraining in plan.pretrainings}
    rungs = {rung.name: rung for rung in all_rungs(study)}
    found = []
    for entry in read_json(run / FOLDER / order / "order.json")["jobs"]:
        name, keys = entry["name"], entry["cells"]
        if not all(key in cells for key in keys) or not (keys or name in trainings or name in rungs):
            raise UserError(f"{run}: the experiment has changed since its jobs were handed out; run the command again")
        found.append(
            Job(
                name,
                entry["cost"],
                training=None if keys else trainings.get(name),
                rung=None if keys else rungs.get(name),
                cells=tuple(cells[key] for key in keys),
                needs=entry["needs"],
            )
        )
    return found
