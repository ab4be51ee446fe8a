"""The commands on data: phantom, frames, clean, views."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ssl_zoo.cli.app import AsJson, ExperimentFile, Overrides, Quiet, app, replying
from ssl_zoo.cli.study import prepared, tell_skipped
from ssl_zoo.errors import UserError

if TYPE_CHECKING:
    from ssl_zoo.scans.store import FrameStore

PatientPattern = Annotated[str | None, typer.Option(help="Regex over the path; its group is the patient.")]
Fps = Annotated[float | None, typer.Option(help="Frames a second of scans that do not tell; 25 without.", min=0.001)]
AllowOutside = Annotated[bool, typer.Option("--allow-outside", help="Follow paths out of the folder.")]


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
def frames(
    source: Annotated[Path, typer.Argument(help="An experiment file (.yaml), a folder of scans or a table (.csv).")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The store to write; for a folder or a table.")] = None,
    sampler: Annotated[str | None, typer.Option(help="As frames.sampler.")] = None,
    per_scan: Annotated[int | None, typer.Option(help="Frames of each scan.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of a side; the aspect ratio is kept.")] = None,
    channels: Annotated[int | None, typer.Option(help="1: grey, 3: colour.")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Mask and inpaint; drop frames that show nothing.")] = False,
    patient_pattern: PatientPattern = None,
    fps: Fps = None,
    allow_outside: AllowOutside = False,
    workers: Annotated[int | None, typer.Option(help="Processes; one for each core without.", min=1)] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Only the frame store: of a folder of scans or a scan table; or an experiment's, with its planes and splits.

    A store that is being built keeps its parts in the hidden folder .NAME.parts beside it, and nothing anywhere else;
    run the same command again to go on where it was stopped, and to try again scans that were left out for want of a
    package or memory or by a failing disk. Any other key of `frames` may follow, also cleaning's.

    Example: ssl-zoo frames /data/scans --out stores/scans --per-scan 16 --clean cleaning.duplicates=store

    Example: ssl-zoo frames experiments/lung_scans.yaml frames.per_scan=16

    Example: ssl-zoo frames /data/scans --out stores/scans --json
    """
    keys = {"sampler": sampler, "per_scan": per_scan, "size": size, "channels": channels}
    keys = {key: value for key, value in keys.items() if value is not None}
    if source.suffix.lower() in (".yaml", ".yml"):
        given = [out, *keys.values(), patient_pattern, fps, workers]
        if clean or allow_outside or any(value is not None for value in given):
            raise UserError(
                f"{source} is an experiment: its run folder holds the store; write keys, as frames.size=64, "
                "scans.fps=50, scans.allow_outside=true or compute.workers=4"
            )
        with replying(as_json) as reply:
            reply(_frames_of_experiment(source, overrides, quiet))
        return

    from ssl_zoo.config.frames import frames_config
    from ssl_zoo.grid.stores import make_store
    from ssl_zoo.scans.base import DEFAULT_FPS
    from ssl_zoo.scans.cleaning import CleaningSettings
    from ssl_zoo.scans.diversity import known_diversity
    from ssl_zoo.scans.table import read_scans

    if out is None:
        raise UserError(f"{source}: say where the store is to be written, with --out")
    usual = {"cleaning": dataclasses.asdict(CleaningSettings())} if clean else {}
    config = frames_config(keys | usual, overrides or [])
    with replying(as_json) as reply:
        scans = read_scans(source, patient_pattern, fps=fps or DEFAULT_FPS, allow_outside=allow_outside)
        for warning in scans.warnings:
            print(f"note: {warning}", file=sys.stderr)
        store = make_store(scans, out, config, workers=workers, progress=not quiet)
        if not quiet:
            tell_skipped(out)
        diversity = known_diversity(store)
        print(f"{out}: {len(store)} frames of {store.meta['n_scans']} scans, {len(store.patients)} patients")
        print(diversity.sentence())
        if store.dropped:
            print("dropped: " + ", ".join(f"{count} frames ({reason})" for reason, count in store.dropped.items()))
        if store.skipped:
            again = sum(entry.get("again", False) for entry in store.skipped)
            more = f"; {again} of them are tried again by the next run" if again else ""
            print(f"skipped: {len(store.skipped)} scans; {out / 'report.csv'} says why{more}")
        reply(_facts(store) | {"diversity": diversity.whole})


def _facts(store: FrameStore) -> dict[str, Any]:
    """What scripts want to know of a frame store."""
    return {
        "store": store.path,
        "frames": len(store),
        "scans": store.meta["n_scans"],
        "patients": len(store.patients),
        "fingerprint": store.fingerprint,
        "dropped": store.dropped,
        "skipped": store.skipped,
    }


@app.command()
def clean(
    source: Annotated[Path, typer.Argument(help="A folder of scans or a table (.csv).")],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The contact sheet to write, a PNG.")] = Path("cleaning.png"),
    most: Annotated[int, typer.Option(help="Scans on the sheet, spread over the table.")] = 12,
    patient_pattern: PatientPattern = None,
    fps: Fps = None,
    allow_outside: AllowOutside = False,
) -> None:
    """Draw what `frames --clean` does to some scans, step by step; writes no store.

    Example: ssl-zoo clean /data/scans --out cleaning.png cleaning.overlays=keep
    """
    from ssl_zoo.analysis.cleaning_sheet import NOT_SHOWN, draw_cleaning_sheet
    from ssl_zoo.config.frames import frames_config
    from ssl_zoo.grid.stores import cleaning_settings, sampler_settings
    from ssl_zoo.scans.base import DEFAULT_FPS
    from ssl_zoo.scans.cleaning import CleaningSettings
    from ssl_zoo.scans.ingest import IngestSettings
    from ssl_zoo.scans.table import read_scans

    config = frames_config({"cleaning": dataclasses.asdict(CleaningSettings())}, overrides or [])
    settings = IngestSettings(
        sampler_settings(config), config.size, config.channels, config.decoder, cleaning_settings(config)
    )
    # What reading them warns of, `frames` tells; here patients do not matter.
    scans = read_scans(source, patient_pattern, fps=fps or DEFAULT_FPS, allow_outside=allow_outside)
    for row in draw_cleaning_sheet(scans, settings, out, most=most):
        print(f"{row.name}: {row.words or f'nothing to note in {row.judged} frames'}")
    print(f"{NOT_SHOWN}\n{out}")


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
        prepared(loaded, quiet)
    check_names(loaded)
    for page in view_sheet(loaded.run_folder, loaded):
        print(page)


def _frames_of_experiment(experiment: Path, overrides: list[str] | None, quiet: bool) -> dict[str, Any]:
    from ssl_zoo.config import load_experiment

    study = prepared(load_experiment(experiment, overrides or []), quiet)
    if study.store is not None:
        tell_skipped(study.store.path)
    for folder, store in study.stores.items():
        print(f"{study.run / folder}: {len(store)} frames of {store.meta['n_scans']} scans")
    planes, splits = len(study.planes.table), len(study.splits)
    print(f"{study.run / 'planes'}: {planes} planes, {splits} split(s)")
    return {
        "run": study.run,
        "stores": {folder: _facts(store) for folder, store in study.stores.items()},
        "planes": planes,
        "splits": splits,
    }
