"""The command that looks at whole scans with a finished classifier: predict."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ssl_zoo.cli.app import AsJson, Quiet, app, replying
from ssl_zoo.errors import UserError

if TYPE_CHECKING:
    from ssl_zoo.analysis.scan_findings import Outcome


@app.command()
def predict(
    cell: Annotated[Path, typer.Argument(help="A cell, RUN/cells/KEY.json; or a run folder with --init and --mode.")],
    scans: Annotated[list[Path], typer.Argument(help="Scans: files, folders or scan tables.", metavar="SCAN...")],
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("predictions"),
    init: Annotated[str | None, typer.Option(help="With a run folder: which init.")] = None,
    mode: Annotated[str | None, typer.Option(help="With a run folder: linear or finetune.")] = None,
    backbone: Annotated[str | None, typer.Option(help="With a run folder: of an init with several.")] = None,
    fraction: Annotated[float | None, typer.Option(help="With a run folder: of the labels; all without.")] = None,
    every: Annotated[int, typer.Option(help="Look at every n-th frame.", min=1)] = 1,
    smooth: Annotated[float, typer.Option(help="Smoothing over time, standard deviation in seconds.", min=0)] = 0.15,
    least: Annotated[float, typer.Option(help="How long a plane must be seen, in seconds.", min=0)] = 0.2,
    keep: Annotated[float, typer.Option(help="Share of validation images that thresholds keep.", min=0, max=1)] = 0.95,
    truth: Annotated[Path | None, typer.Option(help="Folder of SCAN_ID.csv with frame,plane; gives scores.")] = None,
    patient_pattern: Annotated[str | None, typer.Option(help="Regex over the path; its group is the patient.")] = None,
    fps: Annotated[float, typer.Option(help="Frames a second of scans that do not tell.", min=0.001)] = 25.0,
    for_report: Annotated[bool, typer.Option("--for-report", help="Keep the timelines for the run's report.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Say what the frames of whole scans show: plane, confidence, the best frame of each plane, and what is missing.

    Frames that look like no plane are set aside, by thresholds set on validation patients. Research use only: this is
    no medical device. With --for-report the next `ssl-zoo report RUN` shows the timelines.

    Example: ssl-zoo predict runs/demo data/phantom-e7bb4a7e/scans/S001-1.mp4 --init simclr --mode linear

    Example: ssl-zoo predict runs/mine/cells/0123abcd.json /data/exam7 --out exam7 --json
    """
    from ssl_zoo.analysis.scan_findings import Looking, given_scans, keep_for_report, refuse_out, write_findings
    from ssl_zoo.grid.classifiers import choose_cells, device_for, named
    from ssl_zoo.grid.predicting import predictor_of, run_and_key
    from ssl_zoo.grid.study import open_study

    run, key = run_and_key(cell)
    with replying(as_json) as reply:
        study = open_study(run)
        found = choose_cells(
            study,
            keys=[key] if key else [],
            inits=[init] if init else [],
            modes=[mode] if mode else [],
            backbone=backbone,
            fraction=fraction,
        )
        if len(found) > 1:
            some = ", ".join(named(one) for one in found[:6])
            raise UserError(
                f"{run}: {len(found)} classifiers ({some}{'...' if len(found) > 6 else ''}); choose one with --init, "
                "--mode and --backbone, or name a cell"
            )
        tell = (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr))
        looked_at = given_scans(scans, patient_pattern, fps, tell=tell)
        refuse_out(out, looked_at, scans)
        looking = Looking(every=every, smooth_s=smooth, least_s=least, truth=truth)
        predictor = predictor_of(study, found[0], device_for(study), keep=keep, tell=tell)
        started = time.monotonic()
        outcome = write_findings(predictor, looked_at, out, looking, progress=not quiet)
        rate = outcome.frames / max(time.monotonic() - started, 1e-9)
        if for_report:
            keep_for_report(out, run, f"{found[0].init.name} {found[0].mode}", outcome)
        for name, why in outcome.failed.items():
            print(f"skipped scan {name}: {why}", file=sys.stderr)
        if not quiet:
            _tell(outcome)
        print(f"{out}: {outcome.frames} frames of {len(looked_at) - len(outcome.failed)} scans, {rate:.0f} frames/s")
        told = {"out": out, "classifier": named(found[0]), "cell": found[0].key, **dataclasses.asdict(outcome)}
        reply(told | {"frames_per_s": round(rate, 1)})
    if outcome.failed:
        raise typer.Exit(1)


def _tell(outcome: Outcome) -> None:
    for exam in outcome.exams.to_dict("records"):
        print(f"{exam['patient_id']}: found {exam['found'] or 'nothing'}; missing {exam['missing'] or 'nothing'}")
    for name, value in outcome.scores.items():
        print(f"{name}: {value:.3f}")
