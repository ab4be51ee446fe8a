from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint, write_json
from ssl_zoo.planes.saved_splits import read_splits, splits_record
from ssl_zoo.planes.splits import check_fraction, make_splits, nested_subset, round_half_up


def cohort(n_patients: int, per_patient: int = 5, n_classes: int = 5) -> tuple[list[str], list[int]]:
    rows = range(n_patients * per_patient)
    return [f"p{row // per_patient:03}" for row in rows], [row % n_classes for row in rows]


def mixed(seed: int, n_patients: int, n_classes: int = 3) -> tuple[list[str], list[int]]:
    """Patients with 1 to 6 images of any labels, each class shown by two patients at least."""
    rng = np.random.default_rng(seed)
    patients, labels = [], []
    for patient in range(n_patients):
        for label in rng.integers(0, n_classes, rng.integers(1, 7)):
            patients.append(f"p{patient}")
            labels.append(int(label))
    patients += ["p0"] * n_classes + ["p1"] * n_classes
    labels += [*range(n_classes)] * 2
    return patients, labels


def sides(planes, split) -> list[set[str]]:
    return [set(planes.patients[rows]) for rows in (split.train, split.val, split.test)]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("protocol", ["holdout", "cross_validation"])
def test_a_patient_never_crosses_a_split(planes, seed, protocol):
    made = planes(*mixed(seed, 12))
    for split in make_splits(made, protocol, seed=seed):
        train, val, test = sides(made, split)
        assert not train & val
        assert not train & test
        assert not val & test
        rows = np.concatenate([split.train, split.val, split.test])
        assert sorted(rows) == list(range(len(made)))
        assert set(made.labels[split.train]) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("n_patients", [5, 6, 13])
def test_cross_validation_tests_every_patient_exactly_once(planes, seed, n_patients):
    made = planes(*mixed(seed, n_patients))
    tested = [
        patient for split in make_splits(made, "cross_validation", seed=seed) for patient in sides(made, split)[2]
    ]
    assert sorted(tested) == sorted(set(made.patients))


def test_a_holdout_is_as_large_and_as_even_as_asked(planes):
    labels = [0] * 60 + [1] * 30 + [2] * 10
    made = planes(list(range(100)), labels)
    split = make_splits(made, "holdout")[0]
    assert (len(split.train), len(split.val), len(split.test)) == (60, 10, 30)
    assert np.bincount(made.labels[split.test]) == pytest.approx([18, 9, 3], abs=1)


def test_splits_repeat_with_their_seed_and_differ_between_seeds(planes):
    made = planes(*cohort(40))
    for protocol in ("holdout", "cross_validation"):
        first, again, other = (make_splits(made, protocol, seed=seed)[0] for seed in (0, 0, 1))
        assert (first.test == again.test).all()
        assert (first.val == again.val).all()
        assert set(first.test) != set(other.test)


def test_external_rows_are_tested_in_every_fold_and_never_trained_on(planes):
    patients, labels = cohort(20)
    cohorts = ["internal"] * 75 + ["africa"] * 25
    made = planes(patients, labels, cohort=cohorts, split=["train"] * 100)
    for protocol in ("holdout", "cross_validation"):
        if protocol == "holdout":
            made.table.loc[:24, "split"] = "test"
        for split in make_splits(made, protocol):
            assert set(range(75, 100)) <= set(split.test)
            assert max(*split.train, *split.val, 0) < 75


def test_a_given_split_is_respected(planes):
    patients, labels = cohort(6)
    made = planes(patients, labels, split=["train"] * 15 + ["val"] * 5 + ["test"] * 10)
    (split,) = make_splits(made, "holdout", seed=3)
    assert split.train.tolist() == list(range(15))
    assert split.val.tolist() == list(range(15, 20))
    assert split.test.tolist() == list(range(20, 30))


def test_a_patient_on_two_sides_of_a_given_split_is_named(planes):
    patients, labels = cohort(4)
    made = planes(patients, labels, split=["train"] * 8 + ["test"] * 12)
    with pytest.raises(
        UserError, match=r"patient 'p001' is in the splits 'train' and 'test' \(planes.csv, row 6, and row 9\)"
    ):
        make_splits(made, "holdout")


def test_a_patient_in_two_cohorts_is_named(planes):
    patients, labels = cohort(4)
    with pytest.raises(UserError, match=r"patient 'p003' .* 'external'"):
        make_splits(planes(patients, labels, cohort=["internal"] * 17 + ["external"] * 3), "holdout")


@pytest.mark.parametrize(
    ("protocol", "keywords", "says"),
    [
        ("crossvalidation", {}, "did you mean 'cross_validation'"),
        ("cross_validation", {"folds": 1}, "at least 2"),
        ("cross_validation", {"folds": 9}, "has 4"),
        ("holdout", {"test_fraction": 1.5}, "test_fraction"),
    ],
)
def test_an_impossible_protocol_is_one_sentence(planes, protocol, keywords, says):
    with pytest.raises(UserError, match=says):
        make_splits(planes(*cohort(4)), protocol, **keywords)


def test_a_class_of_one_patient_cannot_be_cross_validated(planes):
    with pytest.raises(UserError, match="class1"):
        make_splits(planes(list("aabbcc"), [0, 1, 0, 0, 0, 0]), "cross_validation", folds=3)


@pytest.mark.parametrize("seed", range(5))
def test_subsets_are_nested_and_by_whole_patients(planes, seed):
    made = planes(*mixed(seed, 100))
    train = make_splits(made, "holdout", seed=0)[0].train
    n_train = len(set(made.patients[train]))
    smaller: set[int] = set()
    for fraction in (0.05, 0.1, 0.25, 0.5, 1.0):
        rows = nested_subset(made, train, fraction, seed)
        patients = set(made.patients[rows])
        assert smaller <= set(rows)
        assert len(patients) == round_half_up(fraction * n_train)
        assert set(rows) == {row for row in train if made.patients[row] in patients}
        assert set(made.labels[rows]) == {0, 1, 2}
        smaller = set(rows)
    assert smaller == set(train)


def test_subsets_of_two_seeds_differ_and_of_one_seed_repeat(planes):
    made = planes(*cohort(50))
    rows = np.arange(250)
    assert (nested_subset(made, rows, 0.1, 0) == nested_subset(made, rows, 0.1, 0)).all()
    assert set(nested_subset(made, rows, 0.1, 0)) != set(nested_subset(made, rows, 0.1, 1))


def test_the_refusal_of_a_small_fraction_names_one_that_works(planes):
    made = planes([f"p{row}" for row in range(60)], [row % 3 for row in range(60)])
    with pytest.raises(UserError) as caught:
        nested_subset(made, np.arange(60), 0.01, 0)
    assert "0.01 is 1 of 60" in str(caught.value)
    smallest = float(str(caught.value).split("smallest possible fraction is ")[1].split()[0])
    assert len(nested_subset(made, np.arange(60), smallest, 0)) == 3
    with pytest.raises(UserError):
        nested_subset(made, np.arange(60), smallest - 0.002, 0)


def test_a_fraction_is_refused_for_any_draw_and_the_one_that_is_named_is_enough_for_all(planes):
    """Whoever comes first decides how many it takes: {0, 1} and {2, 3} show all classes, {1, 2} needs two more."""
    types = [(0, 1), (2, 3), (1, 2)]
    rows = [(f"p{patient:02}", label) for patient in range(20) for label in types[patient % 3]]
    made = planes([patient for patient, _ in rows], [label for _, label in rows])
    draws = [(np.arange(40), seed) for seed in range(12)]
    feasible = []
    for train, seed in draws:
        try:
            nested_subset(made, train, 0.1, seed)
        except UserError:
            continue
        feasible.append((train, seed))
    assert 0 < len(feasible) < len(draws)
    check_fraction(made, 0.1, feasible)
    with pytest.raises(UserError, match=r"0\.1 is 2 of 20 .* smallest possible fraction is 0\.125 \(3 patients\)"):
        check_fraction(made, 0.1, draws)
    check_fraction(made, 0.125, draws)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5, float("nan")])
def test_a_fraction_outside_its_range_is_refused(planes, fraction):
    with pytest.raises(UserError, match="fraction"):
        nested_subset(planes(*cohort(4)), np.arange(20), fraction, 0)


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.5, 1), (1.5, 2), (2.5, 3), (0.15 * 10, 2), (0.49, 0), (0.29 * 50, 15)]
)
def test_halves_are_rounded_up(value, rounded):
    assert round_half_up(value) == rounded


@pytest.mark.parametrize("seed", range(4))
def test_folds_hold_each_class_evenly_though_patients_show_several(planes, seed):
    made = planes(*mixed(seed, 100, n_classes=4))
    totals = np.bincount(made.labels)
    for split in make_splits(made, "cross_validation", folds=5, seed=seed):
        share = np.bincount(made.labels[split.test], minlength=4) / totals
        assert share == pytest.approx([0.2] * 4, abs=0.06)
        assert len(set(made.patients[split.test])) == pytest.approx(20, abs=4)


def test_the_division_of_a_cohort_never_changes(planes):
    """Results of earlier runs are named by their splits: other ones would leave them all behind."""
    made = planes(*mixed(7, 40))
    expected = {"holdout": "311685f28c68d6f1", "cross_validation": "38e14397c0a78a07"}
    for protocol, digest in expected.items():
        assert splits_record(made, protocol, make_splits(made, protocol, seed=3))["hash"] == digest


def test_splits_are_saved_and_used_again_exactly(planes, tmp_path):
    made = planes(*cohort(20), cohort=["internal"] * 80 + ["africa"] * 20)
    path = tmp_path / "splits.json"
    for protocol in ("holdout", "cross_validation"):
        splits = make_splits(made, protocol, seed=4)
        write_json(path, splits_record(made, protocol, splits))
        again = read_splits(path, made, protocol)
        assert len(again) == len(splits)
        for one, other in zip(splits, again, strict=True):
            assert one.fold == other.fold
            for side in ("train", "val", "test"):
                assert np.array_equal(getattr(one, side), getattr(other, side))


def saved(made):
    return splits_record(made, "holdout", make_splits(made, "holdout"))


def moved(record, row, origin, target):
    """The record with a row put from one side to another, and the hash of what it then says."""
    record["splits"][0][origin].remove(row)
    record["splits"][0][target].append(row)
    return {**record, "hash": fingerprint(record["splits"])}


def test_splits_of_another_table_or_protocol_are_refused(planes, tmp_path):
    made, path = planes(*cohort(10)), tmp_path / "splits.json"
    write_json(path, {**saved(made), "planes": "f" * 16})
    with pytest.raises(UserError, match=f"belong to another plane table .{'f' * 16}"):
        read_splits(path, made, "holdout")
    write_json(path, saved(made))
    with pytest.raises(UserError, match=r"of the protocol 'holdout'; set planes\.protocol=holdout"):
        read_splits(path, made, "cross_validation")
    write_json(path, {"folds": 3})
    with pytest.raises(UserError, match="holds no splits"):
        read_splits(path, made, "holdout")


def test_splits_that_were_changed_are_refused(planes, tmp_path):
    made, path = planes(*cohort(10), cohort=["internal"] * 45 + ["africa"] * 5), tmp_path / "splits.json"
    record = saved(made)
    row = record["splits"][0]["test"][0]
    write_json(path, {**moved(record, row, "test", "train"), "hash": record["hash"]})
    with pytest.raises(UserError, match="changed after it was written"):
        read_splits(path, made, "holdout")
    write_json(path, moved(saved(made), row, "test", "train"))
    with pytest.raises(UserError, match=f"patient '{made.patients[row]}' is in 'train' and 'test'"):
        read_splits(path, made, "holdout")
    external = saved(made)
    for outer in range(45, 50):
        external = moved(external, outer, "test", "train")
    write_json(path, external)
    with pytest.raises(UserError, match="another cohort is in 'train'"):
        read_splits(path, made, "holdout")


def test_splits_of_a_run_before_they_named_their_planes_are_known_by_the_file_beside(planes, tmp_path):
    made = planes(*cohort(10))
    record = {name: value for name, value in saved(made).items() if name in ("hash", "splits")}
    write_json(tmp_path / "splits.json", record)
    with pytest.raises(UserError, match="another plane table"):
        read_splits(tmp_path / "splits.json", made, "holdout")
    write_json(tmp_path / "planes.json", {"fingerprint": made.fingerprint})
    assert len(read_splits(tmp_path / "splits.json", made, "holdout")) == 1


def test_splits_say_whether_they_keep_patients_or_images_apart(planes):
    made = planes(*cohort(10))
    assert saved(made)["unit"] == "patient"
    assert saved(dataclasses.replace(made, by_image=True))["unit"] == "image"
