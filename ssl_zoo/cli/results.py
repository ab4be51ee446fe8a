"""The commands that read finished runs: report, ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_zoo.cli.app import AsJson, app, replying
from ssl_zoo.errors import UserError

RunFolders = Annotated[list[Path], typer.Argument(help="One run folder, or several to compare.", metavar="RUN")]


@app.command()
def report(
    run_folders: RunFolders,
    out: Annotated[
        Path | None, typer.Option(help="Where the page of several runs goes; beside the first without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the figures and write report.html of a run folder again, or one page that compares several runs.

    Example: ssl-zoo report runs/demo

    Example: ssl-zoo report runs/as_released runs/fair --out comparison.html
    """
    from ssl_zoo.analysis.report import write_report

    with replying(as_json) as reply:
        if len(run_folders) == 1:
            if out is not None:
                raise UserError("--out is for several runs; the report of one run is report.html in its folder")
            page = write_report(run_folders[0])
        else:
            from ssl_zoo.analysis.compare import write_comparison

            if out is not None and out.is_dir():
                raise UserError(f"--out {out}: this is a folder; name the page, as in {out / 'comparison.html'}")
            page = write_comparison(run_folders, out)
        print(page)
        reply({"page": page, "runs": run_folders})


@app.command()
def ranks(run_folders: RunFolders, as_json: AsJson = False) -> None:
    """Is the order of the inits stable over settings and seeds, and between runs?

    Example: ssl-zoo ranks runs/as_released runs/fair

    Example: ssl-zoo ranks runs/demo --json
    """
    if as_json:
        from ssl_zoo.analysis.rank_facts import rank_facts

        with replying(as_json) as reply:
            reply(rank_facts(run_folders))
        return
    from ssl_zoo.analysis.rank_report import ranks_report

    print(ranks_report(run_folders))
