"""The command that looks into a run's classifiers: explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_zoo.cli.app import AsJson, Quiet, RunFolder, app, replying
from ssl_zoo.errors import UserError


@app.command()
def explain(
    run_folder: RunFolder,
    init: Annotated[list[str] | None, typer.Option(help="Only this init; may be given again. All without.")] = None,
    mode: Annotated[list[str] | None, typer.Option(help="Only this mode: linear or finetune.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Label fraction; the largest without.")] = None,
    fold: Annotated[int | None, typer.Option(help="The first without.")] = None,
    seed: Annotated[int | None, typer.Option(help="The cell's seed; the first without.")] = None,
    cell: Annotated[list[str] | None, typer.Option(help="A cell's key or its beginning, instead of all these.")] = None,
    technique: Annotated[
        list[str] | None, typer.Option(help="grad_cam, score_cam or eigen_cam; may be given again; or all.")
    ] = None,
    per_class: Annotated[int, typer.Option(help="Test images of each class that maps are measured on.")] = 8,
    shown: Annotated[int, typer.Option(help="Right and wrong cases of each class on a sheet.")] = 3,
    cohort: Annotated[str, typer.Option(help="The test cohort.")] = "internal",
    layer: Annotated[str | None, typer.Option(help="The layer of the backbone that maps are read from.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write instead of figures/explain/, which the report shows.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Draw where classifiers look, and measure whether these maps mean anything. Needs pytorch-grad-cam.

    One cell of each init and mode is looked into, that with most labels of the first fold and seed. Cells keep no
    networks: a linear one is refitted in seconds, a fine-tuned one is trained again from its seed, which takes as long
    as it took; both are then kept in classifiers/ of the run folder. Sheets, figures and tables go to figures/explain/
    of it, where the report finds them, or to --out.

    Example: ssl-zoo explain runs/demo --init random --init byol --mode linear --technique all
    """
    from tqdm import tqdm

    from ssl_zoo.analysis.explain import explain as look_into
    from ssl_zoo.analysis.explain.cams import TECHNIQUES, check_techniques
    from ssl_zoo.grid.classifiers import choose_cells, device_for
    from ssl_zoo.grid.study import open_study

    if not (run_folder / "planes" / "planes.json").is_file():
        raise UserError(f"{run_folder}: not a run folder, or one whose data is not prepared yet")
    wanted = list(TECHNIQUES) if technique == ["all"] else technique or ["grad_cam"]
    check_techniques(wanted)
    with replying(as_json) as reply:
        study = open_study(run_folder)
        cells = choose_cells(
            study, keys=cell or (), inits=init or (), modes=mode or (), fraction=fraction, fold=fold, seed=seed
        )
        with tqdm(desc="maps", unit=" images", disable=True if quiet else None) as bar:
            found = look_into(
                study,
                cells,
                techniques=wanted,
                per_class=per_class,
                shown=shown,
                cohort=cohort,
                layer=layer,
                device=device_for(study),
                out=out,
                tell=(lambda line: None) if quiet else tqdm.write,
                step=bar.update,
            )
        if not quiet:
            print(found.text)
        print(f"{len(found.sheets)} sheets, {len(cells)} classifier(s): {found.folder}")
        keys = [one.key for one in cells]
        reply({"folder": found.folder, "sheets": found.sheets, "cells": keys, "text": found.text})
