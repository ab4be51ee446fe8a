"""A live table of all jobs with the time that is left, and a log that stays."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ssl_zoo.grid.jobs import Job

ROWS = 24  # inits in the table, at most
SHOWN_JOBS = 8  # jobs at work below it, at most


@dataclass
class Progress:
    """One row for each init while it lasts, those at work below, and a line of `log.jsonl` per event.

    Without a terminal there is no table, and a line for every pre-training run and every error instead.
    """

    jobs: list[Job]
    run: Path
    show: bool
    console: Console = field(default_factory=lambda: Console(stderr=True))
    shares: dict[str, float] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)  # how -> jobs
    cells: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # init, mode and how -> cells that have ended

    def __enter__(self) -> Progress:
        self.started = time.monotonic()
        self.total = sum(job.cost for job in self.jobs)
        self.done = 0.0
        self.quiet = self.show and not self.console.is_terminal
        self.planned = Counter((cell.init.name, cell.mode) for job in self.jobs for cell in job.cells)
        self.modes = list(dict.fromkeys(mode for _, mode in self.planned))
        trained = [name for job in self.jobs if (name := _encoder(job))]
        self.inits = list(dict.fromkeys([*trained, *(init for init, _ in self.planned)]))
        self.live = None
        if self.show and not self.quiet:
            self.live = Live(get_renderable=self.table, console=self.console, refresh_per_second=2, transient=True)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()

    def begin(self, job: Job) -> None:
        self.since[job.name] = time.monotonic()
        self.update(job, 0.0, "")

    def update(self, job: Job, share: float, line: str) -> None:
        self.done += (share - self.shares.get(job.name, 0.0)) * job.cost
        self.shares[job.name], self.lines[job.name] = share, f"{job.name} {share:.0%} {line}".strip()

    def end(self, job: Job, how: str, error: str = "", seconds: float | None = None) -> None:
        self.update(job, 1.0, "")
        del self.lines[job.name]
        self.ended[how] += 1
        self.cells.update((cell.init.name, cell.mode, how) for cell in job.cells)
        if seconds is None:
            now = time.monotonic()
            seconds = round(now - self.since.get(job.name, now), 1)
        event = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "job": job.name,
            "event": how,
            "seconds": seconds,
        }
        try:
            with open(self.run / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps(event | ({"error": error} if error else {})) + "\n")
        except OSError as told:  # the log is for people; the work goes on without it
            print(f"log.jsonl: {told.strerror}: {event['job']} {how} {error}".rstrip(), file=sys.stderr)
        if self.quiet and (job.is_pretraining or error):
            print(
                f"[{self.ended.total()}/{len(self.jobs)}] {job.name}: {how} in {seconds:.0f} s {error}".rstrip(),
                flush=True,
            )

    def table(self) -> Group:
        """What is seen at this moment."""
        table = Table(box=None, pad_edge=False)
        table.add_column("init", overflow="ellipsis")
        for column in ("pre-training", *self.modes, "failed"):
            table.add_column(column, justify="right")
        for init in self.inits[:ROWS]:
            cells = []
            for mode in self.modes:
                planned = self.planned[init, mode]
                done = sum(self.cells[init, mode, how] for how in ("done", "failed", "blocked", "lost"))
                cells.append(f"{done}/{planned}" if planned else "")
            failed = sum(self.cells[init, mode, how] for mode in self.modes for how in ("failed", "blocked", "lost"))
            table.add_row(init, self._training(init), *cells, str(failed or ""))
        more = [Text(f"and {len(self.inits) - ROWS} more inits")] if len(self.inits) > ROWS else []
        return Group(table, *more, Text(self._summary(), style="bold"), *self._at_work())

    def _training(self, init: str) -> str:
        """The mean share that the pre-training of an init, all seeds and rungs, has done."""
        shares = [self.shares.get(job.name, 0.0) for job in self.jobs if _encoder(job) == init]
        return f"{sum(shares) / len(shares):.0%}" if shares else ""

    def _summary(self) -> str:
        share = self.done / self.total if self.total else 1.0
        spent = time.monotonic() - self.started
        left = f", {in_words(spent * (1 - share) / share)} left" if share > 0.01 else ""
        return f"{share:.0%}, {self.ended.total()} of {len(self.jobs)} jobs, {in_words(spent)}{left}"

    def _at_work(self) -> Iterator[Text]:
        lines = list(self.lines.values())
        yield from (Text(line, overflow="ellipsis", no_wrap=True) for line in lines[:SHOWN_JOBS])
        if len(lines) > SHOWN_JOBS:
            yield Text(f"and {len(lines) - SHOWN_JOBS} more at work")


def in_words(seconds: float) -> str:
    """A time as people say it, rounded: "40 s", "12 min", "3 h 20 min", "2 d 4 h"."""
    if seconds < 60:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _encoder(job: Job) -> str:
    """The name of the init that a job pre-trains; nothing for cells."""
    if job.rung is not None:
        return job.rung.init
    return job.name.rpartition("-s")[0] if job.training is not None else ""
