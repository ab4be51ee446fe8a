"""The typed schema of an experiment: one YAML file, whose keys, types and ranges are checked when it is read.

Names (of a method, a sampler, a protocol) belong to the rooms that know them; `grid.settings` checks those.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_zoo.errors import UserError, unknown

MODES = ("linear", "finetune")


@dataclass(frozen=True)
class PhantomConfig:
    """The synthetic cohort that stands in where a source is `phantom`."""

    scans: int = 100
    patients: int = 100  # labelled, internal site; none of them has a scan
    external_patients: int = 40
    frames: int = 60
    seed: int = 0


@dataclass(frozen=True)
class ScansConfig:
    """Unlabelled scan videos: `phantom`, a folder, or a scan table (.csv)."""

    source: str = "phantom"
    patient_pattern: str | None = None  # regex over the relative path, for bare folders


@dataclass(frozen=True)
class FramesConfig:
    """Which frames of the scans go into the store, and in which shape."""

    sampler: str = "uniform"
    per_scan: int = 32  # uniform: frames per scan
    clip_length: int = 2  # uniform: frames per clip, so that temporal pairs have neighbours
    clip_step_s: float | None = None  # uniform: seconds between the frames of a clip (null: the next frame)
    every: int | None = None  # stride: every n-th frame ...
    every_s: float | None = None  # ... or every t seconds
    size: int = 64
    channels: int = 1
    decoder: str = "pyav"  # pyav | decord (which hands files that it would read wrongly to pyav)


@dataclass(frozen=True)
class BudgetConfig:
    """What every method may spend. A frame is seen each time it is drawn as an anchor."""

    frames_seen: int = 40_000


@dataclass(frozen=True)
class PretrainConfig:
    """The methods, and what they share so that their comparison is fair."""

    methods: list[str] = field(
        default_factory=lambda: ["barlow_twins", "simclr", "moco", "byol", "mae", "dino", "vicreg"]
    )
    backbone: str = "resnet10t"
    vit: str = "vit_micro_patch8"  # for methods that need a ViT
    pairing: str = "temporal"
    window_s: float = 0.2
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    batch_size: int = 128
    seeds: list[int] = field(default_factory=lambda: [0])
    views: dict[str, Any] = field(default_factory=dict)  # overrides of every view recipe, e.g. crop_scale
    params: dict[str, dict[str, Any]] = field(default_factory=dict)  # method -> constructor arguments
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)  # method -> overrides of its recipe


@dataclass(frozen=True)
class PlanesConfig:
    """Labelled planes: `phantom`, a plane table (.csv) or `source:/path`; and how patients are divided."""

    source: str = "phantom"
    patient_pattern: str | None = None  # regex over the relative path, for image folders
    classes: list[str] | None = None  # in the order of the outputs; null: the sorted labels of the table
    protocol: str = "holdout"
    folds: int = 5
    val_fraction: float = 0.1
    test_fraction: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class LinearConfig:
    """The linear probe on frozen features."""

    lambdas: list[float] | None = None  # L2 strengths to choose from; null: the probe's own ladder


@dataclass(frozen=True)
class FinetuneConfig:
    """Full fine-tuning for a fixed number of steps."""

    steps: int = 300
    batch_size: int = 32
    lr: float = 1e-3  # of the head
    layer_decay: float = 0.75  # factor on the learning rate for each layer below the head
    weight_decay: float = 0.05
    warmup: float = 0.1  # fraction of the steps
    dropout: float = 0.0
    label_smoothing: float = 0.0
    fractions: list[float] | None = None  # null: those of `transfer`
    seeds: list[int] | None = None


@dataclass(frozen=True)
class TransferConfig:
    """The label-efficiency grid: inits x modes x fractions x folds x seeds."""

    inits: list[str] = field(default_factory=lambda: ["random"])  # beside the pre-trained encoders
    modes: list[str] = field(default_factory=lambda: ["linear", "finetune"])
    fractions: list[float] = field(default_factory=lambda: [0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    linear: LinearConfig = field(default_factory=LinearConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)


@dataclass(frozen=True)
class ComputeConfig:
    """Where the work runs. On the CPU the numbers depend on `threads` and `precision`, never on `workers`."""

    device: str = "auto"  # auto | cpu | cuda
    workers: int | None = None  # parallel processes; null: one for each GPU, or one for each `threads` cores
    threads: int = 1  # per process
    precision: str = "auto"  # auto | fp32 | bf16
    checkpoint_every_s: float = 30.0


@dataclass(frozen=True)
class Experiment:
    """One study: one YAML file in `experiments/`, one folder in `runs/`."""

    name: str
    title: str = ""
    folder: str | None = None  # the data's root, for `${folder}/scans.csv` below
    folder_hint: str = ""  # the sentence that is shown when `folder` does not exist
    data: str = "data"  # where the phantom's files go
    runs: str = "runs"
    phantom: PhantomConfig = field(default_factory=PhantomConfig)
    scans: ScansConfig = field(default_factory=ScansConfig)
    frames: FramesConfig = field(default_factory=FramesConfig)
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    planes: PlanesConfig = field(default_factory=PlanesConfig)
    transfer: TransferConfig = field(default_factory=TransferConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)

    @property
    def run_folder(self) -> Path:
        """`runs/<name>`."""
        return Path(self.runs) / self.name


def load_experiment(path: Path | str, overrides: typing.Sequence[str] = ()) -> Experiment:
    """Read an experiment file, apply `key.sub=value` overrides, check everything that can be checked now.

    Raises UserError that names the file and the key: unknown keys (with the nearest valid one), wrong types,
    impossible values.
    """
    path = Path(path)
    if not path.is_file():
        siblings = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(str(path), siblings, n=1, cutoff=0.4)
        raise UserError(f"{path}: no such experiment file" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        given = OmegaConf.load(path)
    except Exception as error:  # PyYAML and OmegaConf raise many kinds here; each is told and none is swallowed
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not OmegaConf.is_dict(given):
        raise UserError(f"{path}: an experiment is a mapping of keys to values")
    for override in overrides:
        if "=" not in override:
            raise UserError(f"'{override}' is not an override; write key.sub=value")
    try:
        given = OmegaConf.merge(given, OmegaConf.from_dotlist(list(overrides)))
        _refuse_unknown_keys(OmegaConf.to_container(given, resolve=False), Experiment, str(path))
        if "name" not in given:
            raise UserError(f"{path}: the key 'name' is missing")
        merged = OmegaConf.merge(_writable(OmegaConf.structured(Experiment)), given)
        experiment = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        reason = str(getattr(error, "msg", None) or error).splitlines()[0]
        raise UserError(f"{path}: {f'{key}: ' if key else ''}{reason}") from error
    assert isinstance(experiment, Experiment)
    check(experiment, str(path))
    return experiment


def dump(experiment: Experiment) -> str:
    """The resolved experiment as YAML, loadable again."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(experiment)))


def check(experiment: Experiment, source: str) -> None:
    """Refuse values that cannot work whatever the rooms offer, naming the key."""
    frames, pretrain, planes, transfer = (
        experiment.frames,
        experiment.pretrain,
        experiment.planes,
        experiment.transfer,
    )

    def need(condition: bool, key: str, sentence: str) -> None:
        if not condition:
            raise UserError(f"{source}: {key}: {sentence}")

    def one_of(key: str, value: str, allowed: typing.Iterable[str]) -> None:
        if value not in (allowed := list(allowed)):
            raise UserError(f"{source}: {key}: {unknown(key.rsplit('.', 1)[-1].rstrip('s'), value, allowed)}")

    def distinct(key: str, values: typing.Sequence[Any]) -> None:
        need(len(values) > 0, key, "at least one is needed")
        need(len(set(values)) == len(values), key, "a value stands twice")

    need(
        bool(experiment.name) and not set(experiment.name) & set('/\\:*?"<>| ') and not experiment.name.startswith("."),
        "name",
        f"'{experiment.name}' must be usable as a folder's name",
    )
    for key in ("scans", "patients", "frames"):
        need(getattr(experiment.phantom, key) >= 1, f"phantom.{key}", "must be at least 1")
    need(experiment.phantom.external_patients >= 0, "phantom.external_patients", "must not be negative")
    need(frames.channels in (1, 3), "frames.channels", f"{frames.channels} is neither 1 (grey) nor 3 (colour)")
    need(16 <= frames.size <= 1024, "frames.size", f"{frames.size} pixels is not between 16 and 1024")
    need(frames.per_scan >= 1, "frames.per_scan", "must be at least 1")
    need(frames.clip_length >= 1, "frames.clip_length", "must be at least 1")

    need(pretrain.window_s > 0, "pretrain.window_s", "must be more than 0 seconds")
    need(pretrain.batch_size >= 2, "pretrain.batch_size", "must be at least 2")
    need(
        pretrain.budget.frames_seen >= pretrain.batch_size,
        "pretrain.budget.frames_seen",
        "is less than one batch",
    )
    need(len(set(pretrain.methods)) == len(pretrain.methods), "pretrain.methods", "a value stands twice")
    distinct("pretrain.seeds", pretrain.seeds)
    need(planes.folds >= 2, "planes.folds", "must be at least 2")
    need(0 < planes.test_fraction < 1, "planes.test_fraction", "must lie between 0 and 1")
    need(0 <= planes.val_fraction < 1, "planes.val_fraction", "must lie between 0 and 1")
    need(
        planes.val_fraction + planes.test_fraction < 1,
        "planes.test_fraction",
        "leaves no patient for training",
    )

    distinct("transfer.modes", transfer.modes)
    for mode in transfer.modes:
        one_of("transfer.modes", mode, MODES)
    for key, fractions in (
        ("transfer.fractions", transfer.fractions),
        ("transfer.finetune.fractions", transfer.finetune.fractions),
    ):
        if fractions is not None:
            distinct(key, fractions)
            for fraction in fractions:
                need(0 < fraction <= 1, key, f"{fraction} is not more than 0 and at most 1")
    distinct("transfer.seeds", transfer.seeds)
    if transfer.linear.lambdas is not None:
        distinct("transfer.linear.lambdas", transfer.linear.lambdas)
        need(min(transfer.linear.lambdas) > 0, "transfer.linear.lambdas", "must be more than 0")
    need(transfer.finetune.steps >= 1, "transfer.finetune.steps", "must be at least 1")
    need(transfer.finetune.batch_size >= 2, "transfer.finetune.batch_size", "must be at least 2")

    one_of("compute.device", experiment.compute.device, ("auto", "cpu", "cuda"))
    need(experiment.compute.threads >= 1, "compute.threads", "must be at least 1")
    need(
        experiment.compute.workers is None or experiment.compute.workers >= 1,
        "compute.workers",
        "must be at least 1",
    )


def _refuse_unknown_keys(given: Any, schema: type, source: str, prefix: str = "") -> None:
    """Compare the keys of a mapping with the fields of a dataclass, level by level."""
    hints = typing.get_type_hints(schema)
    if not isinstance(given, dict):
        raise UserError(f"{source}: {prefix.rstrip('.')}: a mapping of keys is needed, not {given!r}")
    for key, value in given.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), list(hints), n=1, cutoff=0.5)
            hint = f"; did you mean '{prefix}{near[0]}'?" if near else f" (known: {', '.join(hints)})"
            raise UserError(f"{source}: unknown key '{prefix}{key}'{hint}")
        if dataclasses.is_dataclass(hints[key]) and isinstance(hints[key], type):
            _refuse_unknown_keys(value, hints[key], source, f"{prefix}{key}.")


def _writable(node: Any) -> Any:
    """Lift the read-only flag that OmegaConf takes over from frozen dataclasses, so that values can be merged in."""
    OmegaConf.set_readonly(node, None)
    for key in node:
        if OmegaConf.is_dict(child := node._get_node(key)) and not child._is_none():
            _writable(child)
    return node
