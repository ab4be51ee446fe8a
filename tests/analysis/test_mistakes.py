"""Mistakes are counted by image and patient, and what chance alone would give stands beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ssl_zoo.analysis import mistakes
from ssl_zoo.analysis.figures.mistakes import confidence_chart, mistake_sheet, patient_chart, shared_chart
from ssl_zoo.analysis.mistakes import IMAGE, Setting, best_setting, image_table
from ssl_zoo.errors import UserError

SETTING = Setting("simclr", "resnet10t", "linear", 1.0, "internal")


def tables(probabilities: dict[str, list[list[float]]], labels: list[str], patients: list[str], names=("a", "b")):
    """Results and predictions of cells of SETTING; `probabilities` by cell, of classes `names`."""
    results, predictions = [], []
    for cell, values in probabilities.items():
        results.append(vars(SETTING) | {"cell": cell, "f1_macro": 0.5})
        p = np.array(values)
        rows = {"cell": cell, "image": [f"{k}.png" for k in range(len(labels))], "patient_id": patients}
        rows |= {"cohort": "internal", "label": labels, "predicted": np.array(names, object)[p.argmax(1)]}
        predictions.append(pd.DataFrame(rows | {f"p_{name}": p[:, k] for k, name in enumerate(names)}))
    return pd.DataFrame(results), pd.concat(predictions, ignore_index=True)


def images_of(wrong: np.ndarray, patients: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"wrong": wrong.astype(bool), "patient_id": patients, "label": "a"})


def test_the_best_setting_is_of_the_mode_with_most_cells_and_the_most_labels(whole):
    results, _ = whole
    setting = best_setting(results)
    assert (setting.fraction, setting.cohort) == (1.0, "internal")
    own = results[(results["fraction"] == 1.0) & (results["cohort"] == "internal") & (results["mode"] == setting.mode)]
    assert setting.init == own.groupby("init")["f1_macro"].mean().idxmax()


def test_probabilities_are_averaged_and_the_surest_mistake_comes_first():
    cells = {
        "one": [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]],
        "two": [[0.7, 0.3], [0.4, 0.6], [0.2, 0.8], [1, 0]],
    }
    table = image_table(*tables(cells, ["b", "a", "a", "a"], ["P1", "P1", "P2", "P2"]), SETTING)
    assert table["image"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert table["wrong"].tolist() == [True, True, True, False]
    assert table["confidence"].tolist() == pytest.approx([0.8, 0.7, 0.6, 0.65])
    assert table["share_wrong"].tolist() == [1.0, 1.0, 0.5, 0.5]
    with pytest.raises(UserError, match="no predictions of byol"):
        image_table(*tables(cells, ["b", "a", "a", "a"], ["P1"] * 4), Setting("byol", "x", "linear", 1.0, "internal"))


def test_frames_of_one_video_stay_apart():
    results, predictions = tables(
        {"one": [[0.9, 0.1], [0.2, 0.8]], "two": [[0.9, 0.1], [0.2, 0.8]]}, ["a", "a"], ["P", "P"]
    )
    table = image_table(results, predictions.assign(image="v.mp4"), SETTING)
    assert table[["nth", "wrong"]].to_numpy().tolist() == [[1, True], [0, False]]


def test_confusions_count_images_and_patients():
    probabilities = {"one": [[0.1, 0.9, 0], [0.1, 0.9, 0], [0, 0.9, 0.1], [0.9, 0.1, 0], [0, 0.2, 0.8]]}
    labels, patients = ["a", "a", "a", "b", "b"], ["P1", "P1", "P2", "P3", "P3"]
    pairs = mistakes.confusion_pairs(image_table(*tables(probabilities, labels, patients, ("a", "b", "c")), SETTING))
    assert pairs[["label", "predicted", "images", "patients"]].to_numpy().tolist() == [
        ["a", "b", 3, 2],
        ["b", "a", 1, 1],
        ["b", "c", 1, 1],
    ]
    assert pairs["of_label"].tolist() == [1.0, 0.5, 0.5]


def test_a_hard_patient_stands_out_of_the_band_and_chance_does_not():
    patients = np.repeat([f"P{k:02d}" for k in range(20)], 10)
    wrong = np.zeros(200)
    wrong[::10] = 1  # one in ten for all
    wrong[:10] = 1  # and everything of the first patient
    table = mistakes.patient_table(images_of(wrong, patients), draws=300)
    assert table.iloc[0][["patient_id", "images", "wrong"]].tolist() == ["P00", 10, 10]
    assert table["share"].iloc[0] > table["high"].iloc[0]
    assert table["share"].is_monotonic_decreasing
    by_lot = mistakes.patient_table(images_of(np.random.default_rng(3).random(200) < 0.15, patients), draws=300)
    assert ((by_lot["share"] >= by_lot["low"]) & (by_lot["share"] <= by_lot["high"])).mean() > 0.9


def test_inits_that_share_their_mistakes_are_told_from_those_that_do_not():
    generator = np.random.default_rng(0)
    index = pd.MultiIndex.from_tuples([("internal", f"{k}", 0) for k in range(300)], names=IMAGE)
    labels = pd.Series(np.tile(["a", "b"], 150), index=index)
    hard = generator.random(300) < 0.3
    shared = pd.DataFrame(dict.fromkeys(range(5), hard), index=index)
    table = mistakes.shared_mistakes(shared, labels, draws=200)
    assert table["images"].tolist() == [300 - hard.sum(), 0, 0, 0, 0, hard.sum()]
    assert table["images"].iloc[-1] > table["high"].iloc[-1]
    alone = pd.DataFrame({k: generator.random(300) < 0.3 for k in range(5)}, index=index)
    table = mistakes.shared_mistakes(alone, labels, draws=200)
    assert table["expected"].sum() == pytest.approx(300)
    assert ((table["images"] >= table["low"]) & (table["images"] <= table["high"])).all()


def test_wrong_by_init_has_a_column_for_each_init_and_backbone(whole):
    results, predictions = whole
    wrong = mistakes.wrong_by_init(results, predictions, best_setting(results))
    assert ("random", "vit_micro_patch8") in wrong.columns
    assert len(wrong.columns) == len(set(zip(results["init"], results["backbone"], strict=True)))
    assert wrong.notna().all().all()


def test_what_mistakes_share_is_found_within_classes_only():
    generator = np.random.default_rng(0)
    label = np.tile(["a", "b"], 200)
    wrong = np.where(label == "a", generator.random(400) < 0.6, generator.random(400) < 0.1)
    images = pd.DataFrame({"label": label, "wrong": wrong, "patient_id": [f"P{k // 10}" for k in range(400)]})
    noise = generator.normal(size=400)
    facts = pd.DataFrame({"of_class": np.where(label == "a", 5.0, 0.0) + noise, "of_mistakes": 2.0 * wrong + noise})
    table = mistakes.in_common(images, facts, replicates=300).set_index("fact")
    assert table.loc["of_mistakes", "low"] > 0.5
    assert table.loc["of_class", "low"] < 0 < table.loc["of_class", "high"]


def test_looks_of_images_are_plain_numbers():
    black, checked = np.zeros((4, 4), np.uint8), np.indices((4, 4)).sum(0).astype(np.uint8) % 2 * 100
    facts = mistakes.looks_of_images(np.stack([black, checked]))
    assert facts.loc[0].tolist() == [0, 0, 0, 1]
    assert facts.loc[1].tolist() == [50, 50, 100, 0.5]
    pd.testing.assert_frame_equal(mistakes.looks_of_images(np.stack([black, checked])[..., None].repeat(3, -1)), facts)


def test_the_figures_cut_nothing_off(whole, cut_off):
    results, predictions = whole
    setting = best_setting(results)
    images = image_table(results, predictions, setting)
    wrong = mistakes.wrong_by_init(results, predictions, setting)
    shared = mistakes.shared_mistakes(wrong, images.set_index(IMAGE)["label"], draws=20)
    surest = images.head(8).assign(label="a very long class name", patient_id="a-very-long-patient-name")
    drawn = [confidence_chart(images), patient_chart(mistakes.patient_table(images, draws=20)), shared_chart(shared)]
    drawn.append(mistake_sheet(np.zeros((8, 16, 16), np.uint8), surest))
    assert [cut_off(figure) for figure in drawn] == [[], [], [], []]


def test_mistakes_that_are_rare_can_be_drawn():
    skewed = pd.DataFrame(
        {"inits": [0, 1], "images": [40, 1], "expected": [39.99, 0.01], "low": [40, 0], "high": [40, 0]}
    )
    assert shared_chart(skewed).axes
