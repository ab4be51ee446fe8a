from __future__ import annotations

import os
import sys
import time

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans.workers import Died, in_process, processes

DIE = "__import__('os').kill(__import__('os').getpid(), {})"


def name_it(task: str, how: Died) -> str:
    return f"lost {task[:10]}: {how}"


def test_results_come_in_the_order_of_the_tasks():
    tasks = ["__import__('time').sleep(0.3) or 0", *[str(number) for number in range(1, 8)]]
    with processes(2, len(tasks)) as mapper:
        assert list(mapper(eval, tasks, name_it)) == list(range(8))
        assert list(mapper(eval, ["'again'"], name_it)) == ["again"]
    assert list(in_process(eval, tasks[1:], name_it)) == list(range(1, 8))


def test_the_work_is_done_in_other_processes():
    with processes(2, 2) as mapper:
        others = set(mapper(eval, ["__import__('os').getpid()"] * 6, name_it))
    assert os.getpid() not in others
    with processes(1, 6) as mapper:
        assert set(mapper(eval, ["__import__('os').getpid()"] * 6, name_it)) == {os.getpid()}


def test_a_task_that_kills_its_process_is_lost_alone():
    tasks = ["1", DIE.format(11), "3", DIE.format(9), "__import__('os')._exit(3)", "6"]
    with processes(2, len(tasks)) as mapper:
        first, crash, third, kill, left, last = mapper(eval, tasks, name_it)
    assert (first, third, last) == (1, 3, 6)
    assert "SIGSEGV" in crash
    assert "SIGKILL" in kill
    assert "memory" in kill
    assert left == "lost __import__: ended the process that read it (exit status 3)"


def test_a_task_whose_process_somebody_kills_is_done_again(tmp_path):
    """Dies the first two times, by a file that counts them."""
    (tmp_path / "left").write_text("xx")
    source = (
        f"(p := __import__('pathlib').Path({str(tmp_path / 'left')!r})).read_text() and "
        "(p.write_text(p.read_text()[1:]), __import__('os').kill(__import__('os').getpid(), 9)) or 7"
    )
    with processes(2, 3) as mapper:
        assert list(mapper(eval, ["1", source, "3"], name_it)) == [1, 7, 3]


def test_an_error_comes_out_where_results_are_awaited_with_its_own_traceback():
    with processes(2, 3) as mapper:
        with pytest.raises(ZeroDivisionError) as raised:
            list(mapper(eval, ["1", "1/0", "3"], name_it))
        assert 'File "<string>", line 1' in str(raised.value.__cause__)


def test_leaving_does_not_wait_for_work_that_is_under_way():
    began = time.monotonic()
    with processes(2, 2) as mapper:
        assert next(mapper(eval, ["1", "__import__('time').sleep(60)"], name_it)) == 1
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("workers", [0, -1])
def test_less_than_one_process_is_refused(workers):
    with pytest.raises(UserError, match=f"{workers} processes cannot"), processes(workers, 3):
        pass


def test_processes_that_cannot_start_are_told_of_and_not_taken_for_broken_scans(monkeypatch):
    monkeypatch.setattr("ssl_zoo.scans.workers._serve", sys.exit)  # ends with a status as soon as it is called
    with processes(2, 2) as mapper, pytest.raises(UserError, match="could not start"):
        list(mapper(eval, ["1", "2"], name_it))
