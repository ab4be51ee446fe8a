"""Every key of an experiment either changes the keys of cells, or which cells there are, or provably no number.

A new key of the schema fails here until it is put into one of the tables.
"""

from __future__ import annotations

import dataclasses
import shutil
import typing

import pandas as pd
import pytest
import yaml

from ssl_zoo.config import Experiment, OwnBudgetConfig, load_experiment
from ssl_zoo.files import fingerprint
from ssl_zoo.grid.plan import VERSIONS, cell_key, make_plan
from ssl_zoo.grid.study import phantom_folder, prepare, splits_of
from ssl_zoo.planes.table import read_planes

ALL_MODES = "transfer.modes=[linear,knn,prototype,finetune]"
TUNED = "pretrain.recipe=tuned"
CROSSED = "planes.protocol=cross_validation"

# key -> the change, then what must be set for it to have a meaning
NUMBERS = {
    "frames.size": ["40"],
    "frames.channels": ["3"],
    "pretrain.pairing": ["same_frame"],
    "pretrain.window_s": ["0.5"],
    "pretrain.pair_weighting": ["linear"],
    "pretrain.exclude_same_scan": ["true"],
    "pretrain.budget.frames_seen": ["48"],
    "pretrain.budget.steps": ["3", "pretrain.budget.frames_seen=null", "pretrain.budget.steps=2"],
    "pretrain.budget.seconds": ["3", "pretrain.budget.frames_seen=null", "pretrain.budget.seconds=2"],
    "pretrain.budgets": ["{simclr: {batch_size: 8}}"],
    "pretrain.batch_size": ["8"],
    "pretrain.accumulate": ["2"],
    "pretrain.recipe": ["tuned"],
    "pretrain.tuning.ladder": ["[1.0,3.0]", TUNED],
    "pretrain.tuning.by": ["rankme", TUNED],
    "pretrain.tuning.share": ["1.0", TUNED],
    "pretrain.views": ["{rotation: 3}"],
    "pretrain.params": ["{simclr: {temperature: 0.2}}"],
    "pretrain.recipes": ["{simclr: {base_lr: 0.1}}"],
    "transfer.linear.lambdas": ["[0.1,1]"],
    "transfer.knn.k": ["5"],
    "transfer.finetune.steps": ["4"],
    "transfer.finetune.batch_size": ["5"],
    "transfer.finetune.lr": ["0.01"],
    "transfer.finetune.lr_choices": ["[0.01,0.001]"],
    "transfer.finetune.layer_decay": ["0.5"],
    "transfer.finetune.weight_decay": ["0.1"],
    "transfer.finetune.warmup": ["0.2"],
    "transfer.finetune.dropout": ["0.1"],
    "transfer.finetune.label_smoothing": ["0.1"],
    "transfer.finetune.head_batchnorm": ["false"],
    "transfer.finetune.class_weights": ["false"],
    "transfer.finetune.views": ["{rotation: 3}"],
    "compute.threads": ["2"],
    "compute.precision": ["fp32"],
}
# other cells; those that both plans have keep their keys
WHICH = {
    "pretrain.methods": ["[simclr,byol]"],
    "pretrain.backbone": ["resnet18"],
    "pretrain.vit": ["vit_tiny_patch16_224", "pretrain.methods=[mae]"],
    "pretrain.seeds": ["[0,1]"],
    "pretrain.variants": ["{near: {window_s: 0.1}}"],
    "transfer.inits": ["[random,imagenet]"],
    "transfer.modes": ["[linear]"],
    "transfer.fractions": ["[0.5,0.75]"],
    "transfer.seeds": ["[0,2]"],
    "transfer.finetune.fractions": ["[0.75]"],
    "transfer.finetune.seeds": ["[3]"],
}
NOTHING = {
    "title": ["other"],
    "folder": ["/nowhere"],
    "folder_hint": ["words"],
    "weights": ["/nowhere"],  # stands in the names of files, whose contents decide
    "published": ["numbers.csv"],  # for the report alone
    "data": ["elsewhere"],
    "runs": ["elsewhere"],
    "name": ["other"],
    "pretrain.on_collapse": [
        "stop"
    ],  # an encoder that was finished has the same weights; one that was not has no cells
    "pretrain.monitor_knn": ["false"],  # watches, and draws from no stream of the training
    "transfer.finetune.folds": ["[0]"],  # the one fold of a hold-out; see test_plan for several
    "planes.audit": ["warn"],  # refuses, or does not
    "compute.device": ["cpu"],  # rounding alone
    "compute.workers": ["1"],
    "compute.devices": ["2"],  # rounding alone
    "compute.num_nodes": ["2"],  # rounding alone
    "compute.checkpoint_every_s": ["5"],
    "compute.executor": ["slurm"],
    "compute.slurm.partition": ["gpu"],
    "compute.slurm.account": ["us"],
    "compute.slurm.tasks": ["2"],
    "compute.slurm.gpus": ["1"],
    "compute.slurm.cpus": ["3"],
    "compute.slurm.memory_gb": ["2"],
    "compute.slurm.minutes": ["10"],
    "compute.slurm.warning_s": ["20"],
    "compute.slurm.requeues": ["1"],
    "compute.slurm.lost_after_s": ["20"],
    "compute.slurm.options": ["{constraint: a100}"],
}
# through what is made of the data: the fingerprints of frames and planes, and the rows of the splits
DATA = {
    "frames.sampler": ["random"],
    "frames.per_scan": ["4"],
    "frames.frames": ["20"],
    "frames.scans": ["4"],
    "frames.clip_length": ["1"],
    "frames.clip_step_s": ["0.08"],
    "frames.every": ["3", "frames.sampler=stride", "frames.every=2"],
    "frames.every_s": ["0.12", "frames.sampler=stride", "frames.every_s=0.08"],
    "frames.candidate_step_s": ["0.08", "frames.sampler=random"],
    "frames.seed": ["1", "frames.sampler=random"],
    "frames.copies": ["2"],
    "frames.cleaning.black": ["true"],
    "frames.cleaning.frozen": ["true"],
    "frames.cleaning.sector": ["crop"],
    "frames.cleaning.overlays": ["inpaint"],
    "frames.cleaning.overlay_share": ["0.1", "frames.cleaning.overlays=drop"],
    "frames.cleaning.split_screen": ["true"],
    "frames.cleaning.duplicates": ["scan"],
    "frames.cleaning.max_distance": ["5", "frames.cleaning.duplicates=scan"],
    "frames.cleaning.min_correlation": ["0.9", "frames.cleaning.duplicates=scan"],
    "frames.cleaning.colour": ["drop"],
    "frames.cleaning.colour_share": ["0.01", "frames.cleaning.colour=drop"],
    "planes.classes": ["[light,grey,dark]"],
    "planes.labels": ["{light: bright}"],
    "planes.protocol": ["cross_validation"],
    "planes.folds": ["3", CROSSED, "planes.folds=2"],
    "planes.val_fraction": ["0.3"],
    "planes.test_fraction": ["0.5"],
    "planes.seed": ["3"],
    "planes.sector": ["crop"],
}
# where the data come from: what is found there decides, and its fingerprint is in the key
SOURCES = {
    *("scans.source", "scans.patient_pattern", "scans.fps", "scans.allow_outside", "frames.decoder"),
    *("planes.source", "planes.patient_pattern", "planes.external", "planes.external_labels", "planes.allow_outside"),
    "planes.splits",
    "planes.unit",  # refused where the table names patients
    "pretrain.frames",  # of a variant, whose frame store is its own
}
PHANTOM = {"phantom.scans", "phantom.patients", "phantom.external_patients", "phantom.frames", "phantom.seed"}


def leaves(schema: type, prefix: str = "") -> list[str]:
    """All keys of the schema."""
    found: list[str] = []
    for name, kind in typing.get_type_hints(schema).items():
        own = dataclasses.is_dataclass(kind) and isinstance(kind, type)
        found += leaves(kind, f"{prefix}{name}.") if own else [f"{prefix}{name}"]
    return found


def by_cell(study):
    """The key of every cell, by what the cell is."""
    found = {}
    for cell in make_plan(study).cells:
        init = cell.init
        found[init.name, init.backbone, init.pretrain_seed, cell.mode, cell.fraction, cell.fold, cell.seed] = cell.key
    return found


def changed(section, key, value):
    """An experiment, or a part of it, with one key changed; quicker than to read the file again."""
    first, _, rest = key.partition(".")
    return dataclasses.replace(section, **{first: changed(getattr(section, first), rest, value) if rest else value})


def with_keys(study, changes):
    """The study under other keys. `changes` are written as on the command line."""
    experiment = study.experiment
    for change in changes:
        key, _, text = change.partition("=")
        value = yaml.safe_load(text)
        if key == "pretrain.budgets":
            value = {method: OwnBudgetConfig(**budget) for method, budget in value.items()}
        experiment = changed(experiment, key, value)
    return dataclasses.replace(study, experiment=experiment)


def before_and_after(study, key, given):
    value, *needed = given
    before = [ALL_MODES, *needed]
    return by_cell(with_keys(study, before)), by_cell(with_keys(study, [*before, f"{key}={value}"]))


@pytest.fixture
def study(prepared_study, tmp_path):
    return dataclasses.replace(prepared_study[1], run=tmp_path)


def test_every_key_of_the_schema_is_in_just_one_table():
    tables = [set(NUMBERS), set(WHICH), set(NOTHING), set(DATA), SOURCES, PHANTOM]
    assert sorted(key for table in tables for key in table) == sorted(leaves(Experiment))


@pytest.mark.parametrize("key", NUMBERS)
def test_what_decides_numbers_changes_keys(study, key):
    before, after = before_and_after(study, key, NUMBERS[key])
    assert before.keys() == after.keys()
    assert any(before[cell] != after[cell] for cell in before)


@pytest.mark.parametrize("key", WHICH)
def test_what_says_which_cells_there_are_keeps_the_keys_of_those_that_stay(study, key):
    before, after = before_and_after(study, key, WHICH[key])
    assert before.keys() != after.keys()
    assert all(before[cell] == after[cell] for cell in before.keys() & after.keys())


@pytest.mark.parametrize("key", NOTHING)
def test_what_decides_no_number_changes_no_key(study, key):
    before, after = before_and_after(study, key, NOTHING[key])
    assert before == after


@pytest.mark.slow
@pytest.mark.parametrize("key", DATA)
def test_what_is_made_of_the_data_changes_keys(prepared_study, tmp_path, key):
    value, *needed = DATA[key]
    studies = [
        prepare(load_experiment(prepared_study[0], [*needed, *changes, f"runs={tmp_path / name}"]), progress=False)
        for name, changes in (("before", []), ("after", [f"{key}={value}"]))
    ]
    before, after = (by_cell(study) for study in studies)
    assert all(before[cell] != after[cell] for cell in before.keys() & after.keys() if cell[0] == "simclr")


def test_another_phantom_is_another_folder(study):
    folders = {phantom_folder(changed(study.experiment, key, 7)) for key in PHANTOM}
    assert len(folders | {phantom_folder(study.experiment)}) == len(PHANTOM) + 1


def test_settings_of_one_mode_leave_the_others_alone(study):
    for key, mode in (
        ("transfer.linear.lambdas", "linear"),
        ("transfer.knn.k", "knn"),
        ("transfer.finetune.lr", "finetune"),
    ):
        before, after = before_and_after(study, key, NUMBERS[key])
        assert {cell[3] for cell in before if before[cell] != after[cell]} == {mode}


def test_the_precision_decides_nothing_on_features_of_an_untrained_network_which_are_float32(study):
    before, after = before_and_after(study, "compute.precision", ["fp32"])
    assert {cell[3] for cell in before if cell[0] == "random" and before[cell] != after[cell]} == {"finetune"}
    assert {cell[0] for cell in before if before[cell] != after[cell]} == {"random", "simclr"}


def given_as_drawn(table, study):
    """The splits that were drawn, as a column."""
    sides = {side: set(study.planes.patients[getattr(study.splits[0], side)]) for side in ("train", "val", "test")}
    side_of = {patient: side for side, patients in sides.items() for patient in patients}
    return table.assign(split=table["patient_id"].map(side_of))


def swapped(table, study):
    """Two patients in each other's place in a given split."""
    given = given_as_drawn(table, study)
    train, test = (given.loc[given["split"] == side, "patient_id"].iloc[0] for side in ("train", "test"))
    other = given["patient_id"].replace({train: test, test: train})
    return given.assign(split=other.map(given.drop_duplicates("patient_id").set_index("patient_id")["split"]))


def with_value(column, value, row=0):
    def edit(table, study):
        table.loc[row, column] = value
        return table

    return edit


# an edit of the plane table, the protocol, and whether it decides numbers
EDITS = {
    "a site": (lambda table, study: table.assign(site="there"), "holdout", False),
    "a column of the user's": (lambda table, study: table.assign(operator="x"), "holdout", False),
    "the split as it was drawn": (given_as_drawn, "holdout", False),
    "another split": (swapped, "holdout", True),
    "a split for cross-validation": (given_as_drawn, "cross_validation", False),
    "another split for cross-validation": (swapped, "cross_validation", False),
    "a label": (with_value("label", "grey"), "holdout", True),
    "a patient": (with_value("patient_id", "P77"), "holdout", True),
    "a cohort": (
        lambda table, study: table.assign(cohort=table["cohort"].replace("external", "abroad")),
        "holdout",
        True,
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_the_plane_table_changes_keys_with_what_decides_numbers_alone(study, hospital, tmp_path, what):
    edit, protocol, decides = EDITS[what]
    study = with_keys(study, [ALL_MODES, f"planes.protocol={protocol}", "planes.folds=2"])

    def keys(table):
        path = hospital / f"edited {tmp_path.name}.csv"
        table.to_csv(path, index=False)
        try:
            planes = read_planes(path)
        finally:
            path.unlink()
        return by_cell(dataclasses.replace(study, planes=planes, splits=splits_of(study.experiment, planes)))

    table = pd.read_csv(hospital / "planes.csv", dtype=str, keep_default_na=False)
    before, after = keys(table), keys(edit(table.copy(), study))
    assert before.keys() == after.keys()
    assert {before[cell] != after[cell] for cell in before} == {decides}


def test_a_table_that_says_something_else_of_sites_is_taken_over_without_decoding(hospital, tmp_path, write_experiment):
    shutil.copytree(hospital, tmp_path / "data")
    path = write_experiment(tmp_path, tmp_path / "data")
    experiment = load_experiment(path, ["pretrain.methods=[]"])
    before = prepare(experiment, progress=False)
    images = (before.run / "planes" / "images.npy").stat()
    table = pd.read_csv(tmp_path / "data" / "planes.csv", dtype=str)
    table.assign(site="there").to_csv(tmp_path / "data" / "planes.csv", index=False)
    after = prepare(experiment, progress=False)
    assert set(after.planes.table["site"]) == {"there"}
    assert by_cell(after) == by_cell(before)
    assert (after.run / "planes" / "images.npy").stat() == images


def test_layer_decay_decides_nothing_for_an_untrained_network(study):
    before, after = before_and_after(study, "transfer.finetune.layer_decay", ["0.5"])
    assert {cell[0] for cell in before if before[cell] != after[cell]} == {"simclr"}


def test_a_key_is_the_fingerprint_of_everything_written_out_in_one_mapping(study):
    store, planes, split = study.store, study.planes, study.splits[0]
    cell = next(cell for cell in make_plan(study).cells if cell.mode == "linear" and cell.init.name == "random")
    whole = {
        "version": VERSIONS["linear"],
        "init": ["random", "resnet10t", ""],
        "normalisation": [store.mean, store.std],
        "planes": [planes.fingerprint, list(planes.classes), 32, 1],
        "split": [0, split.train.tolist(), split.test.tolist()],
        "cell": ["linear", cell.fraction, cell.seed],
        "settings": {"lambdas": None},
        "compute": [1],
    }
    assert cell.key == fingerprint(whole)


def test_no_name_in_a_key_comes_before_that_of_the_cells_own_entry():
    """The key of a cell would then not be that of its mapping, and two ways to write it down would differ."""
    shared = b'{"compute":1,"version":2}'
    assert cell_key(shared, "linear", 0.1, 3) == fingerprint({"cell": ["linear", 0.1, 3], "compute": 1, "version": 2})
