"""An experiment file is checked whole, and an error names its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_zoo.config import BudgetConfig, Experiment, dump, load_experiment, variants_of
from ssl_zoo.errors import UserError
from ssl_zoo.grid.settings import check_names


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("name: study\npretrain: {methods: [byol], params: {byol: {ema_start: 0.9}}}\n")
    return path


def test_what_a_file_leaves_out_has_its_default(file):
    experiment = load_experiment(file)
    assert experiment.pretrain.methods == ["byol"]
    assert experiment.transfer == Experiment(name="x").transfer


def test_an_override_wins_over_the_file(file):
    experiment = load_experiment(file, ["pretrain.batch_size=32", "transfer.fractions=[0.1,1]", "name=other"])
    assert experiment.pretrain.batch_size == 32
    assert experiment.transfer.fractions == [0.1, 1.0]
    assert experiment.run_folder.name == "other"


@pytest.mark.parametrize(
    "override",
    [
        "pretrain.views={crop_scale: [0.5, 1.0]}",
        "pretrain.budget.seconds=3",
        "pretrain.budgets={byol: {steps: 2, batch_size: 16}}",
        "pretrain.variants={near: {window_s: 0.1, budget: {steps: 5}}}",
    ],
)
def test_a_dumped_experiment_loads_as_the_same(file, tmp_path, override):
    experiment = load_experiment(file, [override])
    (tmp_path / "again.yaml").write_text(dump(experiment))
    assert load_experiment(tmp_path / "again.yaml") == experiment


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("pretrain.batchsize=3", ["unknown key 'pretrain.batchsize'", "'pretrain.batch_size'"]),
        ("pretain.batch_size=3", ["unknown key 'pretain'", "'pretrain'"]),
        ("pretrain.batch_size=many", ["pretrain.batch_size", "many"]),
        ("pretrain.batch_size=1", ["pretrain.batch_size", "at least 2"]),
        ("pretrain.budget.frames_seen=5", ["pretrain.budget.frames_seen"]),
        ("pretrain.budget.steps=0", ["pretrain.budget.steps", "at least 1"]),
        ("pretrain.budget.seconds=0", ["pretrain.budget.seconds", "more than 0"]),
        ("pretrain.budget={steps: 3, seconds: 4}", ["pretrain.budget", "steps=3 and seconds=4", "budget.steps=null"]),
        ("pretrain.budgets.byol={steps: 3, seconds: 4}", ["pretrain.budgets.byol", "exactly one"]),
        ("pretrain.budgets.byol={batch_size: 99999}", ["pretrain.budgets.byol.frames_seen", "one batch"]),
        ("pretrain.budgets.byol={stps: 3}", ["'pretrain.budgets.byol.stps'", "did you mean", ".steps'"]),
        ("pretrain.budgets.byol={steps: 3, batch_size: 1}", ["pretrain.budgets.byol.batch_size"]),
        ("pretrain.budgets.byol=3", ["pretrain.budgets.byol", "mapping"]),
        ("pretrain.accumulate=0", ["pretrain.accumulate", "at least 1"]),
        ("pretrain.on_collapse=halt", ["pretrain.on_collapse", "halt"]),
        ("pretrain.recipe=tunned", ["pretrain.recipe", "did you mean 'tuned'"]),
        ("pretrain.tuning.by=prob", ["pretrain.tuning.by", "did you mean 'probe'"]),
        ("pretrain.tuning.ladder=[]", ["pretrain.tuning.ladder", "at least one"]),
        ("pretrain.tuning.ladder=[1,-1]", ["pretrain.tuning.ladder", "-1"]),
        ("pretrain.tuning.share=2", ["pretrain.tuning.share", "2"]),
        ("pretrain.variants={near: {batchsize: 3}}", ["'pretrain.variants.near.batchsize'", ".near.batch_size'"]),
        ("pretrain.variants={near: {batch_size: many}}", ["pretrain.variants.near.batch_size", "many"]),
        ("pretrain.variants={near: {window_s: 0}}", ["pretrain.variants.near.window_s", "0 seconds"]),
        ("pretrain.variants={near: {seeds: [1]}}", ["pretrain.variants.near.seeds", "share"]),
        (
            "pretrain.variants={near: {budget: {steps: 1, seconds: 1}}}",
            ["pretrain.variants.near.budget", "exactly one"],
        ),
        ("pretrain.variants={'a/b': {}}", ["pretrain.variants", "a/b"]),
        ("compute.devices=0", ["compute.devices", "at least 1"]),
        ("compute.num_nodes=0", ["compute.num_nodes", "at least 1"]),
        ("transfer.fractions=[0]", ["transfer.fractions", "0"]),
        ("transfer.fractions=[1.5]", ["transfer.fractions", "1.5"]),
        ("transfer.fractions=[0.5,0.5]", ["transfer.fractions", "twice"]),
        ("transfer.fractions=[]", ["transfer.fractions", "at least one"]),
        ("transfer.modes=[probing]", ["transfer.modes", "probing"]),
        ("transfer.seeds=[]", ["transfer.seeds"]),
        ("planes.test_fraction=0.95", ["planes.test_fraction"]),
        ("frames.channels=2", ["frames.channels", "2"]),
        ("name=a/b", ["name", "a/b"]),
        ("nonsense", ["nonsense", "key.sub=value"]),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_key(file, override, words):
    with pytest.raises(UserError) as error:
        load_experiment(file, [override])
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_names_its_neighbour(file):
    with pytest.raises(UserError, match=r"did you mean .*study\.yaml"):
        load_experiment(file.with_name("stdy.yaml"))


@pytest.mark.parametrize("text", ["name: [", "- a\n- b\n", "", "title: x\n"])
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"broken\.yaml"):
        load_experiment(path)


def test_a_budget_that_is_given_takes_the_place_of_the_default(file):
    assert load_experiment(file).pretrain.budget == BudgetConfig(frames_seen=40_000)
    assert load_experiment(file, ["pretrain.budget.steps=7"]).pretrain.budget == BudgetConfig(None, steps=7)
    assert load_experiment(file, ["pretrain.budget={seconds: 2}"]).pretrain.budget == BudgetConfig(None, seconds=2.0)


def test_a_budget_of_the_file_and_another_of_the_command_are_one_sentence(file):
    file.write_text("name: study\npretrain: {budget: {frames_seen: 5000}}\n")
    with pytest.raises(UserError, match=r"frames_seen=5000 and seconds=60.*add pretrain\.budget\.frames_seen=null"):
        load_experiment(file, ["pretrain.budget.seconds=60"])
    both = ["pretrain.budget.seconds=60", "pretrain.budget.frames_seen=null"]
    assert load_experiment(file, both).pretrain.budget == BudgetConfig(None, seconds=60.0)


def test_a_variant_lies_over_what_all_share_and_replaces_the_budget_whole(file):
    keys = "{near: {window_s: 0.1, params: {byol: {ema_end: 0.5}}}, long: {budget: {steps: 9}, methods: [moco]}}"
    found = variants_of(load_experiment(file, [f"pretrain.variants={keys}", "pretrain.batch_size=32"]).pretrain)
    assert list(found) == ["near", "long"]
    assert found["near"].params == {"byol": {"ema_start": 0.9, "ema_end": 0.5}}
    assert (found["near"].window_s, found["long"].window_s) == (0.1, 0.2)
    assert found["long"].budget == BudgetConfig(None, steps=9)
    assert (found["near"].methods, found["long"].methods) == (["byol"], ["moco"])
    assert {variant.batch_size for variant in found.values()} == {32}


def test_labels_of_training_patients_choose_nothing_in_cross_validation(file):
    folds = ["planes.protocol=cross_validation"]
    for keys in (["pretrain.recipe=tuned"], ["pretrain.monitor_knn=true"]):
        with pytest.raises(UserError, match="a training patient of one fold is a test patient of another"):
            load_experiment(file, [*folds, *keys])
    assert load_experiment(file, [*folds, "pretrain.recipe=tuned", "pretrain.tuning.by=rankme"])
    variant = "pretrain.variants={a: {recipe: tuned}, b: {}}"
    with pytest.raises(UserError, match=r"pretrain\.variants\.a\.tuning\.by"):
        load_experiment(file, [*folds, variant])


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parents[1] / "experiments").glob("*.yaml")), ids=lambda path: path.stem
)
def test_every_experiment_of_the_suite_is_sound(path):
    experiment = load_experiment(path)
    assert experiment.name == path.stem
    check_names(experiment)
