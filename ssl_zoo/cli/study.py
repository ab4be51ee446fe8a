"""The commands that do an experiment, whole or in parts: run, pretrain, evaluate, status."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_zoo.cli.app import AsJson, ExperimentFile, Overrides, Quiet, RunFolder, app, replying
from ssl_zoo.errors import UserError

if TYPE_CHECKING:
    from ssl_zoo.config import Experiment
    from ssl_zoo.grid.experiment import Outcome
    from ssl_zoo.grid.selection import Selection
    from ssl_zoo.grid.study import Study


Only = Annotated[
    list[str] | None,
    typer.Option(metavar="PATTERN", help="Only cells of these inits, modes, fractions: simclr, 'moco*/linear/0.1'."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Only cells that failed before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, and do and write nothing.")]
Report = Annotated[bool, typer.Option("--report/--no-report", help="Draw the figures and the report at the end.")]
Executor = Annotated[str | None, typer.Option(help="local or slurm; as compute.executor.")]


@app.command()
def run(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    quiet: Quiet = False,
    only: Only = None,
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    report: Report = True,
    executor: Executor = None,
    as_json: AsJson = False,
) -> None:
    """Do everything: scans, frames, pre-training, the grid, tables, figures, report. Resumes.

    What is done stays; what failed is tried again. --only may be given several times; its parts, between slashes,
    are names of inits, modes and fractions, with * and ?.

    Example: ssl-zoo run experiments/demo.yaml pretrain.batch_size=64

    Example: ssl-zoo run experiments/demo.yaml --only simclr/linear --quiet --json

    Example: ssl-zoo run experiments/phantom.yaml --executor slurm compute.slurm.partition=gpu compute.slurm.gpus=1
    """
    wanted = _selection(only, retry_failed)
    stages = ("pretrain", "evaluate")
    _run(experiment, _with_executor(overrides, executor), quiet, stages, as_json, wanted, dry_run, report)


@app.command()
def pretrain(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    quiet: Quiet = False,
    executor: Executor = None,
    as_json: AsJson = False,
) -> None:
    """Only the encoders of an experiment.

    Example: ssl-zoo pretrain experiments/demo.yaml "pretrain.methods=[byol]"
    """
    _run(experiment, _with_executor(overrides, executor), quiet, ("pretrain",), as_json)


@app.command()
def evaluate(
    experiment: ExperimentFile,
    overrides: Overrides = None,
    quiet: Quiet = False,
    only: Only = None,
    retry_failed: RetryFailed = False,
    report: Report = True,
    executor: Executor = None,
    as_json: AsJson = False,
) -> None:
    """Only the cells of an experiment whose encoders are trained.

    Example: ssl-zoo evaluate experiments/demo.yaml "transfer.modes=[linear]"
    """
    wanted = _selection(only, retry_failed)
    _run(experiment, _with_executor(overrides, executor), quiet, ("evaluate",), as_json, wanted, report=report)


@app.command()
def status(run_folder: RunFolder, as_json: AsJson = False) -> None:
    """Say which encoders and cells of a run folder are done, failed or left.

    Example: ssl-zoo status runs/demo

    Example: ssl-zoo status runs/demo --json | jq .failed
    """
    from ssl_zoo.grid.outline import at_work
    from ssl_zoo.grid.outline import status as table_of
    from ssl_zoo.grid.progress import in_words

    if not (run_folder / "planes" / "planes.json").is_file():
        raise UserError(f"{run_folder}: not a run folder, or one whose data is not prepared yet")
    with replying(as_json) as reply:
        table, claims = table_of(run_folder), at_work(run_folder)
        cells, done, failed = (int(table[name].sum()) for name in ("cells", "done", "failed"))
        reply({"run": run_folder, "cells": cells, "done": done, "failed": failed, "inits": table, "at_work": claims})
    if as_json:
        return
    table["left"] = [in_words(seconds) if seconds else "" for seconds in table.pop("left_s")]
    print(table.to_string(index=False))
    print(f"{done} of {cells} cells done, {failed} failed")
    for claim in claims:
        print(f"at work: {claim.job} {claim.share:.0%} {claim.line} ({claim.by})")


def _selection(only: list[str] | None, retry_failed: bool) -> Selection:
    from ssl_zoo.grid.selection import Selection

    return Selection(tuple(only or ()), retry_failed)


def _with_executor(overrides: list[str] | None, executor: str | None) -> list[str]:
    return [*(overrides or []), *([f"compute.executor={executor}"] if executor else [])]


def _run(
    experiment: Path,
    overrides: list[str],
    quiet: bool,
    stages: tuple[str, ...],
    as_json: bool,
    wanted: Selection | None = None,
    dry_run: bool = False,
    report: bool = True,
) -> None:
    from ssl_zoo.config import load_experiment

    started = time.monotonic()
    loaded = load_experiment(experiment, overrides)

    from ssl_zoo.grid.experiment import EVERYTHING
    from ssl_zoo.grid.outline import dry_run as plan_of
    from ssl_zoo.grid.study import check_inputs

    wanted = wanted or EVERYTHING
    with replying(as_json) as reply:
        if dry_run:
            check_inputs(loaded)
            plan = plan_of(loaded, wanted)
            reply({"run": loaded.run_folder, "plan": plan.splitlines()})
            print(plan)
            return
        outcome = _work(loaded, stages, wanted, quiet)
        if outcome is None:  # one of several processes, and not the first
            return
        if not quiet:
            tell_skipped(outcome.run / "frames")
        page = None
        if "evaluate" in stages and outcome.done:
            if not quiet:
                from ssl_zoo.analysis.tables import summary_table
                from ssl_zoo.grid.cells import load_predictions, load_results

                print(summary_table(load_results(outcome.run), load_predictions(outcome.run)))
            if report:
                page = _write_report(outcome.run, changed=outcome.changed)
                if not quiet:
                    print(f"figure: {outcome.run / 'figures' / 'label_efficiency.png'}\nreport: {page}")
        for what, why in outcome.failed.items():
            print(f"failed: {what}: {why}", file=sys.stderr)
        seconds = time.monotonic() - started
        if quiet:
            print(page or outcome.run)
        else:
            print(f"{outcome.done} cells done, {len(outcome.failed)} failed, {seconds:.0f} s")
        told = {"run": outcome.run, "done": outcome.done, "failed": outcome.failed, "seconds": round(seconds, 1)}
        reply(told | {"report": page})
    if outcome.failed:
        raise typer.Exit(1)


def _work(experiment: Experiment, stages: tuple[str, ...], wanted: Selection, quiet: bool) -> Outcome | None:
    """Run the stages, in this process or as one of several; None in those that are not the first."""
    from ssl_zoo.grid.experiment import run_experiment
    from ssl_zoo.grid.together import run_together
    from ssl_zoo.pretraining.processes import launch_of

    tell = (lambda line: None) if quiet else print
    if launch_of().size == 1:
        return run_experiment(experiment, stages=stages, wanted=wanted, progress=not quiet, tell=tell)
    if wanted.is_all and experiment.compute.executor == "local":
        return run_together(experiment, stages=stages, progress=not quiet, tell=tell)
    raise UserError("--only, --retry-failed and --executor slurm are for one process, not for torchrun or srun")


def _write_report(run: Path, *, changed: bool) -> Path:
    """The report, unless the one that is there is of the same results."""
    from ssl_zoo.analysis.report import write_report

    written, results = run / "report.html", run / "results.csv"
    old = not written.is_file() or written.stat().st_mtime_ns < results.stat().st_mtime_ns  # after --no-report
    if changed or old:
        write_report(run)
    return written


def prepared(experiment: Experiment, quiet: bool) -> Study:
    """The study with its frame store, planes and splits, made where they are missing."""
    from ssl_zoo.grid.only_runner import only_runner
    from ssl_zoo.grid.study import check_inputs, prepare

    check_inputs(experiment)
    with only_runner(experiment):
        return prepare(experiment, progress=not quiet)


def tell_skipped(store: Path) -> None:
    """List the scans that could not be decoded into a frame store, if it is there, with their reasons."""
    from ssl_zoo.files import read_json

    card = store / "store.json"
    for entry in read_json(card)["skipped"] if card.is_file() else []:
        print(f"skipped scan {entry['scan']}: {entry['reason']}", file=sys.stderr)
