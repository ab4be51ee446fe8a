"""An encoder by whatever a user calls it: a folder, a spec, or the name that it has in a run."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from ssl_zoo.encoders.files import CARD, Encoder
from ssl_zoo.encoders.load import load_encoder
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.grid.inits import Init, given_inits
from ssl_zoo.grid.study import Study, open_study
from ssl_zoo.grid.work import build_encoder

ENCODERS = "encoders"  # in a run folder


@dataclass(frozen=True)
class Found:
    """An encoder with the init that results call it, its folder (None: it has none) and its run (None: not known)."""

    encoder: Encoder
    init: str
    folder: Path | None = None
    run: Path | None = None


def open_encoder(name: str, run: Path | None = None) -> Found:
    """The encoder `name`: an encoder folder, a spec as `usf_mae:/path/file` or `imagenet@resnet50`, a name in `run`.

    In a run a name is that of a method (`byol`, its first pre-training seed, or `byol-s1`), or one that the run was
    given, as in `transfer.inits` or as in its results (`imagenet`, `usf_mae`, `random`), with `@backbone` behind it
    where it has several. It is what the run's cells start from: of the run's size and channels. An untrained network is
    that of the run's first seed. Without `run`, a folder in `runs/x/encoders/` is known to be of that run.

    Raises UserError for a name that the run does not have, or has several times, and as `load_encoder` does.
    """
    folder = Path(name)
    if (folder / CARD).is_file():
        own = _run_of(folder)
        made_there = own is not None and (run is None or run.resolve() == own)
        return Found(load_encoder(folder), _init_of(folder) if made_there else folder.name, folder, run or own)
    if run is None:
        encoder = load_encoder(name)
        return Found(encoder, encoder.card.init)
    if not (run / "experiment.yaml").is_file():
        raise UserError(f"{run}: not a run folder (it has no experiment.yaml)")
    return _in_run(name, run)


def _in_run(name: str, run: Path) -> Found:
    folders = [folder for folder in (run / ENCODERS).glob("*") if _seed(folder) and (folder / CARD).is_file()]
    made: dict[str, Path] = {}
    for folder in sorted(folders, key=lambda folder: int(_seed(folder))):
        made[folder.name] = folder
        made.setdefault(_init_of(folder), folder)  # of several seeds the first
    if name in made:
        return Found(load_encoder(made[name]), _init_of(made[name]), made[name], run)
    if not (run / "planes" / "planes.json").is_file():
        raise unknown(f"encoder of {run}", name, made)
    study = open_study(run)
    specs = list(dict.fromkeys(["random", *study.experiment.transfer.inits]))
    found = [init for spec in specs if _head(spec) == _head(name) for init in _called(study, spec, name)]
    if not found:
        raise unknown(f"encoder of {run}", name, {*made, *map(_head, specs)})
    if len(found) > 1:
        names = ", ".join(f"{init.name}@{init.backbone}" for init in found)
        raise UserError(f"{run}: '{name}' is several encoders; say which one: {names}")
    (init,) = found
    encoder = build_encoder(study, init, study.experiment.transfer.seeds[0])
    return Found(encoder, init.name, None, run)


def _called(study: Study, spec: str, name: str) -> list[Init]:
    """The inits of one entry of `transfer.inits` that answer to `name`; files of other entries are not read."""
    transfer = dataclasses.replace(study.experiment.transfer, inits=[spec])
    inits = given_inits(dataclasses.replace(study.experiment, transfer=transfer))
    own = [init for init in inits if (init.name == "random") == (spec == "random")]
    return [init for init in own if name in (spec, _head(spec), init.name, f"{init.name}@{init.backbone}")]


def _run_of(folder: Path) -> Path | None:
    """The run that has made an encoder folder; None where it lies elsewhere."""
    run = folder.resolve().parent.parent
    made = folder.resolve().parent.name == ENCODERS and (run / "experiment.yaml").is_file()
    return run if made and _seed(folder.resolve()) else None


def _init_of(folder: Path) -> str:
    """What a run's results call the encoder in a folder of its own: `byol` for `encoders/byol-s0`."""
    return re.sub(r"-s\d+$", "", folder.resolve().name)


def _seed(folder: Path) -> str:
    """The pre-training seed at the end of a folder's name; "" where there is none."""
    found = re.search(r"-s(\d+)$", folder.name)
    return found[1] if found else ""


def _head(spec: str) -> str:
    """The name that a spec opens with: "imagenet" of "imagenet@resnet50:/path", "mine" of "encoders/mine"."""
    return Path(spec.partition(":")[0].partition("@")[0]).name
