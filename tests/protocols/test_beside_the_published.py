"""What the report says of a run and its published numbers, on made-up results whose scores are known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import precision_score, recall_score

from ssl_zoo.analysis.published_numbers import published_frame, published_section
from ssl_zoo.analysis.run_folder import read_run
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.errors import UserError

HEAD = "init,mode,fraction,cohort,measure,value,relative_to,source\n"
FEW = 200  # resamples
PLANES = ("a", "b", "c")


def write_run(folder, rows, *, inits, folds=1, planes="", transfer=""):
    """A run folder with made-up predictions. `inits`: (init, backbone, method, share of images that are hit)."""
    rng = np.random.default_rng(0)
    results, predictions = [], []
    label = np.tile(np.array(PLANES, dtype=object), 40)
    label[:30] = "a"  # so that weighted and macro scores differ
    patient = np.repeat(np.arange(40), 3)
    for (init, backbone, method, skill), seed, fold in ((i, s, f) for i in inits for s in (0, 1) for f in range(folds)):
        tested = patient % folds == fold
        cell = f"{init}-{backbone}-{seed}-{fold}"
        hit = rng.random(len(label)) < skill
        called = np.where(hit, label, np.roll(np.array(PLANES), 1)[rng.integers(0, 3, len(label))])
        true, called = label[tested], called[tested]
        facts = {"init": init, "backbone": backbone, "method": method, "mode": "finetune", "fraction": 1.0}
        facts |= {"fold": fold, "seed": seed, "cohort": "internal", "n_train_patients": 9, "cell": cell}
        scores = {"accuracy": float((true == called).mean()), "f1_macro": 0.5, "auroc_macro": skill}
        results.append({**facts, **scores, "pretrain_seed": pd.NA})
        table = {"cell": cell, "image": np.flatnonzero(tested).astype(str), "cohort": "internal"}
        table |= {"patient_id": patient[tested].astype(str), "label": true, "predicted": called}
        predictions.append(pd.DataFrame(table | {f"p_{name}": (called == name).astype(float) for name in PLANES}))
    run = folder / "run"
    (run / "planes").mkdir(parents=True)
    pd.DataFrame(results).to_csv(run / "results.csv", index=False)
    pd.concat(predictions).to_parquet(run / "predictions.parquet")
    (run / "published.csv").write_text(HEAD + rows)
    (run / "experiment.yaml").write_text(f"name: run\nplanes: {{{planes}}}\ntransfer: {{{transfer}}}\n")
    return run


INITS = [
    ("usf_mae", "vit_base_patch16_224", "", 0.9),
    ("imagenet", "resnet18", "", 0.7),
    ("imagenet", "resnet50.a1_in1k", "", 0.6),
    ("byol", "resnet18", "byol", 0.5),
    ("simclr", "resnet18", "simclr", 0.6),
    ("moco", "resnet18", "moco", 0.4),
]


def rows(*lines):
    return "".join(f"{init},finetune,1.0,internal,{measure},{value},{to},paper\n" for init, measure, value, to in lines)


def section(run):
    said, table = published_section(read_run(run), replicates=FEW)
    return " ".join(said), table.rows


def mean_of(run, init, measure, **keys):
    """A measure of scikit-learn's on the predictions of an init, mean over its cells."""
    predictions = pd.read_parquet(run / "predictions.parquet")
    own = predictions[predictions["cell"].str.startswith(init)]
    return np.mean([measure(cell["label"], cell["predicted"], **keys) for _, cell in own.groupby("cell")])


def test_a_run_without_published_numbers_has_no_section(tmp_path):
    run = write_run(tmp_path, rows(("usf_mae", "accuracy", 0.9, "")), inits=INITS)
    (run / "published.csv").unlink()
    assert published_section(read_run(run)) is None
    assert published_frame(read_run(run)) is None


@pytest.mark.parametrize("average", ["weighted", "macro"])
def test_precision_and_recall_are_those_of_scikit_learn(tmp_path, average):
    lines = (("usf_mae", f"precision_{average}", 0.5, ""), ("usf_mae", f"recall_{average}", 0.5, ""))
    run = write_run(tmp_path, rows(*lines), inits=INITS)
    frame = published_frame(read_run(run), replicates=FEW)
    assert frame["ours"][0] == pytest.approx(mean_of(run, "usf_mae", precision_score, average=average))
    assert frame["ours"][1] == pytest.approx(mean_of(run, "usf_mae", recall_score, average=average))
    assert (frame["low"] < frame["ours"]).all()
    assert (frame["ours"] < frame["high"]).all()


def test_scores_and_intervals_are_those_of_the_rest_of_the_report(tmp_path):
    run = read_run(write_run(tmp_path, rows(("usf_mae", "f1_macro", 0.9, "")), inits=INITS, folds=2))
    frame = published_frame(run, replicates=FEW)
    table = estimate(run.results, run.predictions, replicates=FEW).table
    own = table[table["init"] == "usf_mae"].iloc[0]
    assert own["pooled"]
    assert frame[["ours", "low", "high"]].iloc[0].tolist() == own[["f1_macro", "low", "high"]].tolist()


def test_a_difference_is_to_the_named_backbone_and_paired_by_patient(tmp_path):
    lines = [("usf_mae", "f1_macro", 0.02, f"imagenet ({name})") for name in ("resnet18", "resnet50")]
    run = read_run(write_run(tmp_path, rows(*lines), inits=INITS))
    frame = published_frame(run, replicates=FEW)
    pairs = estimate(run.results, run.predictions, replicates=FEW).pairs
    for place, backbone in enumerate(("resnet18", "resnet50.a1_in1k")):
        one = (pairs["init"] == "imagenet") & (pairs["backbone"] == backbone)
        pair = pairs[one & (pairs["other"] == "usf_mae")].iloc[0]  # imagenet less usf_mae
        assert frame["ours"][place] == pytest.approx(-pair["difference"])
        assert (frame["low"][place], frame["high"][place]) == pytest.approx((-pair["high"], -pair["low"]))
        assert frame["over"][place] == f"ImageNet · {backbone}"


def test_the_other_methods_are_those_pre_trained_here_and_the_best_of_them_counts(tmp_path):
    run = read_run(write_run(tmp_path, rows(("byol", "accuracy", 0.04, "other methods")), inits=INITS))
    frame = published_frame(run, replicates=FEW)
    assert frame["over"].tolist() == ["SimCLR"]  # not USF-MAE, which is better, nor MoCo, which is worse
    accuracy = run.results.groupby("init")["accuracy"].mean()
    assert frame["ours"][0] == pytest.approx(accuracy["byol"] - accuracy["simclr"])
    assert frame["relative"][0] == pytest.approx(accuracy["byol"] / accuracy["simclr"] - 1)


def test_an_init_at_another_size_is_found_and_one_that_is_not_there_is_said_to_be_missing(tmp_path):
    inits = [("ultrasam@224", "samvit_mean", "", 0.8)]
    lines = (("ultrasam", "accuracy", 0.9, ""), ("usfm", "accuracy", 0.9, ""), ("ultrasam", "accuracy", 0.1, "usfm"))
    said, table = section(write_run(tmp_path, rows(*lines), inits=inits))
    assert "1 of the 3 published numbers have a counterpart" in said
    assert [line[6] == "not in this run" for line in table] == [False, True, True]


def test_an_init_on_two_backbones_is_not_guessed(tmp_path):
    _, table = section(write_run(tmp_path, rows(("imagenet", "accuracy", 0.7, "")), inits=INITS))
    assert table[0][6] == "not in this run"


def test_an_auroc_has_no_interval(tmp_path):
    _, table = section(write_run(tmp_path, rows(("usf_mae", "auroc_macro", 0.7, "")), inits=INITS))
    assert table[0][6] == "0.900"


def test_published_scores_inside_the_interval_are_counted(tmp_path):
    lines = [("usf_mae", "accuracy", 0.9, ""), ("imagenet (resnet18)", "accuracy", 0.1, "")]
    said, _ = section(write_run(tmp_path, rows(*lines), inits=INITS))
    assert "Of 2 published scores, 1 lies inside our interval" in said


def test_without_predictions_there_are_scores_and_no_intervals(tmp_path):
    lines = [("usf_mae", "accuracy", 0.9, ""), ("usf_mae", "accuracy", 0.02, "imagenet (resnet18)")]
    run = write_run(tmp_path, rows(*lines, ("usf_mae", "precision_weighted", 0.9, "")), inits=INITS)
    (run / "predictions.parquet").unlink()
    accuracy = read_run(run).results.query("init == 'usf_mae'")["accuracy"].mean()
    said, table = section(run)
    assert table[0][6] == f"{accuracy:.3f}"
    assert "to" not in table[1][6].partition("(")[2].partition("%")[0]
    assert table[2][6] == "–"
    assert "inside our interval" not in said


def test_data_that_deviate_weights_and_settings_are_told(tmp_path):
    transfer = "modes: [finetune], seeds: [0, 1], finetune: {steps: 7, batch_size: 3, lr: 0.1}"
    source = "source: 'feft:/data', unit: image, protocol: holdout"
    lines = rows(("usf_mae", "accuracy", 0.9, ""))
    run = write_run(tmp_path, lines, inits=INITS, planes=source, transfer=transfer)
    notes = {"planes": {"source": "feft", "title": "FEFT", "notes": ["FEFT: 15 images, where 6720 are published"]}}
    (run / "planes" / "sources.json").write_text(json.dumps(notes))
    record = {"init": "usf_mae", "backbone": "vit", "file": "usf.pt", "bytes": 12345, "sha256": "0123456789abcdef"}
    natural = {"init": "imagenet (resnet18)", "backbone": "resnet18", "bytes": 0, "sha256": ""}
    natural |= {"file": "timm/resnet18.a1_in1k"}
    named = {"init": "dinov3", "backbone": "vit", "file": "dino-73cec8be.pth", "bytes": 1, "sha256": "73cec8be01234567"}
    other = {**named, "init": "imagenet (resnet50)", "file": "resnet50-11ad3fa6.pth", "backbone": "resnet50"}
    (run / "weights.json").write_text(json.dumps([record, natural, named, other]))
    said, _ = section(run)
    for words in (
        "Data: FEFT, read in its published layout; these notes were made while reading it. FEFT: 15 images, where 6720",
        "Weights of usf_mae (USF-MAE",
        "usf.pt (12\u202f345 bytes, SHA-256 begins 0123456789abcdef)",
        "No hash of the files that the paper used is published",
        "resnet18 from timm (timm/resnet18.a1_in1k)",
        "resnet50-11ad3fa6.pth (1 bytes, SHA-256 begins 73cec8be01234567, but the file's name says 11ad3fa6",
        "has seen FEFT",
        "7 steps of 3 images, AdamW at 0.1",
        "a hold-out by image",
        "What the paper does not state of these is our choice",
    ):
        assert words in said, (words, said)
    assert "Weights of dinov3" not in said  # it has no result


def test_a_broken_table_in_a_run_folder_is_named(tmp_path):
    run = write_run(tmp_path, "usf_mae,finetune\n", inits=INITS)
    with pytest.raises(UserError, match=r"published\.csv, row 1, column 'fraction': is empty"):
        published_section(read_run(run))
