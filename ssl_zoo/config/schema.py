"""The keys of an experiment with their types and defaults; what each one means stands beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUDGETS = ("frames_seen", "steps", "seconds")  # what a budget may count


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
    """Unlabelled scans: `phantom`, a folder, a scan table (.csv) or `source:/path`."""

    source: str = "phantom"
    patient_pattern: str | None = None  # regex over the relative path, for bare folders
    fps: float = 25.0  # frames a second of scans that do not tell: image folders, stacks, some DICOM files
    allow_outside: bool = False  # whether paths and links may leave the folder of the table


@dataclass(frozen=True)
class CleaningConfig:
    """What is done to frames before they are scaled; all off. `ssl-zoo frames --clean` switches the usual steps on."""

    sector: str = "keep"  # keep | crop (to the box of the sector) | mask (also black outside of the sector)
    overlays: str = "keep"  # keep | inpaint (marks that stand still) | drop (scans with more of them than ...)
    overlay_share: float = 0.05  # ... this share of the sector)
    black: bool = False  # drop frames that show nothing
    frozen: bool = False  # drop frames that repeat the one kept before them
    split_screen: bool = False  # drop frames that show two images side by side
    duplicates: str = "keep"  # keep | scan (drop near duplicates of the frame kept before) | store (of any frame)
    max_distance: int = 3  # bits of 64 between the perceptual hashes of near duplicates, at most
    min_correlation: float = 0.995  # between the thumbnails of near duplicates, at least
    colour: str = "keep"  # keep | drop (scans with colour flow)
    colour_share: float = 0.005  # of the sector, from which on a scan has colour flow


@dataclass(frozen=True)
class FramesConfig:
    """Which frames of the scans go into the store, and in which shape."""

    sampler: str = "uniform"  # uniform | random | stride | motion (change points) | diverse (farthest first)
    per_scan: int = 32  # frames per scan
    frames: int | None = None  # frames of the whole store, instead of `per_scan` (null: per_scan)
    scans: int | None = None  # draw so many scans by lot (null: all)
    clip_length: int = 2  # frames per clip, so that temporal pairs have neighbours
    clip_step_s: float | None = None  # seconds between the frames of a clip (null: the next frame)
    every: int | None = None  # stride: every n-th frame ...
    every_s: float | None = None  # ... or every t seconds
    candidate_step_s: float | None = None  # random, motion, diverse: seconds between candidates (null: every frame)
    seed: int = 0  # of the drawn scans, and of random and diverse frames
    copies: int = 1  # of each frame: a control that adds frames and nothing new
    size: int = 64
    channels: int = 1
    decoder: str = "pyav"  # pyav | decord (which hands files that it would read wrongly to pyav)
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)


@dataclass(frozen=True)
class BudgetConfig:
    """What every method may spend: exactly one of the three. A frame is seen each time it is drawn as an anchor."""

    frames_seen: int | None = 40_000  # null as soon as one of the others is given
    steps: int | None = None  # optimiser steps of `batch_size` frames each
    seconds: float | None = None  # of training; how far that gets depends on the computer, so it does not repeat


@dataclass  # not frozen: OmegaConf would let no value into an entry of a mapping
class OwnBudgetConfig:
    """For one method alone: a batch of its own under the common budget, or another budget to rebuild unfair studies."""

    frames_seen: int | None = None
    steps: int | None = None
    seconds: float | None = None
    batch_size: int | None = None  # null: that of all methods

    @property
    def kinds(self) -> dict[str, float]:
        """What is given of frames_seen, steps and seconds; nothing where the common budget holds."""
        return {name: value for name in BUDGETS if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class TuningConfig:
    """How `recipe: tuned` finds a method's learning rate; no validation or test patient has a part in it."""

    ladder: list[float] = field(default_factory=lambda: [0.3, 1.0, 3.0])  # factors on the recipe's base_lr
    by: str = "probe"  # probe: patient-wise among the training planes | rankme: RankMe of frames, without labels
    share: float = 0.25  # of the budget, that each rung of the ladder may spend


@dataclass(frozen=True)
class PretrainConfig:
    """The methods, and what they share so that their comparison is fair."""

    methods: list[str] = field(
        default_factory=lambda: ["barlow_twins", "simclr", "moco", "byol", "mae", "dino", "vicreg"]
    )
    backbone: str = "resnet10t"
    vit: str = "vit_micro_patch8"  # for methods that need a ViT
    pairing: str = "temporal"  # temporal | same_frame
    window_s: float = 0.2  # temporal: how far a partner may be from its anchor, in seconds
    pair_weighting: str = "uniform"  # uniform | linear: the closer in time, the likelier a partner
    exclude_same_scan: bool = False  # take frames of the anchor's own scan out of the negatives, where there are any
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    budgets: dict[str, OwnBudgetConfig] = field(default_factory=dict)  # method -> a batch, or a budget, of its own
    batch_size: int = 128  # images of one optimiser step, over all processes and all accumulated parts
    accumulate: int = 1  # parts in which a batch passes; only for methods whose loss does not couple images
    seeds: list[int] = field(default_factory=lambda: [0])
    recipe: str = "paper"  # paper: each paper's learning rate | tuned: the best of a small ladder around it
    tuning: TuningConfig = field(default_factory=TuningConfig)
    views: dict[str, Any] = field(default_factory=dict)  # overrides of every view recipe, e.g. crop_scale
    params: dict[str, dict[str, Any]] = field(default_factory=dict)  # method -> constructor arguments
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)  # method -> overrides of its recipe
    on_collapse: str = "warn"  # warn | stop: what to do when all features become the same
    monitor_knn: bool | None = None  # kNN of labelled training patients along the way; null: in a hold-out only
    frames: dict[str, Any] = field(default_factory=dict)  # in a variant: keys of `frames`, for a store of its own
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> pretrain keys: one init for each


@dataclass(frozen=True)
class PlanesConfig:
    """Labelled planes: `phantom`, a plane table (.csv) or `source:/path`; and how patients are divided."""

    source: str = "phantom"
    patient_pattern: str | None = None  # regex over the relative path, for image folders
    classes: list[str] | None = None  # in the order of the outputs; null: the sorted labels of the table
    labels: dict[str, str | None] = field(default_factory=dict)  # label of the source -> class; null: leave it out
    external: str | None = None  # a second source, which is only ever tested on
    external_labels: dict[str, str | None] = field(default_factory=dict)  # as `labels`, of the external source
    sector: str = "keep"  # keep | crop | mask, as `frames.cleaning.sector`: a still by its own light, a video by motion
    unit: str = "patient"  # patient | image: each image file stands for itself, where patients are not known
    allow_outside: bool = False  # whether paths and links may leave the folder of the table
    protocol: str = "holdout"  # holdout (that of the table's column `split`, where it has one) | cross_validation
    folds: int = 5
    val_fraction: float = 0.1
    test_fraction: float = 0.3
    seed: int = 0
    splits: str | None = None  # the planes/splits.json of another run on the same table: exactly its division
    audit: str = "refuse"  # refuse | warn: what to do when the audit finds a leak


@dataclass(frozen=True)
class LinearConfig:
    """The linear probe on frozen features."""

    lambdas: list[float] | None = None  # L2 strengths to choose from; null: the probe's own ladder


@dataclass(frozen=True)
class KnnConfig:
    """Nearest neighbours by cosine among frozen features."""

    k: int = 20  # neighbours that vote; at most the subset's images over its classes


WHICH_CELLS = ("fractions", "seeds", "folds")  # keys of fine-tuning that say which cells there are, not what is in one


@dataclass(frozen=True)
class FinetuneConfig:
    """Full fine-tuning for a fixed number of steps."""

    steps: int = 300
    batch_size: int = 32
    lr: float = 1e-3  # of the head
    lr_choices: list[float] | None = None  # choose among these by patients held out within the subset; null: `lr`
    layer_decay: float = 0.75  # factor on the learning rate for each layer below the head; none for `random`
    weight_decay: float = 0.05
    warmup: float = 0.1  # fraction of the steps
    dropout: float = 0.0
    head_batchnorm: bool = True  # standardise the features for the head; without it a ViT needs many times the steps
    label_smoothing: float = 0.0
    class_weights: bool = True  # each class of the subset weighs the same in the loss: n / (classes x images of it)
    views: dict[str, Any] = field(default_factory=dict)  # changes to the mild view, e.g. rotation; {flip: 0} where
    # a label says left or right
    fractions: list[float] | None = None  # null: those of `transfer`
    seeds: list[int] | None = None
    folds: list[int] | None = None  # of a cross-validation, e.g. [0]: one hold-out, where all would take too long


@dataclass(frozen=True)
class TransferConfig:
    """The label-efficiency grid: inits x modes x fractions x folds x seeds."""

    inits: list[str] = field(default_factory=lambda: ["random"])  # beside the pre-trained encoders
    modes: list[str] = field(default_factory=lambda: ["linear", "finetune"])  # linear | knn | prototype | finetune
    fractions: list[float] = field(default_factory=lambda: [0.01, 0.05, 0.1, 0.25, 0.5, 1.0])
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    linear: LinearConfig = field(default_factory=LinearConfig)
    knn: KnnConfig = field(default_factory=KnnConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)


@dataclass(frozen=True)
class SlurmConfig:
    """One job array on a Slurm cluster, for `compute.executor: slurm`. No number depends on any of it."""

    partition: str | None = None  # null: the cluster's default
    account: str | None = None
    tasks: int = 8  # of the array, at most; fewer where there is less to do
    gpus: int = 0  # of each task
    cpus: int | None = None  # of each task; null: compute.threads * compute.devices for each job at a time
    memory_gb: float = 16.0  # of each task
    minutes: int = 240  # of each task, after which it is queued again and goes on
    warning_s: int = 120  # how long before its end a task is told, so that pre-training saves its place
    requeues: int = 100  # how often a task may run out of time
    lost_after_s: float = 120.0  # a job is given to another task when its own has shown no sign of life for so long
    options: dict[str, Any] = field(default_factory=dict)  # further options of sbatch, e.g. {constraint: a100}


@dataclass(frozen=True)
class ComputeConfig:
    """Where the work runs. On the CPU the numbers depend on `threads` and `precision`, never on `workers`."""

    device: str = "auto"  # auto | cpu | cuda
    workers: int | None = None  # jobs at a time; null: one for each GPU, or for each `threads` cores
    threads: int = 1  # per process
    devices: int = 1  # processes (on GPUs: GPUs) on a machine that share each pre-training run; equal up to rounding
    num_nodes: int = 1  # machines that share each pre-training run; torchrun or srun must start the command on them
    precision: str = "auto"  # auto | fp32 | bf16
    checkpoint_every_s: float = 30.0
    executor: str = "local"  # local: processes of this machine | slurm: tasks of a cluster that shares the run folder
    slurm: SlurmConfig = field(default_factory=SlurmConfig)


@dataclass(frozen=True)
class Experiment:
    """One study: one YAML file in `experiments/`, one folder in `runs/`."""

    name: str
    title: str = ""
    folder: str | None = None  # the data's root, for `${folder}/scans.csv` below
    folder_hint: str = ""  # the sentence that is shown when `folder` does not exist
    weights: str | None = None  # the root of weight files, for `${weights}/file.pt` below
    published: str | None = None  # a table of published numbers, relative to the experiment file, for the report
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
