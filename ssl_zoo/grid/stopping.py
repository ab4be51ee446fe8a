"""Signals that ask a process to leave: by Ctrl-C, by a scheduler that ends a job, or that warns of its end."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from typing import NoReturn

# SIGUSR1 is what Slurm's --signal=USR1@60 sends before a job's time is up; it does not exist on Windows.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))


class StopSignal:
    """Whether this process has been asked to stop. Called, it says so; it is what `pretrain` asks at every step."""

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def ask(self, number: int | None = None) -> None:
        """Ask for the stop."""
        self._asked, self.number = True, number if self.number is None else self.number

    def listen(self, *, ignore_ctrl_c: bool = False) -> None:
        """Answer signals from here on by remembering them; with `ignore_ctrl_c` because another process answers it."""
        for number in SIGNALS:
            handler = signal.SIG_IGN if ignore_ctrl_c and number == signal.SIGINT else self._hear
            signal.signal(number, handler)

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Listen within the block; afterwards signals are answered as before."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def status(self) -> int:
        """The exit status: 128 + the signal, that of SIGTERM where another process was asked."""
        return 128 + (self.number or signal.SIGTERM)

    def leave(self) -> NoReturn:
        """Say so, and raise SystemExit(status)."""
        print(sentence(self.status), file=sys.stderr)
        raise SystemExit(self.status)

    def _hear(self, number: int, _: object) -> None:
        self.ask(number)


def leave_on_signal() -> None:
    """From here on a signal ends this process in order: one sentence, then SystemExit(128 + number) where it stands.

    Another SIGTERM or SIGUSR1 while it is leaving changes nothing; another Ctrl-C makes it leave at once.
    """

    def leave(number: int, _: object) -> None:
        for other in SIGNALS:
            if other != signal.SIGINT:
                signal.signal(other, signal.SIG_IGN)
        print(sentence(128 + number), file=sys.stderr)
        raise SystemExit(128 + number)

    for number in SIGNALS:
        signal.signal(number, leave)


def sentence(status: int) -> str:
    """What a command says that leaves on a signal."""
    name = signal.Signals(status - 128).name
    return f"{name}: what is done is saved; run the same command again to go on (exit status {status})"
