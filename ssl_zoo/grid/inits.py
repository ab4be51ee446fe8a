"""What downstream runs start from: random weights, ImageNet's, a pre-trained encoder's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssl_zoo.config import Experiment
from ssl_zoo.encoders.files import CARD, encoder_file_fingerprint, read_card
from ssl_zoo.encoders.imagenet import imagenet_fingerprint
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.grid.entrants import backbones, entrants


@dataclass(frozen=True)
class Init:
    """What a downstream run starts from."""

    name: str  # random | imagenet | a method | method@variant | the name of an encoder folder
    backbone: str
    method: str = ""
    pretrain_seed: int | None = None
    path: str | None = None  # the encoder folder, or a file of ImageNet weights
    fingerprint: str = ""  # empty for `random`, whose weights are drawn from each cell's own seed

    @property
    def folder(self) -> str:
        """The name of a pre-trained encoder's folder in `runs/<experiment>/encoders`."""
        return f"{self.name}-s{self.pretrain_seed}"


def given_inits(experiment: Experiment) -> list[Init]:
    """The inits of `transfer.inits`; `random` runs for each backbone even when it is not named."""
    found: list[Init] = []
    for spec in experiment.transfer.inits:
        name, _, path = spec.partition(":")
        if name == "imagenet":
            for backbone in backbones(experiment):
                found.append(Init(name, backbone, path=path or None, fingerprint=imagenet_fingerprint(backbone, path)))
        elif (Path(spec) / CARD).is_file():
            card = read_card(Path(spec))
            found.append(
                Init(
                    Path(spec).name,
                    card.backbone,
                    method=card.method,
                    pretrain_seed=card.seed,
                    path=spec,
                    fingerprint=encoder_file_fingerprint(Path(spec)),
                )
            )
        elif name != "random":
            if "/" in spec or Path(spec).exists():
                raise UserError(f"transfer.inits: '{spec}' is not an encoder folder (it has no {CARD})")
            raise unknown("init", spec, ["random", "imagenet", "imagenet:/path/to/file"])
    names = [(init.name, init.backbone) for init in found]
    pretrained = {entrant.name for entrant in entrants(experiment)}
    for name, backbone in names:
        if names.count((name, backbone)) > 1 or name in pretrained:
            raise UserError(f"transfer.inits: two inits are called '{name}' ({backbone}); rename an encoder's folder")
    used = dict.fromkeys([*backbones(experiment), *(init.backbone for init in found)])
    return [*(Init("random", backbone) for backbone in used), *found]
