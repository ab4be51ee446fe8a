"""The commands. They parse and call, and decide nothing.

Exit status: 0 done, 1 some cells failed (listed), 2 wrong use; 128 + the number of a signal (SIGINT, SIGTERM, SIGUSR1)
that stopped it: pre-training is then saved where it stood, and the same command goes on.
"""

from __future__ import annotations

import errno
import os
import sys

from ssl_zoo.cli import audit, data, encoders, explain, export, predict, results, sources, study, zoo
from ssl_zoo.cli.app import app
from ssl_zoo.errors import UserError
from ssl_zoo.grid.stopping import leave_on_signal

__all__ = [
    "app",
    "audit",
    "data",
    "encoders",
    "explain",
    "export",
    "main",
    "predict",
    "results",
    "sources",
    "study",
    "zoo",
]

FULL_OR_CLOSED = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)
OTHER_KIND = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST)  # a folder where a file should go, or the other way round


def main() -> None:
    """The entry point of `ssl-zoo`: every error that a user can mend is one sentence, and `--debug` shows the rest."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    leave_on_signal()
    try:
        app()
    except UserError as error:
        if debug:
            raise
        if _is_first():
            print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if debug or error.errno not in (*FULL_OR_CLOSED, *OTHER_KIND):
            raise
        place = f" ({error.filename})" if error.filename else ""
        then = "name another place" if error.errno in OTHER_KIND else "run again to go on"
        print(f"error: {error.strerror}{place}; nothing half-written is left, {then}", file=sys.stderr)
        sys.exit(2)


def _is_first() -> bool:
    """Whether this process speaks, as the only one or the first of those that torchrun or srun started."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"
