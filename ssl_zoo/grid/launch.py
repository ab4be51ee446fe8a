"""One pre-training run shared by several processes of this machine, which torchrun starts and a worker looks after.

A worker cannot have children of Python's multiprocessing, but it can run a command. The command's processes read from a
pipe: a line in it asks them to stop, and its end tells them that the worker is gone, so that none is ever left behind.
What the first process has to tell comes back as lines of JSON.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ssl_zoo.errors import UserError
from ssl_zoo.pretraining.endings import Collapsed, Diverged, Interrupted

if TYPE_CHECKING:
    from ssl_zoo.grid.pretrain import Training

STOP = "stop\n"
LOOK_EVERY_S = 0.2
ENDINGS: dict[str, type[Exception]] = {kind.__name__: kind for kind in (Diverged, Collapsed, Interrupted, UserError)}


def share_out(
    run: Path,
    training: Training,
    processes: int,
    device: str,
    report: Callable[[float, str], None],
    stop_requested: Callable[[], bool],
) -> None:
    """Train an encoder of the run folder with `processes` processes; on GPUs, one each from `device` ("cuda:<k>") on.

    Raises what the run raised (Diverged, Collapsed, Interrupted, UserError), and RuntimeError with what was said last
    when a process died.
    """
    task = {
        "settings": dataclasses.asdict(training.settings),
        "folder": str(training.folder),
        "on_collapse": training.on_collapse,
        "store": training.store,
        "device": device.partition(":")[0],
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += ["-m", "ssl_zoo.grid.ranks", str(run), json.dumps(task)]
    with tempfile.TemporaryFile("w+") as errors:
        group = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=_environment(processes, device),
            start_new_session=True,  # a Ctrl-C is for the runner to answer, which then asks for the stop below
        )
        assert group.stdin is not None
        assert group.stdout is not None
        try:
            ended = _follow(group.stdin, group.stdout, report, stop_requested)
            group.wait()
        finally:
            group.stdin.close()  # processes that are still there leave
            group.stdout.close()
            if group.poll() is None:
                group.terminate()
                group.wait()
        errors.seek(0)
        said = errors.read()
    if ended is None:
        raise RuntimeError(f"one of {processes} processes died (exit status {group.returncode}): {_last_words(said)}")
    if ended["kind"] != "done":
        raise ENDINGS.get(ended["kind"], RuntimeError)(ended["error"])


def _follow(
    orders: IO[str], lines: IO[str], report: Callable[[float, str], None], stop_requested: Callable[[], bool]
) -> dict[str, Any] | None:
    """Pass progress on, and the wish to stop; how the run ended, or None when the lines end without a word on it."""
    told: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in lines:
            told.put(line)
        told.put(None)

    threading.Thread(target=read, daemon=True).start()
    ended, stopping = None, False
    while True:
        if stop_requested() and not stopping:
            stopping = True
            with contextlib.suppress(BrokenPipeError):  # they have all ended by themselves
                orders.write(STOP)
                orders.flush()
        try:
            line = told.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            continue
        if line is None:
            return ended
        if not line.startswith("{"):  # some library printed something
            continue
        message = json.loads(line)
        if message["kind"] == "progress":
            report(message["done"], message["line"])
        else:
            ended = message


def _environment(processes: int, device: str) -> dict[str, str]:
    """The environment of the processes; their GPUs are the `processes` from the worker's own on."""
    environment = dict(os.environ)
    kind, _, place = device.partition(":")
    if kind == "cuda":
        visible = environment.get("CUDA_VISIBLE_DEVICES", "")
        known = [name.strip() for name in visible.split(",")] if visible else None
        first = int(place or 0)
        own = range(first, first + processes)
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(known[k] if known else str(k) for k in own)
    return environment


def _last_words(said: str) -> str:
    """The first complaint of a process, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if line.startswith("process ")), lines[-1] if lines else "it said nothing")
