"""The command that hands an encoder to other programs: export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssl_zoo.cli.app import app


@app.command()
def export(
    encoder: Annotated[Path, typer.Argument(help="An encoder folder, for example runs/demo/encoders/byol-s0.")],
    out: Annotated[Path, typer.Option(help="The file to write; its model card is written beside it, as .md.")],
    format: Annotated[str, typer.Option(help="timm, torchvision (both .safetensors) or onnx (.onnx).")] = "timm",
    licence: Annotated[str, typer.Option(help="What the model card says of the weights' licence.")] = "",
) -> None:
    """Write an encoder for timm, torchvision or an ONNX runtime, checked against the original, with a model card.

    Example: ssl-zoo export runs/demo/encoders/byol-s0 --format onnx --out byol.onnx
    """
    from ssl_zoo.analysis.run_folder import read_run
    from ssl_zoo.encoders.export import export_encoder
    from ssl_zoo.encoders.files import load_encoder
    from ssl_zoo.encoders.model_card import model_card
    from ssl_zoo.files import write_text

    loaded = load_encoder(encoder)
    exported = export_encoder(loaded, out, format)
    run = encoder.resolve().parent.parent
    told = read_run(run) if (run / "results.csv").is_file() and (run / "experiment.yaml").is_file() else None
    text = model_card(
        loaded.card,
        exported,
        folder=encoder,
        results=None if told is None else told.results,
        licence=licence,
        synthetic=told is not None and told.synthetic,
    )
    write_text(out.with_suffix(".md"), text)
    print(f"{exported.path}: {exported.format}, features agree to {exported.difference:.0e}")
    print(out.with_suffix(".md"))
