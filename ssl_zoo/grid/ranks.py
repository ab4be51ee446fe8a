"""The processes that `grid.launch` starts: each is one rank of a pre-training run. No command for people."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.grid.launch import ENDINGS
from ssl_zoo.grid.pretrain import Training, train_here
from ssl_zoo.grid.stopping import StopSignal
from ssl_zoo.grid.study import open_study
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.settings import PretrainSettings


def main(run: str, task: str) -> int:
    """Train as one rank; tells the worker how it ended, and returns the exit status."""
    stop = StopSignal()
    stop.listen()
    threading.Thread(target=_obey, args=(stop,), daemon=True).start()
    first = int(os.environ["RANK"]) == 0
    out = sys.stdout

    def tell(kind: str, **content: Any) -> None:
        if first:
            print(json.dumps({"kind": kind, **content}), file=out, flush=True)

    given = json.loads(task)
    settings = given["settings"]
    training = Training(
        PretrainSettings(**{**settings, "budget": Budget(**settings["budget"])}),
        Path(given["folder"]),
        given["on_collapse"],
        given["store"],
    )
    study = open_study(Path(run))
    torch.set_num_threads(study.experiment.compute.threads)
    try:
        train_here(study, training, given["device"], lambda done, line: tell("progress", done=done, line=line), stop)
    except tuple(ENDINGS.values()) as error:  # the same one in every rank
        tell(type(error).__name__, error=str(error))
    except Exception as error:  # this rank's own: it ends here, torchrun ends the others, and the worker reads this
        print(f"process {os.environ['RANK']}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    else:
        tell("done")
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


def _obey(stop: StopSignal) -> None:
    """A line asks for the stop; the end of the pipe means that the worker is gone."""
    for _ in sys.stdin:
        stop.ask()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
