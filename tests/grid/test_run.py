"""A study ends with every cell once, whatever happened on the way, and goes on where it stopped."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

import ssl_zoo
from ssl_zoo.config import load_experiment
from ssl_zoo.grid.cells import RESULT_COLUMNS


@pytest.fixture
def copy(finished_study, tmp_path, hospital):
    """A copy of the finished study that a test may damage."""
    path, _ = finished_study
    shutil.copytree(path.parent / "runs", tmp_path / "runs")
    text = path.read_text().replace(str(path.parent), str(tmp_path))
    (tmp_path / "study.yaml").write_text(text)
    return tmp_path / "study.yaml"


def tables(path):
    run = path.parent / "runs" / "study"
    return ssl_zoo.load_results(run).drop(columns="seconds"), ssl_zoo.load_predictions(run)


def test_a_study_ends_with_its_promised_tables(finished_study):
    path, said = finished_study
    assert said.returncode == 0, said.stderr
    results, predictions = tables(path)
    assert [c for c in RESULT_COLUMNS if c != "seconds"] == list(results.columns)
    # two inits x (probe: 2 fractions x 2 seeds, fine-tuning: 2 fractions x 1 seed) x two cohorts
    assert len(results) == 2 * 6 * 2
    assert set(results["cohort"]) == {"internal", "external"}
    assert results[["f1_macro", "accuracy"]].stack().between(0, 1).all()
    probabilities = predictions[[f"p_{name}" for name in ("dark", "grey", "light")]]
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert len(predictions) == 12 * (results.drop_duplicates(["cell", "cohort"])["n_test_images"].sum() / 12)
    assert "macro-F1" in said.stdout
    assert "label_efficiency.png" in said.stdout
    for name in ("report.html", "figures/label_efficiency.png", "experiment.yaml", "log.jsonl"):
        assert (path.parent / "runs" / "study" / name).is_file()


def test_cells_and_encoders_tell_what_they_were_computed_on(finished_study):
    run = finished_study[0].parent / "runs" / "study"
    records = [
        json.loads(path.read_text()) for path in (*run.glob("cells/*.json"), *run.glob("encoders/*/budget.json"))
    ]
    assert len(records) == 13
    for record in records:
        assert record["computed"].keys() == {"device", "processor", "precision", "versions"}
        assert record["computed"]["device"] == "cpu"


def test_no_tested_patient_is_trained_on(finished_study):
    path, _ = finished_study
    folder = path.parent / "runs" / "study" / "planes"
    patients = pd.read_parquet(folder / "table.parquet")["patient_id"].to_numpy()
    for split in pd.read_json(folder / "splits.json")["splits"]:
        assert not set(patients[split["train"]]) & set(patients[split["test"]])
        assert not set(patients[split["val"]]) & set(patients[split["test"]])


def test_a_second_run_does_nothing_again(copy, command):
    run = copy.parent / "runs" / "study"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.suffix != ".yaml"}
    said = command("run", copy)
    assert said.returncode == 0, said.stderr
    assert "12 cells (12 done)" in said.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.slow
def test_a_report_that_was_left_out_is_written_by_the_next_run(copy, command):
    run = copy.parent / "runs" / "study"
    (run / "report.html").unlink()
    assert "report.html" not in command("run", copy, "--no-report").stdout
    assert not (run / "report.html").exists()
    assert "report.html" in command("run", copy).stdout
    assert (run / "report.html").is_file()


def test_lost_cells_alone_are_made_again_and_give_the_same_numbers(copy, command):
    results, predictions = tables(copy)
    run = copy.parent / "runs" / "study"
    lost = sorted((run / "cells").glob("*.json"))[:3]
    kept = {path: path.stat().st_mtime_ns for path in (run / "cells").glob("*.json") if path not in lost}
    for path in lost:
        path.unlink()
    assert "12 cells (9 done)" in command("run", copy, "--no-report").stdout
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    again = tables(copy)
    pd.testing.assert_frame_equal(results, again[0])
    pd.testing.assert_frame_equal(predictions, again[1])


DAMAGES = {
    "a record cut off": ".json",
    "predictions cut off": ".npz",
    "no predictions": ".npz",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_cell_is_made_again_and_the_study_is_whole(copy, command, what):
    results, predictions = tables(copy)
    run = copy.parent / "runs" / "study"
    path = sorted((run / "cells").glob(f"*{DAMAGES[what]}"))[0]
    if what == "no predictions":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    (run / "results.csv").unlink()
    said = command("run", copy, "--no-report")
    if what == "predictions cut off":  # found when they are gathered
        assert said.returncode == 1
        assert f"{path}: broken" in said.stderr
        said = command("run", copy, "--no-report")
    assert said.returncode == 0, said.stderr
    assert "12 cells (11 done, 1 failed before and are tried again)" in said.stdout
    again = tables(copy)
    pd.testing.assert_frame_equal(results, again[0])
    pd.testing.assert_frame_equal(predictions, again[1])


def test_a_failed_cell_is_told_the_others_go_on_and_a_rerun_completes(copy, command):
    results, _ = tables(copy)
    run = copy.parent / "runs" / "study"
    shutil.rmtree(run / "cells")
    shutil.rmtree(run / "features")
    (run / "features").write_text("a file where a folder should be")
    said = command("run", copy, "--no-report")
    assert said.returncode == 1
    assert said.stderr.count("failed:") == 8  # every probe
    assert "simclr (resnet10t) linear 0.5 fold 0 seed 0" in said.stderr
    assert set(tables(copy)[0]["mode"]) == {"finetune"}
    assert "8 failed" in command("status", run).stdout
    (run / "features").unlink()
    assert command("run", copy, "--no-report").returncode == 0
    pd.testing.assert_frame_equal(results, tables(copy)[0])


def test_two_commands_do_not_share_a_run_folder(copy, command):
    with FileLock(copy.parent / "runs" / "study" / ".lock"):
        said = command("run", copy, "--no-report")
    assert said.returncode == 2
    assert "another ssl-zoo process" in said.stderr


def test_a_changed_setting_makes_new_cells_and_the_old_ones_come_back(copy, command):
    changed = command("run", copy, "transfer.finetune.steps=2", "transfer.modes=[finetune]", "--no-report")
    assert "4 cells (0 done)" in changed.stdout, changed.stderr
    assert "12 cells (12 done)" in command("run", copy, "--no-report").stdout


def test_another_pretraining_sets_the_old_encoder_aside_and_finds_it_again(copy, command):
    results, _ = tables(copy)
    said = command("pretrain", copy, "pretrain.window_s=0.5")
    assert "1 encoders to pre-train (0 done)" in said.stdout, said.stderr
    assert "1 encoders to pre-train (1 done)" in command("pretrain", copy, "pretrain.window_s=0.5").stdout
    assert "12 cells (12 done)" in command("run", copy, "--no-report").stdout
    pd.testing.assert_frame_equal(results, tables(copy)[0])


@pytest.mark.slow
def test_a_study_killed_again_and_again_ends_with_the_same_numbers(finished_study, experiment, command):
    for seconds in (6, 10, 14):
        process = subprocess.Popen(
            [sys.executable, "-m", "ssl_zoo", "run", str(experiment)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(1)
    said = command("run", experiment)
    assert said.returncode == 0, said.stderr
    for undisturbed, disturbed in zip(tables(finished_study[0]), tables(experiment), strict=True):
        pd.testing.assert_frame_equal(undisturbed, disturbed)


def test_the_run_folder_remembers_the_whole_experiment(finished_study):
    path, _ = finished_study
    saved = load_experiment(path.parent / "runs" / "study" / "experiment.yaml")
    assert saved == load_experiment(path)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers through /proc")
def test_a_worker_that_dies_fails_its_job_alone_and_a_rerun_completes(finished_study, experiment, command):
    run = experiment.parent / "runs" / "study"
    arguments = [sys.executable, "-m", "ssl_zoo", "run", str(experiment), "compute.workers=1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list((run / "cells").glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(workers[-1]), signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert "the worker process died (signal SIGKILL" in errors
    assert 0 < len(ssl_zoo.load_results(run)["cell"].unique()) < 12
    assert command("run", experiment).returncode == 0
    pd.testing.assert_frame_equal(tables(finished_study[0])[0], tables(experiment)[0])
