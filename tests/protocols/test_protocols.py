"""Each published study runs from its own experiment file to its report; only budgets and image sizes are smaller."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from ssl_zoo.analysis.published_numbers import published_section
from ssl_zoo.analysis.run_folder import read_run
from tests.planes.published_trees import african, feft, fetal_planes_db
from tests.protocols.conftest import EXPERIMENTS, FILES, TINY_STUDY, write_planes, write_scans

KIDNEYS = [("normal",), ("UTD",), ("MCDK",)] * 4


def results_of(run):
    """The results, the published section's sentences as one text, and its table by row."""
    said, table = published_section(read_run(run), replicates=50)
    assert (run / "report.html").is_file()
    return pd.read_csv(run / "results.csv"), " ".join(said), table.rows


def test_the_renal_study_runs_in_three_classes_with_a_hold_out(command, weights, imagenet, tmp_path):
    data = write_planes(tmp_path / "kidneys", KIDNEYS)
    inits = f"transfer.inits=['usf_mae:${{weights}}/{FILES['usf_mae']}','{imagenet('densenet169')}']"
    folders = (f"folder={data}", f"weights={weights('usf_mae')}")
    hold_out = ("planes.protocol=holdout", "planes.test_fraction=0.4", "transfer.modes=[finetune]")
    status, _, err = command("run", EXPERIMENTS / "renal_anomaly.yaml", *folders, *TINY_STUDY, *hold_out, inits)
    assert status == 0, err
    run = tmp_path / "runs" / "renal_anomaly"
    results, said, lines = results_of(run)
    assert set(results["init"]) == {"usf_mae", "imagenet", "random"}
    assert set(results["backbone"]) == {
        "vit_base_patch16_224",
        "densenet169",
    }  # no baseline of a network nobody asked for
    assert len(results) == 3
    assert "2 of the 2 published numbers have a counterpart" in said
    assert "a table of this study's own, not known to be the paper's" in said
    assert FILES["usf_mae"] in said
    assert json.loads((run / "weights.json").read_text())[0]["sha256"] in said
    assert all("ImageNet" in line[6] for line in lines)
    page = (run / "report.html").read_text()
    assert "eside the published numbers" in page
    assert "2512.13434" in page


@pytest.mark.slow
def test_the_renal_study_runs_in_two_classes_with_cross_validation(command, weights, imagenet, tmp_path):
    data = write_planes(tmp_path / "kidneys", KIDNEYS)
    inits = f"transfer.inits=['usf_mae:${{weights}}/{FILES['usf_mae']}','{imagenet('densenet169')}']"
    folders = (f"folder={data}", f"weights={weights('usf_mae')}", "name=renal_binary")
    two = ("planes.labels={UTD: abnormal, MCDK: abnormal}", "published=published/renal_binary.csv", "planes.folds=2")
    status, _, err = command("run", EXPERIMENTS / "renal_anomaly.yaml", *folders, *TINY_STUDY, *two, inits)
    assert status == 0, err
    results, _, lines = results_of(tmp_path / "runs" / "renal_binary")
    assert sorted(results["fold"].unique()) == [0, 1]
    assert all("two classes, validation" in line[-1] for line in lines)
    classes = json.loads((tmp_path / "runs/renal_binary/planes/planes.json").read_text())["classes"]
    assert classes == ["abnormal", "normal"]


@pytest.mark.slow
def test_the_first_trimester_study_runs(command, weights, imagenet, tmp_path):
    data = feft(tmp_path / "Fetal Echocardiography First Trimester")
    networks = ("resnet18", "resnet50", "vit_base_patch16_224.augreg_in1k")
    inits = [f"usf_mae:${{weights}}/{FILES['usf_mae']}", *map(imagenet, networks)]
    quoted = ",".join(f"'{init}'" for init in inits)
    folders = (f"folder={data}", f"weights={weights('usf_mae')}", f"transfer.inits=[{quoted}]")
    status, out, err = command("run", EXPERIMENTS / "first_trimester_heart.yaml", *folders, *TINY_STUDY)
    assert status == 0, err
    assert "usf_mae has seen FEFT" in out
    results, said, lines = results_of(tmp_path / "runs" / "first_trimester_heart")
    assert set(results["unit"]) == {"image"}
    assert len(results) == (1 + 2 * 3) * 2
    assert "6 of the 6 published numbers have a counterpart" in said
    assert "images, where 6720 are published" in said
    assert "usf_mae has seen FEFT" in said
    assert lines[0][5:7] == ["0.9057", lines[2][6]]  # weighted recall is the accuracy
    assert lines[4][6].endswith("of that of ImageNet · resnet18)")


@pytest.mark.slow
def test_the_foundation_models_study_runs(command, weights, imagenet, tmp_path):
    fetal_planes_db(tmp_path / "data" / "FETAL_PLANES_ZENODO")
    african(tmp_path / "data" / "Zenodo_dataset", centers=("Ghana",))
    names = ("usfm", "mofo", "ultrasam@224", "fetalclip", "dinov3")
    inits = [f"{name}:${{weights}}/{FILES[name.partition('@')[0]]}" for name in names]
    inits += [imagenet("resnet50"), imagenet("tf_efficientnetv2_s.in1k")]
    quoted = ",".join(f"'{init}'" for init in inits)
    folder = weights(*(name.partition("@")[0] for name in names))
    folders = (f"folder={tmp_path / 'data'}", f"weights={folder}", f"transfer.inits=[{quoted}]", "planes.folds=2")
    status, _, err = command("run", EXPERIMENTS / "foundation_models.yaml", *folders, *TINY_STUDY)
    assert status == 0, err
    results, said, lines = results_of(tmp_path / "runs" / "foundation_models")
    assert set(results["cohort"]) == {"internal", "external"}
    assert set(results["init"]) == {*names, "imagenet", "random"}
    assert len(results) == (5 + 2 * 2) * 2 * 2 * 2  # inits, modes, folds, cohorts
    assert "4 of the 4 published numbers have a counterpart" in said
    assert "images that differ in number from those published" in said
    assert [line[3] for line in lines] == ["internal", "external"] * 2


@pytest.mark.slow
def test_the_cardiac_planes_study_runs(command, imagenet, tmp_path):
    views = ("4CH", "LVOT", "RVOT", "3VV", "3VT")
    patients = [views, *((views[n % 5],) for n in range(49)), views, views]
    write_planes(tmp_path / "hearts", patients, ["train"] * 50 + ["test"] * 2)
    write_scans(tmp_path / "hearts")
    small = (
        "pretrain.budget.frames_seen=16",
        "pretrain.batch_size=8",
        "pretrain.params={barlow_twins: {projector_dim: 64}, vicreg: {projector_dim: 64}, moco: {queue_size: 64}}",
        "transfer.finetune.fractions=[0.01,1.0]",
        f"transfer.inits=[random,'{imagenet('resnet50')}']",
    )
    status, _, err = command(
        "run", EXPERIMENTS / "fetal_cardiac_planes.yaml", f"folder={tmp_path / 'hearts'}", *TINY_STUDY, *small
    )
    assert status == 0, err
    results, said, lines = results_of(tmp_path / "runs" / "fetal_cardiac_planes")
    assert len(set(results["method"].dropna())) == 7
    assert results.groupby("mode")["fraction"].nunique().to_dict() == {"finetune": 2, "linear": 6}
    assert "2 of the 2 published numbers have a counterpart" in said
    assert "of that of ImageNet)" in lines[0][6]
    assert "Barlow Twins" not in lines[1][6]


@pytest.mark.slow
def test_the_maps_of_the_renal_study_are_drawn_as_its_file_says(command, weights, imagenet, tmp_path):
    data = write_planes(tmp_path / "kidneys", KIDNEYS)
    inits = f"transfer.inits=['usf_mae:${{weights}}/{FILES['usf_mae']}','{imagenet('densenet169')}']"
    keys = (f"folder={data}", f"weights={weights('usf_mae')}", "planes.folds=2", "transfer.modes=[finetune]", inits)
    assert command("run", EXPERIMENTS / "renal_anomaly.yaml", *keys, *TINY_STUDY, "frames.size=32")[0] == 0
    text = (EXPERIMENTS / "renal_anomaly.yaml").read_text()
    (line,) = re.findall(r"^#   ssl-zoo (explain .*)$", text, re.MULTILINE)
    status, out, err = command(*line.split(), "--per-class", "1", "--shown", "1")
    assert status == 0, err
    folder = tmp_path / "runs" / "renal_anomaly" / "figures" / "explain"
    assert "2 classifier(s)" in out
    assert {path.name for path in folder.glob("*-finetune")} == {
        "usf_mae-vit_base_patch16_224-finetune",
        "imagenet-densenet169-finetune",
    }
    assert len(list(folder.glob("*-finetune/*.png"))) == 6
