"""`ssl-zoo explain` on a small phantom study: an untrained and a pre-trained network, probed and fine-tuned."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssl_zoo.analysis.explain import explain
from ssl_zoo.analysis.explain.cams import class_map
from ssl_zoo.analysis.explain.cases import choose_cases
from ssl_zoo.analysis.explain.layers import choose_layer
from ssl_zoo.analysis.explain.truth import on_target, target_area, truth_folder
from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid.classifiers import choose_cells, classifier_of, refit
from ssl_zoo.grid.jobs import pending_jobs
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.study import prepare
from ssl_zoo.grid.work import do_job
from ssl_zoo.transfer.classifier import load_classifier

pytestmark = pytest.mark.slow  # a phantom is written, a network fine-tuned, sheets are drawn

STUDY = """
name: tiny
data: {folder}/data
runs: {folder}/runs
phantom: {{scans: 1, patients: 7, external_patients: 0, frames: 8}}
frames: {{size: 32}}
pretrain: {{methods: [simclr], backbone: resnet10t, batch_size: 8, budget: {{frames_seen: 32}}}}
planes: {{source: phantom}}
transfer:
  modes: [linear, finetune]
  fractions: [1.0]
  seeds: [0]
  finetune: {{steps: 2, batch_size: 4}}
compute: {{workers: 1}}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    (folder / "tiny.yaml").write_text(STUDY.format(folder=folder))
    study = prepare(load_experiment(folder / "tiny.yaml"), progress=False)
    for job in pending_jobs(study, make_plan(study)):
        do_job(study, job, "cpu", lambda *_: None, lambda: False)
    return study


@pytest.fixture(scope="module")
def explained(study):
    cells = choose_cells(study, inits=["random"], modes=["linear"])
    return explain(study, cells, techniques=["grad_cam"], per_class=2, shown=2)


@pytest.mark.parametrize("mode", ["linear", "finetune"])
def test_a_refitted_classifier_predicts_what_its_cell_predicted_and_is_kept(study, mode):
    (cell,) = choose_cells(study, inits=["random"], modes=[mode])
    with np.load(study.run / "cells" / f"{cell.key}.npz") as saved:
        rows, probabilities = saved["rows"], saved["probabilities"]
    assert np.abs(refit(study, cell).predict(study.images[rows]) - probabilities).max() < 2e-3
    said = []
    classifier_of(study, cell, tell=said.append)
    kept = load_classifier(study.run / "classifiers" / cell.key)
    assert np.abs(kept.predict(study.images[rows]) - probabilities).max() < 2e-3
    assert kept.about["mode"] == mode
    split = next(split for split in study.splits if split.fold == cell.fold)
    labelled = sorted(set(study.planes.patients[split.train])) if mode == "finetune" else []
    card = kept.encoder.card  # of a linear classifier, whose encoder has seen no label, as it was
    assert (card.patients, card.finetuned) == (labelled, ["phantom"] if labelled else [])
    assert classifier_of(study, cell, tell=said.append).about == kept.about
    assert len(said) <= 1  # the second time nothing is trained


def test_measured_images_are_drawn_blindly_and_shown_ones_by_what_the_cell_said(study):
    (cell,) = choose_cells(study, inits=["random"], modes=["linear"])
    cases = choose_cases(study, cell, cohort="internal", per_class=2, shown=2, seed=0)
    labels = study.planes.labels
    assert np.bincount(labels[cases.measured]).tolist() == [2] * 5
    with np.load(study.run / "cells" / f"{cell.key}.npz") as saved:
        said = dict(zip(saved["rows"].tolist(), saved["probabilities"].argmax(1).tolist(), strict=True))
    assert all(said[row] == label == labels[row] for label, rows in cases.right.items() for row in rows)
    assert all(said[row] != label == labels[row] for label, rows in cases.wrong.items() for row in rows)
    split = next(split for split in study.splits if split.fold == cell.fold)
    assert set(cases.measured) <= set(split.test)
    for label in range(5):
        patients = study.planes.patients[cases.measured[labels[cases.measured] == label]]
        assert len(set(patients)) == 2  # two images, of two patients


def test_a_sheet_for_each_class_a_figure_for_each_technique_and_the_tables_are_written(study, explained):
    assert len(explained.sheets) == 5
    for path in [*explained.sheets, *(path for path in explained.figures if path.suffix == ".png")]:
        with Image.open(path) as image:
            assert min(image.size) > 200
    assert {path.name for path in explained.figures} >= {"maps_grad_cam.png", "maps_grad_cam.svg"}
    measures = pd.read_csv(explained.folder / "measures.csv")
    assert len(measures) == 10
    assert measures["area"].between(0.001, 0.5).all()
    assert measures["pointing"].between(0, 1).all()
    summary = pd.read_csv(explained.folder / "summary.csv")
    assert summary["n_images"].tolist() == [10]
    assert "blob" in explained.text


@pytest.mark.parametrize(("init", "mode"), [("simclr", "linear"), ("simclr", "finetune"), ("random", "finetune")])
def test_the_maps_of_pretrained_and_of_finetuned_encoders_are_held_to_the_truth_too(
    study, explained, tmp_path, init, mode
):
    (cell,) = choose_cells(study, inits=[init], modes=[mode])
    explain(study, [cell], per_class=2, shown=0, out=tmp_path)
    measures = pd.read_csv(tmp_path / "measures.csv")
    untrained = pd.read_csv(explained.folder / "measures.csv")
    same = ["image", "area", "energy_middle", "pointing_middle"]  # the yardstick: the same images and structures
    pd.testing.assert_frame_equal(measures[same], untrained[same])
    assert not np.allclose(measures["energy"].fillna(0), untrained["energy"].fillna(0))  # other maps
    first = measures.iloc[0]
    row = int(np.flatnonzero(study.planes.table["image"] == first["image"])[0])
    classifier = classifier_of(study, cell)
    found = class_map(
        classifier, choose_layer(classifier.encoder), study.images[row], int(study.planes.labels[row]), "grad_cam"
    )
    held = on_target(found, target_area(truth_folder(study), first["image"], study.planes.table["label"].iloc[row], 32))
    assert [first["area"], first["energy"], first["pointing"]] == pytest.approx(
        [held.area, held.energy, held.pointing], abs=1e-4, nan_ok=True
    )


def test_the_same_command_gives_the_same_numbers_in_any_folder(study, explained, tmp_path):
    cells = choose_cells(study, inits=["random"], modes=["linear"])
    before = {path: path.stat().st_mtime_ns for path in explained.folder.rglob("*")}
    again = explain(study, cells, techniques=["grad_cam"], per_class=2, shown=0, out=tmp_path / "out")
    assert again.folder == tmp_path / "out"
    assert (again.folder / "measures.csv").read_bytes() == (explained.folder / "measures.csv").read_bytes()
    assert {path: path.stat().st_mtime_ns for path in explained.folder.rglob("*")} == before


def test_the_truth_is_scaled_as_the_planes_are(study):
    cohort = truth_folder(study)
    row = study.planes.table.iloc[0]
    area = target_area(cohort, row["image"], row["label"], 32)
    fine = target_area(cohort, row["image"], row["label"], 256)
    assert area.mean() == pytest.approx(fine.mean(), rel=1e-3)
    assert np.abs(area - fine.reshape(32, 8, 32, 8).mean((1, 3))).max() < 1e-5


def test_what_does_not_exist_is_refused_by_name(study):
    (cell,) = choose_cells(study, inits=["random"], modes=["linear"])
    with pytest.raises(UserError, match=re.escape("unknown init 'randon'; did you mean 'random'?")):
        choose_cells(study, inits=["randon"])
    with pytest.raises(UserError, match="unknown test cohort 'extern'"):
        explain(study, [cell], cohort="extern")
    with pytest.raises(UserError, match="has no 0"):
        choose_cells(study, fraction=0.5)
    with pytest.raises(UserError, match="no finished cell has this key"):
        choose_cells(study, keys=["zzz"])
    with pytest.raises(UserError, match="images per class cannot be 0"):
        explain(study, [cell], per_class=0)
