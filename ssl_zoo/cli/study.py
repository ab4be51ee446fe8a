"""The commands that do an experiment, whole or in parts: run, pretrain, evaluate, status."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ssl_zoo.cli.app import ExperimentFile, Overrides, Quiet, RunFolder, app
from ssl_zoo.errors import UserError

if TYPE_CHECKING:
    from ssl_zoo.config import Experiment
    from ssl_zoo.grid.study import Study


@app.command()
def run(experiment: ExperimentFile, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Do everything: scans, frames, pre-training, the grid, tables, figures, report. Resumes.

    Example: ssl-zoo run experiments/demo.yaml pretrain.batch_size=64
    """
    _run(experiment, overrides, quiet, ("pretrain", "evaluate"))


@app.command()
def pretrain(experiment: ExperimentFile, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Only the encoders of an experiment.

    Example: ssl-zoo pretrain experiments/demo.yaml "pretrain.methods=[byol]"
    """
    _run(experiment, overrides, quiet, ("pretrain",))


@app.command()
def evaluate(experiment: ExperimentFile, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Only the cells of an experiment whose encoders are trained.

    Example: ssl-zoo evaluate experiments/demo.yaml "transfer.modes=[linear]"
    """
    _run(experiment, overrides, quiet, ("evaluate",))


@app.command()
def status(run_folder: RunFolder) -> None:
    """Say which encoders and cells of a run folder are done, failed or left.

    Example: ssl-zoo status runs/demo
    """
    from ssl_zoo.grid.experiment import status as table_of

    if not (run_folder / "planes" / "planes.json").is_file():
        raise UserError(f"{run_folder}: not a run folder, or one whose data is not prepared yet")
    table = table_of(run_folder)
    print(table.to_string(index=False))
    print(f"{table['done'].sum()} of {table['cells'].sum()} cells done, {table['failed'].sum()} failed")


def _run(experiment: Path, overrides: list[str] | None, quiet: bool, stages: tuple[str, ...]) -> None:
    from ssl_zoo.config import load_experiment

    started = time.monotonic()
    loaded = load_experiment(experiment, overrides or [])

    from ssl_zoo.analysis.report import write_report
    from ssl_zoo.analysis.tables import summary_table
    from ssl_zoo.grid.cells import load_results
    from ssl_zoo.grid.experiment import run_experiment
    from ssl_zoo.grid.together import run_together
    from ssl_zoo.pretraining.processes import launch_of

    work = run_experiment if launch_of().size == 1 else run_together
    outcome = work(loaded, stages=stages, progress=not quiet, tell=(lambda line: None) if quiet else print)
    if outcome is None:  # one of several processes, and not the first
        return
    if not quiet:
        tell_skipped(outcome.run / "frames")
    if "evaluate" in stages and outcome.done:
        written = outcome.run / "report.html"
        if outcome.changed or not written.is_file():
            write_report(outcome.run)
        if not quiet:
            print(summary_table(load_results(outcome.run)))
        print(f"figure: {outcome.run / 'figures' / 'label_efficiency.png'}\nreport: {written}")
    for what, why in outcome.failed.items():
        print(f"failed: {what}: {why}", file=sys.stderr)
    if not quiet:
        print(f"{outcome.done} cells done, {len(outcome.failed)} failed, {time.monotonic() - started:.0f} s")
    if outcome.failed:
        raise typer.Exit(1)


def prepared(experiment: Experiment, quiet: bool) -> Study:
    """The study with its frame store, planes and splits, made where they are missing."""
    from ssl_zoo.grid.run import only_runner
    from ssl_zoo.grid.study import check_inputs, prepare

    check_inputs(experiment)
    with only_runner(experiment.run_folder):
        return prepare(experiment, progress=not quiet)


def tell_skipped(store: Path) -> None:
    """List the scans that could not be decoded into a frame store, if it is there, with their reasons."""
    from ssl_zoo.files import read_json

    card = store / "store.json"
    for entry in read_json(card)["skipped"] if card.is_file() else []:
        print(f"skipped scan {entry['scan']}: {entry['reason']}", file=sys.stderr)
