"""What downstream runs start from: random weights, ImageNet's, a pre-trained encoder's, a published one's."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from ssl_zoo.config import Experiment
from ssl_zoo.encoders.files import CARD, encoder_file_fingerprint, read_card
from ssl_zoo.encoders.fitting import Fit
from ssl_zoo.encoders.imagenet import check_imagenet, imagenet_fingerprint, parse_imagenet
from ssl_zoo.encoders.published import PUBLISHED, check_published, parse_published, published_fingerprint
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import fingerprint
from ssl_zoo.grid.entrants import backbones, entrants


@dataclass(frozen=True)
class Init:
    """What a downstream run starts from."""

    name: str  # random | imagenet | a method | method@variant | usf_mae, ... | the name of an encoder folder
    backbone: str
    method: str = ""
    pretrain_seed: int | None = None
    path: str | None = None  # the encoder folder, a file of ImageNet weights, or a published encoder's whole spec
    fingerprint: str = ""  # empty for `random`, whose weights are drawn from each cell's own seed
    fit: Fit | None = None  # the images that it wants, where they differ from the run's letterboxed `frames.size`
    published: bool = False

    @property
    def untrained(self) -> bool:
        """Whether nothing has been learned in it."""
        return not self.fingerprint

    def layer_decay(self, given: float) -> float:
        """The layer decay of its fine-tuning: `given`, and none where there is nothing in its layers to keep.

        Decay holds back the layers near the input, which a pre-trained network hardly has to change and an untrained
        one has to learn: with it, the baseline would be weaker than it is, and pre-training look better.
        """
        return 1.0 if self.untrained else given

    @property
    def folder(self) -> str:
        """The name of a pre-trained encoder's folder in `runs/<experiment>/encoders`."""
        return f"{self.name}-s{self.pretrain_seed}"


def given_inits(experiment: Experiment) -> list[Init]:
    """The inits of `transfer.inits`, after an untrained baseline for each backbone in use, whether named or not.

    In use are those of `entrants.backbones`, of ImageNet weights and of encoder folders. Published encoders bring no
    baseline of their own: their networks are seldom trained from scratch, least of all at their size. Their files are
    read and matched key by key, so that a wrong one is refused before any work.
    """
    found = [init for spec in experiment.transfer.inits for init in _inits_of(spec, experiment)]
    names = [(init.name, init.backbone) for init in found]
    pretrained = {entrant.name for entrant in entrants(experiment)}
    for init in reversed(found):
        if names.count((init.name, init.backbone)) > 1 or init.name in pretrained:
            raise UserError(
                f"transfer.inits: two inits are called '{init.name}' ({init.backbone}); {_another_name(init)}"
            )
    used = dict.fromkeys([*backbones(experiment), *(init.backbone for init in found if not init.published)])
    return [*(Init("random", backbone) for backbone in used), *found]


def _inits_of(spec: str, experiment: Experiment) -> list[Init]:
    """One entry of `transfer.inits`: none for `random`, one for each backbone in use for a bare `imagenet`."""
    try:
        if (Path(spec) / CARD).is_file():
            return [_folder(spec, experiment)]
        if spec == "random":
            return []
        if (imagenet := parse_imagenet(spec)) is not None:
            return [
                _imagenet(backbone, imagenet.file, experiment)
                for backbone in ([imagenet.backbone] if imagenet.backbone else backbones(experiment))
            ]
        if (published := parse_published(spec)) is not None:
            check_published(spec, tell=True)
            entry = published.entry
            fit = Fit(published.size, entry.fitting, entry.resampling)
            key = published_fingerprint(spec)
            return [Init(published.name, entry.backbone, path=spec, fingerprint=key, fit=fit, published=True)]
    except UserError as error:
        raise UserError(f"transfer.inits: {error}") from None
    name = spec.partition(":")[0]
    if name == spec and ("/" in spec or Path(spec).exists()):
        raise UserError(f"transfer.inits: '{spec}' is not an encoder folder (it has no {CARD})")
    known = ["random", "imagenet", *PUBLISHED]
    raise UserError(f"transfer.inits: {unknown('init', name.partition('@')[0], known)}; files: 'usf_mae:/path/file.pt'")


def _another_name(init: Init) -> str:
    """How an init gets a name of its own."""
    if not (init.published or init.name == "imagenet"):
        return "rename an encoder's folder"
    spec = init.path or "" if init.published else ":".join(filter(None, [f"imagenet@{init.backbone}", init.path]))
    saved = f"encoders/{init.name}_2"
    return f"save one as {saved}, and name that: ssl-zoo export {shlex.quote(spec)} --format folder --out {saved}"


def _imagenet(backbone: str, file: str, experiment: Experiment) -> Init:
    """ImageNet's weights of one backbone, for images of the run's size and channels."""
    if file:
        frames = experiment.frames
        check_imagenet(backbone, file, size=frames.size, channels=frames.channels, tell=True)
    return Init("imagenet", backbone, path=file or None, fingerprint=imagenet_fingerprint(backbone, file))


def _folder(spec: str, experiment: Experiment) -> Init:
    """An encoder folder; where it was made for other images than the run's, it is given its own."""
    card = read_card(Path(spec))
    key, fit = encoder_file_fingerprint(Path(spec)), None
    if card.fit != Fit(experiment.frames.size):
        fit, key = card.fit, fingerprint([key, "images of its own"])
    return Init(
        Path(spec).name,
        card.backbone,
        method=card.method,
        pretrain_seed=card.seed,
        path=spec,
        fingerprint=key,
        fit=fit,
    )
