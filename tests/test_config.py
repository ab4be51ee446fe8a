"""An experiment file is checked whole, and an error names its key."""

from __future__ import annotations

import pytest

from ssl_zoo.config import Experiment, dump, load_experiment
from ssl_zoo.errors import UserError


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


def test_a_dumped_experiment_loads_as_the_same(file, tmp_path):
    experiment = load_experiment(file, ["pretrain.views={crop_scale: [0.5, 1.0]}"])
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
