"""Tables of published numbers: what is read, what is refused, and what a run folder keeps of them."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid.published_numbers import (
    OTHER_METHODS,
    PUBLISHED_FILE,
    Who,
    check_published_numbers,
    keep_published_numbers,
    published_table,
    read_published,
)
from ssl_zoo.grid.weight_records import WEIGHTS_FILE, record_weights
from tests.protocols.conftest import EXPERIMENTS, FILES

HEAD = "init,mode,fraction,cohort,measure,value,relative_to,source\n"
GOOD = "usf_mae,finetune,1.0,internal,accuracy,0.9,,paper\n"


@pytest.fixture
def table(tmp_path):
    """`table(text)`: a file with the usual head and these rows."""

    def write(rows, head=HEAD):
        path = tmp_path / "numbers.csv"
        path.write_text(head + rows)
        return path

    return write


def test_rows_are_read_with_backbones_and_differences(table):
    rows = GOOD + "imagenet (resnet18),linear,0.01,external,f1_macro,-0.02,other methods,paper\n"
    one, two = read_published(table(rows))
    assert (one.who, one.relative_to, one.value) == (Who("usf_mae"), None, 0.9)
    assert two.who == Who("imagenet", "resnet18")
    assert two.relative_to == Who(OTHER_METHODS)
    assert (two.mode, two.fraction, two.cohort, two.measure, two.value) == (
        "linear",
        0.01,
        "external",
        "f1_macro",
        -0.02,
    )


WRONG = {
    "a missing column": (HEAD.replace(",value", ""), "", "column 'value' is missing"),
    "a strange column": (
        HEAD.strip() + ",vlue\n",
        GOOD.strip() + ",1\n",
        "unknown column 'vlue'; did you mean 'value'",
    ),
    "no rows": (HEAD, "", "has no rows"),
    "nothing at all": ("", "", "not a readable table"),
    "a mode": (HEAD, GOOD.replace("finetune", "finetuning"), "row 1, column 'mode': unknown mode 'finetuning'"),
    "a measure": (HEAD, GOOD.replace("accuracy", "f1"), "row 1, column 'measure': unknown measure 'f1'"),
    "a word": (HEAD, GOOD.replace("0.9", "high"), "row 1, column 'value': 'high' is no number"),
    "per cent": (HEAD, GOOD.replace("0.9", "90.57"), "row 1, column 'value': 90.57 is not between 0 and 1"),
    "a fraction": (HEAD, GOOD.replace("1.0", "0"), "row 1, column 'fraction': 0 is not above 0"),
    "no source": (HEAD, GOOD.replace("paper", ""), "row 1, column 'source': is empty"),
    "an early end": (HEAD, "usf_mae,finetune\n", "row 1, column 'fraction': is empty"),
    "half a backbone": (HEAD, GOOD.replace("usf_mae", "imagenet (resnet18"), "'imagenet (resnet18' is no init"),
    "the same twice": (HEAD, GOOD * 2, "row 2: gives the same number as row 1 again"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_table_is_refused_by_file_row_and_column(table, what):
    head, rows, words = WRONG[what]
    path = table(rows, head)
    with pytest.raises(UserError) as error:
        read_published(path)
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)


@pytest.mark.parametrize("file", sorted((EXPERIMENTS / "published").glob("*.csv")), ids=lambda file: file.stem)
def test_the_tables_beside_the_experiments_are_right_and_name_their_paper(file):
    assert all(number.source.startswith("arXiv ") for number in read_published(file))


STUDIES = [file for file in sorted(EXPERIMENTS.glob("*.yaml")) if "\npublished: " in file.read_text()]


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_every_published_study_names_inits_that_it_has(file):
    experiment = load_experiment(file)
    names = {spec.partition(":")[0] for spec in experiment.transfer.inits} | set(experiment.pretrain.methods)
    for number in read_published(published_table(experiment)):
        assert number.who.init in names
        assert number.mode in experiment.transfer.modes
        assert number.fraction in experiment.transfer.fractions
        other = number.relative_to
        if other is not None and other.init != OTHER_METHODS:
            assert (f"{other.init}@{other.backbone}" if other.backbone else other.init) in names


def study(tmp_path, rows=GOOD, name="study"):
    """An experiment beside its table."""
    (tmp_path / "numbers.csv").write_text(HEAD + rows)
    path = tmp_path / f"{name}.yaml"
    path.write_text(f"name: {name}\nruns: {tmp_path / 'runs'}\npublished: numbers.csv\n")
    return path


def test_a_wrong_table_is_refused_before_any_work(tmp_path, command):
    status, _, err = command("run", study(tmp_path, GOOD.replace("0.9", "90")))
    assert status == 2
    assert err.startswith("error: published: ")
    assert "numbers.csv, row 1, column 'value'" in err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "data").exists()


def test_a_missing_table_is_refused_before_any_work(tmp_path, command):
    path = study(tmp_path)
    (tmp_path / "numbers.csv").unlink()
    status, _, err = command("run", path)
    assert status == 2
    assert "error: published: " in err
    assert "numbers.csv: no such file" in err


def test_a_run_folder_keeps_the_table_and_can_be_read_without_the_original(tmp_path):
    path = study(tmp_path)
    experiment = load_experiment(path)
    keep_published_numbers(experiment)
    kept = experiment.run_folder / PUBLISHED_FILE
    assert kept.read_text() == HEAD + GOOD
    (experiment.run_folder / "experiment.yaml").write_text(f"name: study\nruns: {tmp_path / 'runs'}\n")
    shutil.copy(path, tmp_path / "again.yaml")
    (tmp_path / "numbers.csv").unlink()
    again = load_experiment(tmp_path / "again.yaml")  # the file has gone: no error
    assert published_table(again) == kept
    check_published_numbers(again)
    keep_published_numbers(again)
    assert kept.is_file()


def test_a_changed_table_replaces_the_copy_and_one_that_is_not_wanted_goes(tmp_path):
    experiment = load_experiment(study(tmp_path))
    keep_published_numbers(experiment)
    keep_published_numbers(load_experiment(study(tmp_path, GOOD.replace("0.9", "0.8"))))
    kept = experiment.run_folder / PUBLISHED_FILE
    assert "0.8" in kept.read_text()
    keep_published_numbers(dataclasses.replace(experiment, published=None))
    assert not kept.is_file()


def test_the_files_of_weights_are_put_on_record_once(tmp_path, weights, monkeypatch):
    from ssl_zoo.grid import weight_records

    folder = weights("usf_mae")
    inits = f"transfer.inits=['usf_mae:{folder / FILES['usf_mae']}','imagenet@resnet18']"
    experiment = load_experiment(study(tmp_path), [inits])
    record_weights(experiment)
    first = (experiment.run_folder / WEIGHTS_FILE).read_text()
    assert FILES["usf_mae"] in first
    assert "timm/resnet18.a1_in1k" in first
    monkeypatch.setattr(weight_records, "fingerprint_file", lambda path: "read again")
    record_weights(experiment)
    assert (experiment.run_folder / WEIGHTS_FILE).read_text() == first
    (folder / FILES["usf_mae"]).touch()
    record_weights(experiment)
    assert "read again" in (experiment.run_folder / WEIGHTS_FILE).read_text()
    record_weights(load_experiment(study(tmp_path)))
    assert not (experiment.run_folder / WEIGHTS_FILE).is_file()
