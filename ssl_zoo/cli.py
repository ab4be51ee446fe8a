"""The commands. They parse and call, and decide nothing.

Exit status: 0 done, 1 some cells failed (listed), 2 wrong use; 128 + the number of a signal (SIGINT, SIGTERM, SIGUSR1)
that stopped it: pre-training is then saved where it stood, and the same command goes on.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.grid.stopping import leave_on_signal

if TYPE_CHECKING:
    from ssl_zoo.config import Experiment
    from ssl_zoo.grid.study import Study

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
def frames(
    source: Annotated[Path, typer.Argument(help="An experiment file (.yaml), a folder of scans or a table (.csv).")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The store to write; for a folder or a table.")] = None,
    sampler: Annotated[str | None, typer.Option(help="As frames.sampler.")] = None,
    per_scan: Annotated[int | None, typer.Option(help="Frames of each scan.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a side; the aspect ratio is kept.")] = None,
    channels: Annotated[int | None, typer.Option(help="1: grey, 3: colour.")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Mask and inpaint; drop frames that show nothing.")] = False,
    patient_pattern: Annotated[str | None, typer.Option(help="Regex over the path; its group is the patient.")] = None,
    fps: Annotated[float, typer.Option(help="Frames a second of scans that do not tell.")] = 25.0,
    allow_outside: Annotated[bool, typer.Option("--allow-outside", help="Follow paths out of the folder.")] = False,
    workers: Annotated[int | None, typer.Option(help="Processes; one for each core without.")] = None,
    quiet: Quiet = False,
) -> None:
    """Only the frame store: of a folder of scans or a scan table; or an experiment's, with its planes and splits.

    A store that is being built keeps its parts in the hidden folder .NAME.parts beside it, and nothing anywhere else;
    run the same command again to go on where it was stopped. Any other key of `frames` may follow, also cleaning's.

    Example: ssl-zoo frames /data/scans --out stores/scans --per-scan 16 --clean cleaning.duplicates=store

    Example: ssl-zoo frames experiments/lung_scans.yaml frames.per_scan=16
    """
    keys = {"sampler": sampler, "per_scan": per_scan, "size": size, "channels": channels}
    keys = {key: value for key, value in keys.items() if value is not None}
    if source.suffix.lower() in (".yaml", ".yml"):
        if out is not None or keys or clean or patient_pattern:
            raise UserError(f"{source} is an experiment: its run folder holds the store; write keys, as frames.size=64")
        _frames_of_experiment(source, overrides, quiet)
        return

    from ssl_zoo.config.frames import frames_config
    from ssl_zoo.scans.cleaning import CleaningSettings
    from ssl_zoo.scans.frames import build_store
    from ssl_zoo.scans.samplers import SamplerSettings
    from ssl_zoo.scans.table import read_scans

    if out is None:
        raise UserError(f"{source}: say where the store is to be written, with --out")
    usual = {"cleaning": dataclasses.asdict(CleaningSettings())} if clean else {}
    config = frames_config(keys | usual, overrides or [])
    scans = read_scans(source, patient_pattern, fps=fps, allow_outside=allow_outside)
    for warning in scans.warnings:
        print(f"note: {warning}", file=sys.stderr)
    store = build_store(
        scans,
        out,
        sampler=SamplerSettings(**{key.name: getattr(config, key.name) for key in dataclasses.fields(SamplerSettings)}),
        size=config.size,
        channels=config.channels,
        decoder=config.decoder,
        cleaning=CleaningSettings(**dataclasses.asdict(config.cleaning)),
        copies=config.copies,
        workers=workers,
        progress=not quiet,
    )
    for entry in [] if quiet else store.skipped:
        print(f"skipped scan {entry['scan']}: {entry['reason']}", file=sys.stderr)
    print(f"{out}: {len(store)} frames of {store.meta['n_scans']} scans, {len(store.patients)} patients")
    if store.dropped:
        print("dropped: " + ", ".join(f"{count} frames ({reason})" for reason, count in store.dropped.items()))
    if store.skipped:
        print(f"skipped: {len(store.skipped)} scans; {out / 'report.csv'} says why")


@app.command()
def views(experiment: ExperimentFile, overrides: Overrides = None, quiet: Quiet = False) -> None:
    """Draw what each method sees: contact sheets of frames and of the views that are made of them.

    Example: ssl-zoo views experiments/demo.yaml pretrain.views.preset=ultrasound
    """
    from ssl_zoo.analysis.view_sheet import view_sheet
    from ssl_zoo.config import load_experiment
    from ssl_zoo.grid.settings import check_names

    loaded = load_experiment(experiment, overrides or [])
    if not (loaded.run_folder / "frames" / "store.json").is_file():
        _prepared(loaded, quiet)
    check_names(loaded)
    for page in view_sheet(loaded.run_folder, loaded):
        print(page)


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
def clean(
    source: Annotated[Path, typer.Argument(help="A folder of scans or a table (.csv).")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The contact sheet to write, a PNG.")] = Path("cleaning.png"),
    most: Annotated[int, typer.Option(help="Scans on the sheet, spread over the table.")] = 12,
    patient_pattern: Annotated[str | None, typer.Option(help="Regex over the path; its group is the patient.")] = None,
) -> None:
    """Draw what cleaning does to some scans, step by step; writes no store.

    Example: ssl-zoo clean /data/scans --out cleaning.png cleaning.overlays=keep
    """
    from ssl_zoo.analysis.cleaning_sheet import draw_cleaning_sheet
    from ssl_zoo.config.frames import frames_config
    from ssl_zoo.scans.cleaning import CleaningSettings
    from ssl_zoo.scans.table import read_scans

    config = frames_config({"cleaning": dataclasses.asdict(CleaningSettings())}, overrides or [])
    settings = CleaningSettings(**dataclasses.asdict(config.cleaning))
    settings.check()
    draw_cleaning_sheet(read_scans(source, patient_pattern), settings, out, most=most)
    print(out)


@app.command()
def ranks(
    run_folders: Annotated[list[Path], typer.Argument(help="One run folder, or several to compare.", metavar="RUN")],
) -> None:
    """Is the order of the inits stable over settings and seeds, and between runs?

    Example: ssl-zoo ranks runs/as_released runs/fair
    """
    from ssl_zoo.analysis.rank_report import ranks_report

    print(ranks_report(run_folders))


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
def methods(
    names: Annotated[list[str] | None, typer.Argument(metavar="[METHOD]...", help="Only these; all without.")] = None,
) -> None:
    """What each method sees, how it is optimised and built, read off its code.

    Example: ssl-zoo methods barlow_twins vicreg
    """
    from ssl_zoo.methods import METHODS
    from ssl_zoo.methods.table import method_table

    for name in names or []:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    blocks = []
    for row in method_table():
        facts = dict(row)
        head = f"{facts.pop('method')}: {facts.pop('family')}, {facts.pop('paper')}"
        if not names or row["method"] in names:
            blocks.append("\n".join([head, *(_fact(label, text) for label, text in facts.items() if text)]))
    print("\n\n".join(blocks))


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


def _frames_of_experiment(experiment: Path, overrides: list[str] | None, quiet: bool) -> None:
    from ssl_zoo.config import load_experiment

    study = _prepared(load_experiment(experiment, overrides or []), quiet)
    if study.store is not None:
        _tell_skipped(study.run)
    for folder, store in study.stores.items():
        print(f"{study.run / folder}: {len(store)} frames of {store.meta['n_scans']} scans")
    print(f"{study.run / 'planes'}: {len(study.planes.table)} planes, {len(study.splits)} split(s)")


def _prepared(experiment: Experiment, quiet: bool) -> Study:
    """The study with its frame store, planes and splits, made where they are missing."""
    from ssl_zoo.grid.run import only_runner
    from ssl_zoo.grid.study import check_inputs, prepare

    check_inputs(experiment)
    with only_runner(experiment.run_folder):
        return prepare(experiment, progress=not quiet)


def _fact(label: str, text: str) -> str:
    """A line of a block, and as many below it as the text takes in 120 columns."""
    indent = 18
    return textwrap.fill(f"  {label:<{indent - 2}}{text}", 120, subsequent_indent=" " * indent, break_long_words=False)


def _is_first() -> bool:
    """Whether this process speaks, as the only one or the first of those that torchrun or srun started."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


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
        if debug or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM):
            raise
        place = f" ({error.filename})" if error.filename else ""
        print(
            f"error: {error.strerror}{place}; nothing half-written is left, run again to go on",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
