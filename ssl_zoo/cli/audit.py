"""The command that looks for leaks: audit."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ssl_zoo.cli.app import ExperimentFile, Overrides, Quiet, app


@app.command()
def audit(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    most: Annotated[int, typer.Option("--most", help="Lines of each kind; audit.json has all.")] = 50,
    quiet: Quiet = False,
) -> None:
    """Look for leaks: patients and images on two sides of a split, in pre-training and in test, under two labels.

    Leaks are listed, one a line, and the exit status is 2, or 0 where planes.audit=warn allows them. Notes are no
    leaks. All is kept in the run folder, in audit.json. `run` does the same before it computes anything.

    Example: ssl-zoo audit experiments/demo.yaml
    """
    from ssl_zoo.config import load_experiment
    from ssl_zoo.grid.audit import AUDIT
    from ssl_zoo.grid.run import only_runner
    from ssl_zoo.grid.study import audited
    from ssl_zoo.planes.audit import refusals

    loaded = load_experiment(experiment, overrides or [])
    with only_runner(loaded.run_folder):
        found = audited(loaded, progress=not quiet)
    leaks, allowed = refusals(found), loaded.planes.audit == "warn"
    notes = [finding for finding in found if finding not in leaks]
    for word, own, stream in (("leak", leaks, sys.stderr), ("note", [] if quiet else notes, sys.stdout)):
        for finding in own[:most]:
            print(f"{word}: {finding.sentence}", file=stream)
        if len(own) > most:
            print(f"{word}: {len(own) - most} more in {loaded.run_folder / AUDIT}", file=stream)
    if not quiet:
        count = f"{len(leaks)} leak{'' if len(leaks) == 1 else 's'}, {len(notes)} note{'' if len(notes) == 1 else 's'}"
        print(f"{loaded.name}: {count}" + (" (allowed by planes.audit=warn)" if leaks and allowed else ""))
    if leaks and not allowed:
        raise typer.Exit(2)
