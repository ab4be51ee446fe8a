"""The command that hands an encoder to other programs: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_zoo.cli.app import AsJson, app, replying


@app.command()
def export(
    encoder: Annotated[
        str,
        typer.Argument(help="An encoder folder, usf_mae:/path/file, imagenet@resnet50, or with --run a name in a run."),
    ],
    out: Annotated[Path, typer.Option(help="What to write; its model card is written beside it, as .md.")],
    format: Annotated[
        str,
        typer.Option(help="timm, torchvision (both .safetensors), onnx (.onnx), or folder: an init under its name."),
    ] = "timm",
    run: Annotated[
        Path | None, typer.Option(help="The run in which the encoder has this name; its scores go into the model card.")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="What the model card says of your weights' licence; a published one's is said as well.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Write an encoder for timm, torchvision or an ONNX runtime, or as an encoder folder, with a model card.

    What is written is checked against the original. An encoder folder is an init of the folder's name: so two files of
    one published encoder can be compared.

    Example: ssl-zoo export runs/demo/encoders/byol-s0 --format onnx --out byol.onnx

    Example: ssl-zoo export usf_mae --run runs/first_trimester_heart --out usf_mae.safetensors

    Example: ssl-zoo export usf_mae:/path/500epochs.pt --format folder --out encoders/usf_mae_500
    """
    from ssl_zoo.analysis.run_folder import read_run
    from ssl_zoo.encoders.export import export_encoder
    from ssl_zoo.encoders.model_card import model_card
    from ssl_zoo.files import write_text
    from ssl_zoo.grid.run_encoders import open_encoder

    with replying(as_json) as reply:
        found = open_encoder(encoder, run)
        exported = export_encoder(found.encoder, out, format)
        run_read = read_run(found.run) if found.run is not None and (found.run / "results.csv").is_file() else None
        text = model_card(
            found.encoder.card,
            exported,
            init=found.init,
            folder=found.folder,
            results=None if run_read is None else run_read.results,
            licence=licence,
            synthetic=run_read is not None and run_read.synthetic,
        )
        beside = out.with_name(f"{out.name if out.is_dir() else out.stem}.md")
        write_text(beside, text)
        print(f"{exported.path}: {exported.format}, features agree to {exported.difference:.0e}")
        print(beside)
        told = {"encoder": encoder, "path": exported.path, "format": exported.format, "model_card": beside}
        reply(told | {"difference": exported.difference})
