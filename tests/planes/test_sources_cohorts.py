"""Labels merged or left out, and an external cohort from a source of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources import open_cohorts, open_source
from ssl_zoo.planes.splits import make_splits
from ssl_zoo.planes.table import load_images, read_planes
from tests.planes import published_trees as trees

CALLED = {"Fetal abdomen": "abdomen", "Fetal brain": "brain"}


@pytest.fixture
def spain(tmp_path: Path) -> str:
    return f"fetal_planes_db:{trees.fetal_planes_db(tmp_path / 'spain')}"


@pytest.fixture(scope="module")
def africa(tmp_path_factory) -> str:
    return f"african:{trees.african(tmp_path_factory.mktemp('africa'))}"


@pytest.fixture
def clinic(table) -> Path:
    """A plane table whose labels are spelt in its own way, patients 1 to 4."""
    labels = ["ABDOMEN", "ABDOMEN", "Fetal Brain", "knee"]
    return table([{"image": f"{n}.png", "label": label, "patient_id": str(n)} for n, label in enumerate(labels, 1)])


def test_without_mapping_or_external_cohort_a_table_is_as_it_was(table):
    path = table([{"image": f"{name}.png", "label": name, "patient_id": name} for name in "ab"])
    alone = read_planes(path)
    opened = open_cohorts(str(path), labels={}, external=None, external_labels={})
    assert opened.planes.fingerprint == alone.fingerprint
    assert opened.planes.table.equals(alone.table)
    assert opened.notes == ()


def test_the_african_cohort_is_tested_on_and_never_trained_on(spain, africa):
    opened = open_cohorts(spain, external=africa)
    planes = opened.planes
    assert len(planes) == 48 + 450
    assert planes.classes == open_source(spain).planes.classes
    outside = planes.table["cohort"] == "external"
    assert outside.sum() == 450
    assert set(planes.table.loc[outside, "site"]) == {"Algeria", "Egypt", "Ghana", "Malawi", "Uganda"}
    for split in (*make_splits(planes, "cross_validation", folds=2), *make_splits(planes, "holdout")):
        assert outside[split.test].sum() == 450
        assert not outside[split.train].any()
        assert not outside[split.val].any()
    (note,) = [note for note in opened.notes if note.startswith("external cohort")]
    assert "4 of 6 classes, none of Maternal cervix, Other" in note
    assert load_images(planes, 8, 1, rows=[0, len(planes) - 1]).any(axis=(1, 2)).all()
    assert planes.fingerprint != open_source(spain).planes.fingerprint


def test_external_labels_are_mapped_and_left_out(spain, clinic):
    labels = {"ABDOMEN": "Fetal abdomen", "knee": None}  # 'Fetal Brain' differs in its case alone
    opened = open_cohorts(spain, external=str(clinic), external_labels=labels)
    theirs = opened.planes.table[~opened.planes.internal]
    assert theirs["label"].tolist() == ["Fetal abdomen", "Fetal abdomen", "Fetal brain"]
    assert theirs["patient_id"].tolist() == ["1", "2", "3"]
    assert any("1 images were left out by planes.external_labels: knee" in note for note in opened.notes)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ({}, r"its label 'ABDOMEN' is no class .*planes\.external_labels"),
        ({"ABDOMEN": "Fetal abdomn", "knee": None}, "unknown class 'Fetal abdomn'; did you mean 'Fetal abdomen'"),
        ({"ABDOMN": "Fetal abdomen"}, "unknown label 'ABDOMN'; did you mean 'ABDOMEN'"),
        ({"ABDOMEN": None, "Fetal Brain": None, "knee": None}, "leaves out every external image"),
    ],
)
def test_an_external_label_that_is_no_class_is_refused(spain, clinic, labels, says):
    with pytest.raises(UserError, match=says):
        open_cohorts(spain, external=str(clinic), external_labels=labels)


def test_labels_are_merged_renamed_and_left_out(spain):
    labels = {"Fetal abdomen": "body", "Fetal thorax": "body", "Other": None, "Maternal cervix": None}
    opened = open_cohorts(spain, labels=labels)
    assert opened.planes.classes == ("Fetal brain", "Fetal femur", "body")
    assert len(opened.planes) == 32
    assert "16 images were left out by planes.labels: Maternal cervix, Other" in opened.notes[-1]
    ordered = open_cohorts(spain, ["body", "Fetal femur", "Fetal brain"], labels=labels).planes
    assert ordered.classes == ("body", "Fetal femur", "Fetal brain")
    with pytest.raises(UserError, match=r"planes\.labels: unknown label 'Fetal abdomn'; did you mean 'Fetal abdomen'"):
        open_cohorts(spain, labels={"Fetal abdomn": "body"})


def test_labels_of_both_cohorts_are_mapped_alike(spain, africa):
    labels = {**CALLED, "Other": None, "Maternal cervix": None}
    planes = open_cohorts(spain, labels=labels, external=africa).planes
    assert planes.classes == ("Fetal femur", "Fetal thorax", "abdomen", "brain")
    assert (planes.table.loc[~planes.internal, "label"] == "abdomen").sum() == 125


def test_a_patient_in_both_cohorts_is_refused_when_they_are_divided(clinic, tmp_path: Path):
    text = clinic.read_text()
    (tmp_path / "other.csv").write_text(text)
    planes = open_cohorts(str(clinic), external=str(tmp_path / "other.csv")).planes
    with pytest.raises(UserError, match="patient '1' is in the cohorts 'internal' and 'external'"):
        make_splits(planes, "holdout")


def test_external_images_without_patients_are_nobody_of_the_internal_cohort(tmp_path: Path):
    trees.feft(tmp_path / "a")
    trees.feft(tmp_path / "b")
    opened = open_cohorts(f"feft:{tmp_path / 'a'}", external=f"image_folder:{tmp_path / 'b/test'}")
    patients = opened.planes.table.groupby("cohort")["patient_id"].unique()
    assert not set(patients["internal"]) & set(patients["external"])
    assert opened.planes.by_image
    assert (opened.planes.table.loc[~opened.planes.internal, "split"] == "").all()
