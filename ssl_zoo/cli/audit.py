"""The command that looks for leaks: audit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_zoo.cli.app import AsJson, ExperimentFile, Overrides, Quiet, app, replying

if TYPE_CHECKING:
    from ssl_zoo.config import Experiment
    from ssl_zoo.planes.audit import Finding


@app.command()
def audit(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    most: Annotated[int, typer.Option("--most", help="Lines of each kind; audit.json has all.")] = 50,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Look for leaks: patients and images on two sides of a split, in pre-training and in test, under two labels.

    Leaks are listed, one a line, and the exit status is 2, or 0 where planes.audit=warn allows them. Notes are no
    leaks. All is kept in the run folder, in audit.json. `run` does the same before it computes anything, and once more
    when the frame store is built: then test images are also compared with its frames, whatever their patients are
    called.

    Example: ssl-zoo audit experiments/demo.yaml

    Example: ssl-zoo audit experiments/demo.yaml --json
    """
    from ssl_zoo.config import load_experiment
    from ssl_zoo.grid.audit import AUDIT
    from ssl_zoo.grid.only_runner import only_runner
    from ssl_zoo.grid.study import audited
    from ssl_zoo.planes.audit import refusals

    loaded = load_experiment(experiment, overrides or [])
    with replying(as_json) as reply:
        with only_runner(loaded):
            found = audited(loaded, progress=not quiet)
        leaks, allowed = refusals(found), loaded.planes.audit == "warn"
        notes = [finding for finding in found if finding not in leaks]
        reply({"experiment": loaded.name, "allowed": allowed, "leaks": leaks, "notes": notes})
    if not as_json:
        tell_findings(loaded, leaks, notes, most, quiet, AUDIT)
    if leaks and not allowed:
        raise typer.Exit(2)


def tell_findings(
    loaded: Experiment, leaks: list[Finding], notes: list[Finding], most: int, quiet: bool, everything: str
) -> None:
    """Print leaks and notes, of each kind `most` at most; `everything`: the file that has all of them."""
    for word, found, stream in (("leak", leaks, sys.stderr), ("note", [] if quiet else notes, sys.stdout)):
        for kind in dict.fromkeys(finding.kind for finding in found):
            own = [finding for finding in found if finding.kind == kind]
            for finding in own[:most]:
                print(f"{word}: {finding.sentence}", file=stream)
            if len(own) > most:
                print(f"{word}: {len(own) - most} more like these in {loaded.run_folder / everything}", file=stream)
    if not quiet:
        count = f"{len(leaks)} leak{'' if len(leaks) == 1 else 's'}, {len(notes)} note{'' if len(notes) == 1 else 's'}"
        allowed = leaks and loaded.planes.audit == "warn"
        print(f"{loaded.name}: {count}" + (" (allowed by planes.audit=warn)" if allowed else ""))
