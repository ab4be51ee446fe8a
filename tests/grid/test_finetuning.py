"""A fine-tuned cell is its subset's, its encoder's and its seed's, and nobody else's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid import finetuning
from ssl_zoo.grid.cells import read_cell
from ssl_zoo.grid.finetuning import finetune_cell, finetune_settings, train_classifier
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.settings import check_names
from ssl_zoo.grid.work import build_encoder, run_cell
from ssl_zoo.planes.images import ImageRows
from ssl_zoo.planes.splits import nested_subset

RANDOM = Init("random", "resnet10t")
OTHER = Init("given", "resnet10t", fingerprint="0123")  # an encoder whose weights do not depend on the cell's seed
QUICK = ("transfer.finetune.steps=2", "transfer.finetune.batch_size=4")


@pytest.fixture(autouse=True)
def nothing_kept():
    finetuning._kept = None
    yield
    finetuning._kept = None


def a_cell(init=RANDOM, *, fraction=1.0, seed=0, key="a"):
    return Cell(init, "finetune", fraction, 0, seed, key)


def rows_of(study, cell):
    return nested_subset(study.planes, study.splits[0].train, cell.fraction, cell.seed)


def train(study, cell, rows=None):
    rows = rows_of(study, cell) if rows is None else rows
    return train_classifier(study, cell, rows, lambda: build_encoder(study, RANDOM, cell.seed), "cpu")


def weights(classifier):
    return np.concatenate([value.numpy().ravel() for value in classifier.state_dict().values()])


def test_pixels_and_labels_outside_of_the_subset_change_nothing(study_of):
    """Selection by validation or test data, of whatever kind, would show here."""
    study = study_of(*QUICK, "transfer.finetune.lr_choices=[1e-3,1e-4]")
    cell = a_cell(fraction=0.5)
    rows = rows_of(study, cell)
    others = np.setdiff1d(np.arange(len(study.planes)), rows)
    assert set(study.splits[0].test) <= set(others)
    images = study.images.copy()
    images[others] = 255 - images[others]
    table = study.planes.table.copy()
    table.loc[others, "label"] = np.roll(table.loc[others, "label"].to_numpy(), 1)
    changed = dataclasses.replace(study, images=images, planes=dataclasses.replace(study.planes, table=table))
    (first, notes), (second, other_notes) = train(study, cell, rows), train(changed, cell, rows)
    assert first.losses == second.losses
    assert (weights(first) == weights(second)).all()
    assert notes == other_notes


def test_training_is_handed_the_rows_of_the_subset_and_no_copy_of_them(study_of, monkeypatch):
    study, handed = study_of(*QUICK), []
    real = finetuning.finetune

    def watched(encoder, images, labels, **given):
        handed.append((images, labels))
        return real(encoder, images, labels, **given)

    monkeypatch.setattr(finetuning, "finetune", watched)
    cell = a_cell(fraction=0.5)
    rows = rows_of(study, cell)
    train(study, cell)
    ((images, labels),) = handed
    assert isinstance(study.images, np.memmap)
    assert isinstance(images, ImageRows)
    assert images._images is study.images  # the pages of one file, which all processes of the machine share
    assert (images[:] == study.images[rows]).all()
    assert (labels == study.planes.labels[rows]).all()


def test_a_cell_does_not_depend_on_the_cells_before_it(study_of, tmp_path):
    study = study_of(*QUICK)
    cells = [a_cell(seed=0, key="a"), a_cell(seed=1, key="b"), a_cell(fraction=0.5, seed=1, key="c")]

    def predictions(cell):
        run_cell(study, cell, "cpu")
        with np.load(tmp_path / "cells" / f"{cell.key}.npz") as saved:
            return saved["probabilities"]

    in_a_row = [predictions(cell) for cell in cells]
    for cell, before in zip(reversed(cells), reversed(in_a_row), strict=True):
        finetuning._kept = None
        assert (predictions(cell) == before).all()
    assert not (in_a_row[0] == in_a_row[1]).all()
    assert not (in_a_row[1] == in_a_row[2]).all()


def test_cells_of_one_encoder_load_it_once_and_leave_it_as_it_was(study_of):
    study = study_of(*QUICK)
    built = []

    def finetune(init, seed, study=study):
        def build():
            built.append(build_encoder(study, RANDOM, 0))
            return built[-1]

        cell = a_cell(init, seed=seed)
        finetune_cell(study, cell, rows_of(study, cell), study.splits[0].test[:2], build, "cpu")

    finetune(OTHER, 0)
    before = {name: value.clone() for name, value in built[0].state_dict().items()}
    finetune(OTHER, 1)
    assert len(built) == 1
    assert all((value == before[name]).all() for name, value in built[0].state_dict().items())
    finetune(dataclasses.replace(OTHER, fingerprint="4567"), 1)
    finetune(RANDOM, 0)
    finetune(RANDOM, 1)  # an untrained network is drawn from the cell's seed
    assert len(built) == 4
    finetune(RANDOM, 1, study_of(*QUICK))
    assert len(built) == 5


def test_the_notes_tell_the_learning_rate_and_where_it_comes_from(study_of):
    _, notes = train(study_of(*QUICK), a_cell())
    assert notes == {"steps": 2, "lr": 1e-3, "lr_by": "given", "layer_decay": 1.0}
    study = study_of(*QUICK, "transfer.finetune.lr_choices=[3e-3,1e-4]")
    _, notes = train(study, a_cell())
    assert notes["lr_by"] == "inner split"
    assert notes["lr"] in (3e-3, 1e-4)
    one_patient = np.flatnonzero(study.planes.patients == study.planes.patients[study.splits[0].train[0]])
    _, notes = train(study, a_cell(), one_patient)
    assert (notes["lr"], notes["lr_by"]) == (1e-3, "fixed: too few patients")


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_record_tells_the_number_format_that_a_cell_was_computed_in(study_of, precision):
    study = study_of(*QUICK, f"compute.precision={precision}")
    run_cell(study, a_cell(), "cpu")
    assert (read_cell(study.run, a_cell().key) or {})["computed"]["precision"] == precision


def test_layers_of_an_untrained_network_are_not_held_back(study_of):
    """Layer decay spares what was learned; a baseline that had to learn with it would be too weak."""
    held, free = study_of(*QUICK), study_of(*QUICK, "transfer.finetune.layer_decay=1.0")
    (one, _), (other, _) = (train(study, a_cell()) for study in (held, free))
    np.testing.assert_array_equal(weights(one), weights(other))
    (one, notes), (other, _) = (train(study, a_cell(OTHER)) for study in (held, free))
    assert notes["layer_decay"] == 0.75
    assert (weights(one) != weights(other)).any()


def test_every_key_of_fine_tuning_reaches_the_training(experiment):
    overrides = {
        "steps": 7,
        "batch_size": 5,
        "lr": 0.25,
        "layer_decay": 0.5,
        "weight_decay": 0.125,
        "warmup": 0.75,
        "dropout": 0.0625,
        "head_batchnorm": False,
        "label_smoothing": 0.03125,
        "class_weights": False,
    }
    given = [f"transfer.finetune.{name}={value}" for name, value in overrides.items()]
    given += ["transfer.finetune.views.flip=0", "transfer.finetune.lr_choices=[0.1,0.2]", "compute.precision=fp32"]
    settings = finetune_settings(load_experiment(experiment, given))
    assert {name: getattr(settings, name) for name in overrides} == overrides
    assert (settings.views.flip, settings.lr_choices, settings.precision) == (0, (0.1, 0.2), "fp32")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lr=-1", "transfer.finetune.lr cannot be -1.0"),
        ("lr_choices=[0.1,0.1]", "transfer.finetune.lr_choices cannot be"),
        ("views.flipp=0", "transfer.finetune.views: unknown key 'flipp'; did you mean 'flip'?"),
        ("views.local_crops=2", "transfer.finetune.views: local_crops changes nothing"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_work(experiment, override, said):
    loaded = load_experiment(experiment, [f"transfer.finetune.{override}"])
    with pytest.raises(UserError) as error:
        check_names(loaded)
    assert said in str(error.value)
