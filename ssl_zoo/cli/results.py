"""The commands that read finished runs: report, ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_zoo.cli.app import RunFolder, app


@app.command()
def report(run_folder: RunFolder) -> None:
    """Draw the figures and write report.html of a run folder again.

    Example: ssl-zoo report runs/demo
    """
    from ssl_zoo.analysis.report import write_report

    print(write_report(run_folder))


@app.command()
def ranks(
    run_folders: Annotated[list[Path], typer.Argument(help="One run folder, or several to compare.", metavar="RUN")],
) -> None:
    """Is the order of the inits stable over settings and seeds, and between runs?

    Example: ssl-zoo ranks runs/as_released runs/fair
    """
    from ssl_zoo.analysis.rank_report import ranks_report

    print(ranks_report(run_folders))
