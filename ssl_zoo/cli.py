"""The commands. They parse and call, and decide nothing.

Exit status: 0 done, 1 some cells failed (listed), 2 wrong use.
"""

from __future__ import annotations

import errno
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ssl_zoo.errors import UserError

app = typer.Typer(
    help="Compare self-supervised pre-training on ultrasound scans: how many labels does each method save?",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ExperimentFile = Annotated[Path, typer.Argument(help="An experiment file, for example experiments/demo.yaml.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, for example runs/demo.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.SUB=VALUE]...", help="Keys to change.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """`--debug` is read in `main`, which catches the errors."""


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
def frames(experiment: ExperimentFile, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Only the frame store, the planes and the splits of an experiment.

    Example: ssl-zoo frames experiments/lung_scans.yaml frames.per_scan=16
    """
    from ssl_zoo.config import load_experiment
    from ssl_zoo.grid.run import only_runner
    from ssl_zoo.grid.study import check_inputs, prepare

    loaded = load_experiment(experiment, overrides or [])
    check_inputs(loaded)
    with only_runner(loaded.run_folder):
        study = prepare(loaded, progress=not quiet)
    if study.store is not None:
        _tell_skipped(study.run)
        print(f"{study.run / 'frames'}: {len(study.store)} frames of {study.store.meta['n_scans']} scans")
    print(f"{study.run / 'planes'}: {len(study.planes.table)} planes, {len(study.splits)} split(s)")


@app.command()
def phantom(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    scans: Annotated[int, typer.Option(help="Unlabelled scan videos.")] = 100,
    patients: Annotated[int, typer.Option(help="Labelled patients of the internal site.")] = 100,
    external_patients: Annotated[int, typer.Option(help="Labelled patients of the external site.")] = 40,
    seed: Annotated[int, typer.Option(help="Another seed, another cohort.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Write a synthetic cohort of fetal-heart scans and planes (no clinical evidence).

    Example: ssl-zoo phantom data/phantom --scans 20 --patients 20 --external-patients 5
    """
    from ssl_zoo.config import PhantomConfig
    from ssl_zoo.grid.study import write_phantom

    config = PhantomConfig(scans=scans, patients=patients, external_patients=external_patients, seed=seed)
    write_phantom(config, out, workers=None, progress=not quiet)
    print(f"{out}: scans.csv and planes.csv")


@app.command()
def report(run_folder: RunFolder) -> None:
    """Draw the figures and write report.html of a run folder again.

    Example: ssl-zoo report runs/demo
    """
    from ssl_zoo.analysis.report import write_report

    print(write_report(run_folder))


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


@app.command()
def methods() -> None:
    """List the self-supervised methods with what they see and how they are optimised.

    Example: ssl-zoo methods
    """
    from ssl_zoo.methods import METHODS

    print(f"{'method':<14} {'views':<12} {'optimiser':<9} {'base rate':>9}  {'needs':<5}  what it does")
    for name, method in METHODS.items():
        recipe, what = method.recipe, sys.modules[method.__module__].__doc__ or ""
        rate = f"{recipe.base_lr:g}"
        print(
            f"{name:<14} {method.views:<12} {recipe.optimizer:<9} {rate:>9}  {method.needs:<5}  {what.splitlines()[0]}"
        )


def _run(experiment: Path, overrides: list[str] | None, quiet: bool, stages: tuple[str, ...]) -> None:
    from ssl_zoo.config import load_experiment

    started = time.monotonic()
    loaded = load_experiment(experiment, overrides or [])

    from ssl_zoo.analysis.report import write_report
    from ssl_zoo.analysis.tables import summary_table
    from ssl_zoo.grid.cells import load_results
    from ssl_zoo.grid.experiment import run_experiment

    outcome = run_experiment(loaded, stages=stages, progress=not quiet, tell=(lambda line: None) if quiet else print)
    if not quiet:
        _tell_skipped(outcome.run)
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


def _tell_skipped(run_folder: Path) -> None:
    """List the scans that could not be decoded, with their reasons."""
    from ssl_zoo.files import read_json

    store = run_folder / "frames" / "store.json"
    skipped = read_json(store)["skipped"] if store.is_file() else []
    for entry in skipped:
        print(f"skipped scan {entry['scan']}: {entry['reason']}", file=sys.stderr)


def main() -> None:
    """The entry point of `ssl-zoo`: every error that a user can mend is one sentence, and `--debug` shows the rest."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        app()
    except UserError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if debug or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        place = f" ({error.filename})" if error.filename else ""
        print(
            f"error: {error.strerror}{place}; nothing half-written is left, run again to go on",
            file=sys.stderr,
        )
        sys.exit(2)


def _stop(number: int, _: object) -> None:
    """Leave in order, so that workers and locks are released."""
    print("stopped; run the same command again to go on", file=sys.stderr)
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
