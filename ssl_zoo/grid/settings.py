"""Names and settings that no room knows, or that do not fit together, are refused before any work."""

from __future__ import annotations

from collections.abc import Collection

from ssl_zoo.config import Experiment, FramesConfig
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.grid.devices import devices_of, processes_of
from ssl_zoo.grid.entrants import STORE, Entrant, backbones, entrants, pretrain_settings
from ssl_zoo.grid.finetuning import finetune_settings
from ssl_zoo.grid.source_notes import check_sources
from ssl_zoo.grid.stores import cleaning_settings, sampler_settings
from ssl_zoo.methods import METHODS
from ssl_zoo.planes.splits import PROTOCOLS
from ssl_zoo.pretraining.settings import build_method
from ssl_zoo.scans.cleaning.settings import SECTORS
from ssl_zoo.scans.clips import PAIRINGS, WEIGHTINGS
from ssl_zoo.scans.reader import DECODERS
from ssl_zoo.scans.samplers import SAMPLERS
from ssl_zoo.training.precision import PRECISIONS
from ssl_zoo.training.views import view_settings


def check_names(experiment: Experiment) -> None:
    """Refuse names that no registry knows, and methods, backbones and settings that do not fit together."""
    check_sources(experiment)
    _check_frames(experiment.frames, "frames.")
    _known(
        ("planes.protocol", "protocol", experiment.planes.protocol, PROTOCOLS),
        ("planes.sector", "value", experiment.planes.sector, SECTORS),
        ("compute.precision", "precision", experiment.compute.precision, PRECISIONS),
    )
    pretrain = experiment.pretrain
    _known(*(("pretrain.methods", "method", method, METHODS) for method in pretrain.methods))
    for variant, keys in pretrain.variants.items():
        key = f"pretrain.variants.{variant}.methods"
        _known(*((key, "method", method, METHODS) for method in keys.get("methods", [])))
    devices_of(experiment.compute)
    for entrant in entrants(experiment):
        _check_entrant(experiment, entrant)
    if "finetune" in experiment.transfer.modes:
        try:
            finetune_settings(experiment)
        except UserError as error:
            raise UserError(f"transfer.finetune.{str(error).removeprefix('fine-tuning: ')}") from None
    for backbone in backbones(experiment):
        build_backbone(backbone, channels=experiment.frames.channels, size=experiment.frames.size)


def _check_frames(frames: FramesConfig, key: str) -> None:
    _known(
        (f"{key}sampler", "sampler", frames.sampler, SAMPLERS),
        (f"{key}decoder", "decoder", frames.decoder, DECODERS),
    )
    try:
        sampler_settings(frames).check()
        cleaning_settings(frames).check()
    except UserError as error:
        raise UserError(str(error).replace("frames.", key)) from None


def _check_entrant(experiment: Experiment, entrant: Entrant) -> None:
    """The names in its settings, and that method, backbone, parameters, recipe, views and batch fit together."""
    pretrain, key = entrant.pretrain, entrant.key
    if entrant.store != STORE:
        _check_frames(entrant.frames, f"{key}frames.")
    _known(
        (f"{key}pairing", "pairing", pretrain.pairing, PAIRINGS),
        (f"{key}pair_weighting", "pair_weighting", pretrain.pair_weighting, WEIGHTINGS),
        *((f"{key}params", "method", method, METHODS) for method in pretrain.params),
        *((f"{key}recipes", "method", method, METHODS) for method in pretrain.recipes),
        *((f"{key}budgets", "method", method, METHODS) for method in pretrain.budgets),
    )
    try:
        view_settings(pretrain.views)
    except UserError as error:
        raise UserError(f"{key}{error}") from None
    settings = pretrain_settings(experiment, entrant, seed=0)
    method, _ = build_method(settings)
    if pretrain.accumulate > 1 and (reason := method.coupling()):
        raise UserError(
            f"{key}accumulate: {pretrain.accumulate} parts of a batch would not add up to the batch for method "
            f"{entrant.method}: {reason}"
        )
    processes = processes_of(experiment.compute)
    if settings.batch_size % (processes * pretrain.accumulate):
        raise UserError(
            f"{key}batch_size: {settings.batch_size} images do not divide into {processes} processes "
            f"with {pretrain.accumulate} equal part(s) each"
        )


def _known(*names: tuple[str, str, str, Collection[str]]) -> None:
    for key, kind, value, known in names:
        if value not in known:
            raise UserError(f"{key}: {unknown(kind, value, known)}")
