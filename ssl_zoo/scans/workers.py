"""Work on many scans in processes of their own: results in order, and a scan that kills its process costs that scan.

The pools of the standard library give up as a whole when one process dies, and do not say over which task. Here each
process has one task at a time, so that a decoder that crashes names its file.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from ssl_zoo.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")
TRIES = 3  # of a task whose process is killed
SPAWN = multiprocessing.get_context("spawn")  # fork is not safe beside the threads of torch and of decoders


class Died(Exception):
    """A process died over its task; the message says how. `killed`: from outside, for all that can be known."""

    def __init__(self, status: int | None) -> None:
        super().__init__(_how(status))
        self.killed = status == -signal.SIGKILL


class Mapper(Protocol):
    """`map` with one more word: `lost(task, how)` is the result of a task whose process died over it."""

    def __call__(
        self,
        function: Callable[[Task], Result],
        tasks: Sequence[Task],
        lost: Callable[[Task, Died], Result],
        /,
    ) -> Iterator[Result]: ...


def in_process(
    function: Callable[[Task], Result], tasks: Sequence[Task], lost: Callable[[Task, Died], Result], /
) -> Iterator[Result]:
    """The mapper without other processes; nothing is lost but all is, should a decoder crash."""
    return map(function, tasks)


@contextlib.contextmanager
def processes(workers: int | None, n_tasks: int) -> Iterator[Mapper]:
    """A mapper over `workers` fresh processes (None: one per available core), never more than there are tasks.

    With exactly one worker asked for, or one task, the work is done in this process. UserError for less than one.
    """
    if workers is not None and workers < 1:
        raise UserError(f"{workers} processes cannot read scans; give at least 1")
    count = min(workers or available_cores(), n_tasks)
    if count <= 1 and (workers == 1 or n_tasks <= 1):
        yield in_process
        return
    pool = _Pool(count)
    try:
        yield pool.map
    finally:
        pool.close()


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Worker:
    """One process that does one task at a time; a new one takes its place when it died."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        self.connection, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the process
        self.ready = False

    def call(self, function: Callable[[Any], Any], task: Any) -> Any:
        """The function's result or exception; Died when the process ends over it.

        One that is killed (by the system, when memory runs out, or by somebody) is no fault of the task's, and what
        comes out must not depend on it: the task is tried again, `TRIES` times in all.
        """
        for _ in range(TRIES - 1):
            try:
                return self._call(function, task)
            except Died as how:
                if not how.killed:
                    raise
        return self._call(function, task)

    def _call(self, function: Callable[[Any], Any], task: Any) -> Any:
        if self.process.exitcode is not None:
            self.start()
        try:
            if not self.ready:
                self.ready = self.connection.recv()
            self.connection.send((function, task))
            done, value = self.connection.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            if not self.ready:
                raise UserError(
                    f"a process to read scans could not start (exit status {self.process.exitcode}); in a script, the "
                    "call belongs below `if __name__ == '__main__':`"
                ) from error
            raise Died(self.process.exitcode) from error
        if not done:
            error, text = value
            raise error from RuntimeError(text)
        return value

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()


class _Pool:
    """Some workers, each fed by a thread of its own."""

    def __init__(self, count: int) -> None:
        self.workers = [_Worker() for _ in range(count)]
        self.threads: list[threading.Thread] = []
        self.closing = False

    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], lost: Callable[[Task, Died], Result], /
    ) -> Iterator[Result]:
        waiting: queue.SimpleQueue[tuple[int, Task]] = queue.SimpleQueue()
        for numbered in enumerate(tasks):
            waiting.put(numbered)
        ended: queue.SimpleQueue[tuple[int, Result | None, BaseException | None]] = queue.SimpleQueue()

        def feed(worker: _Worker) -> None:
            while not self.closing:
                try:
                    number, task = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    ended.put((number, worker.call(function, task), None))
                except Died as how:
                    ended.put((number, lost(task, how), None))
                except BaseException as error:  # raised again where the results are awaited
                    ended.put((number, None, error))
                    return

        self.threads = [threading.Thread(target=feed, args=(worker,), daemon=True) for worker in self.workers]
        for thread in self.threads:
            thread.start()
        early: dict[int, Any] = {}
        for number in range(len(tasks)):
            while number not in early:
                place, result, error = ended.get()
                if error is not None:
                    raise error
                early[place] = result
            yield early.pop(number)

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self.closing = True
        for worker in self.workers:
            worker.stop()  # its thread then finds the pipe closed
        for thread in self.threads:
            thread.join()


def _serve(connection: Connection) -> None:
    """What a process does: tasks, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is answered by the process that waits for the results
    connection.send(True)
    while True:
        try:
            function, task = connection.recv()
        except EOFError:
            return
        except Exception as error:  # what cannot be unpickled here is the caller's mistake
            connection.send(_failure(error))
            continue
        try:
            answer = True, function(task)
        except Exception as error:
            answer = _failure(error)
        connection.send(answer)


def _failure(error: Exception) -> tuple[bool, tuple[Exception, str]]:
    """An error and its traceback as text; some errors cannot be sent between processes."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(repr(error))
    return False, (error, text)


def _how(status: int | None) -> str:
    """How a process ended, by its exit status."""
    if status is None or status >= 0:
        return f"ended the process that read it (exit status {status})"
    name = signal.Signals(-status).name
    if name == "SIGKILL":
        return f"had the process that read it killed ({name}), perhaps for want of memory"
    return f"crashed the process that read it ({name})"
