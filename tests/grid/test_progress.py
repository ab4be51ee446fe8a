"""What is seen while jobs run: a table on a terminal, a few lines elsewhere, and a log in any case."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.progress import Progress, in_words

TRAINING = SimpleNamespace()
SIMCLR = Init("simclr", "resnet10t", "simclr", 0)
JOBS = [
    Job("simclr-s0", 80.0, training=TRAINING),  # pyright: ignore[reportArgumentType]
    Job(
        "simclr linear",
        10.0,
        cells=tuple(Cell(SIMCLR, "linear", 0.1, 0, s, str(s)) for s in range(4)),
        needs="simclr-s0",
    ),
    Job("simclr finetune", 10.0, cells=(Cell(SIMCLR, "finetune", 0.1, 0, 0, "f"),), needs="simclr-s0"),
]


def seen(bar):
    console = Console(file=io.StringIO(), width=100)
    console.print(bar.table())
    return console.file.getvalue()


def test_a_terminal_shows_every_init_and_what_is_at_work(tmp_path):
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with Progress(JOBS, tmp_path, True, console=console) as bar:
        assert bar.live is not None
        bar.begin(JOBS[0])
        bar.update(JOBS[0], 0.5, "loss 3.2")
        text = seen(bar)
        assert "simclr-s0 50% loss 3.2" in text
        assert next(line.split() for line in text.splitlines() if line.startswith("simclr ")) == [
            *("simclr", "50%", "0/4", "0/1")
        ]
        assert "40%, 0 of 3 jobs" in text
        bar.end(JOBS[0], "done")
        bar.begin(JOBS[1])
        bar.end(JOBS[1], "done")
        bar.end(JOBS[2], "failed", "it broke")
        text = seen(bar)
    assert [line.split() for line in text.splitlines() if line.startswith("simclr ")] == [
        ["simclr", "100%", "4/4", "1/1", "1"]
    ]
    assert "100%, 3 of 3 jobs" in text


def test_without_a_terminal_only_training_and_errors_are_told(tmp_path, capsys):
    with Progress(JOBS, tmp_path, True, console=Console(file=io.StringIO())) as bar:
        assert bar.live is None
        bar.end(JOBS[0], "done")
        bar.end(JOBS[1], "done")
        bar.end(JOBS[2], "failed", "it broke")
    assert capsys.readouterr().out.splitlines() == [
        "[1/3] simclr-s0: done in 0 s",
        "[3/3] simclr finetune: failed in 0 s it broke",
    ]
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(event["job"], event["event"]) for event in events] == [
        ("simclr-s0", "done"),
        ("simclr linear", "done"),
        ("simclr finetune", "failed"),
    ]


def test_quiet_says_nothing(tmp_path, capsys):
    with Progress(JOBS, tmp_path, False, console=Console(file=io.StringIO())) as bar:
        bar.end(JOBS[0], "failed", "it broke")
    assert capsys.readouterr().out == ""


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path, capsys):
    with Progress(JOBS, Path(tmp_path / "gone"), False) as bar:
        bar.end(JOBS[0], "done")
    assert "log.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (61, "1 min"), (3600, "1 h"), (12000, "3 h 20 min"), (187200, "2 d 4 h")],
)
def test_a_time_is_said_as_people_do(seconds, words):
    assert in_words(seconds) == words
