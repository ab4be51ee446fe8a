"""One live line for all jobs with the time that is left, and a log that stays."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from ssl_zoo.grid.jobs import Job


@dataclass
class Progress:
    """One bar over the cost of all jobs with the state of those at work, and a line of `log.jsonl` per event."""

    jobs: list[Job]
    run: Path
    show: bool
    shares: dict[str, float] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Progress:
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
        if self.quiet and (job.is_pretraining or error):
            print(
                f"[{self.ended}/{len(self.jobs)}] {job.name}: {how} in {seconds:.0f} s {error}".rstrip(),
                flush=True,
            )
