"""`ssl-zoo predict` on whole scans: what is written, what is set aside, what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from ssl_zoo.analysis.frame_truth import truth_table
from ssl_zoo.cli import app
from ssl_zoo.errors import UserError
from ssl_zoo.grid.classifiers import choose_cells
from ssl_zoo.grid.study import open_study

LEVELS = {"dark": 60, "grey": 120, "light": 180}  # as the hospital's images are


def write_scan(path, *labels, frames=15, seed=0):
    """A stack of noisy grey frames, a stretch of each label in turn."""
    rng = np.random.default_rng(seed)
    means = np.repeat([LEVELS[label] for label in labels], frames)
    np.save(path, rng.normal(means[:, None, None], 30, (len(means), 40, 50)).clip(0, 255).astype(np.uint8))
    return path


@pytest.fixture(scope="module")
def run(finished_study):
    return finished_study[0].parent / "runs" / "study"


def predict(run, out, *arguments):
    return CliRunner().invoke(app, ["predict", str(run), *map(str, arguments), "--out", str(out), "--quiet"])


@pytest.fixture(scope="module")
def exam(run, tmp_path_factory):
    """Two scans of one patient and their truth, predicted by the linear probe on the pre-trained encoder."""
    folder = tmp_path_factory.mktemp("exam")
    write_scan(folder / "P1 first.npy", "dark", "light")
    write_scan(folder / "P1 second.npy", "light", seed=1)
    for name, labels in (("P1 first", ["dark"] * 15 + ["light"] * 15), ("P1 second", ["light"] * 15)):
        pd.DataFrame({"frame": range(len(labels)), "plane": labels}).to_csv(folder / f"{name}.csv", index=False)
    scans = [folder / "P1 first.npy", folder / "P1 second.npy"]
    chosen = ["--init", "simclr", "--mode", "linear", "--truth", folder, "--patient-pattern", "(P[0-9]+)"]
    result = predict(run, folder / "out", *scans, *chosen)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return folder / "out"


def test_frames_planes_and_exams_are_written_with_the_best_frames(exam):
    frames = pd.read_csv(exam / "P1 first" / "frames.csv")
    assert frames["frame"].tolist() == list(range(30))
    assert (frames[["p_dark", "p_grey", "p_light"]].sum(axis=1) - 1).abs().max() < 1e-3
    assert (frames["predicted"] == frames["truth"]).mean() > 0.7
    planes = pd.read_csv(exam / "planes.csv").set_index(["scan_id", "plane"])
    assert planes.loc[("P1 first", "dark"), "found"]
    assert not planes.loc[("P1 second", "dark"), "found"]
    best = int(planes.loc[("P1 first", "dark"), "best_frame"])
    assert best < 15
    picture = np.asarray(Image.open(exam / "P1 first" / "best_dark.png"))
    assert picture.shape == (40, 50, 3)  # as in the scan, not as the network sees it
    assert picture.mean() == pytest.approx(LEVELS["dark"], abs=5)
    assert not (exam / "P1 second" / "best_dark.png").exists()
    assert (exam / "P1 first" / "timeline.png").stat().st_size > 5000
    (patient,) = pd.read_csv(exam / "exams.csv").to_dict("records")
    assert (patient["patient_id"], patient["scans"], patient["unreadable"]) == ("P1", 2, 0)
    assert patient["found"] == "dark; light"
    assert patient["missing"] == "grey"


def test_known_truth_gives_scores(exam):
    scores = json.loads((exam / "truth.json").read_text())
    assert scores["best_frame_hits"] == 1.0
    assert scores["frame_f1_planes"] > 0.5
    assert all(value is None or 0 <= value <= 1 or np.isnan(value) for value in scores.values())


def test_timelines_are_kept_for_the_report_with_their_scores(run, exam, tmp_path):
    scan = shutil.copy(exam.parent / "P1 first.npy", tmp_path)
    chosen = ["--init", "simclr", "--mode", "linear", "--truth", exam.parent, "--for-report"]
    kept = run / "figures" / "timelines" / "simclr linear"
    try:
        assert predict(run, tmp_path / "out", scan, *chosen).exit_code == 0
        assert (kept / "P1 first.png").read_bytes() == (tmp_path / "out" / "P1 first" / "timeline.png").read_bytes()
        shown = truth_table(kept.parent)
        assert shown is not None
        scores = json.loads((tmp_path / "out" / "truth.json").read_text())
        assert shown.rows[0][:2] == ["simclr linear", f"{scores['frame_f1']:.2f}"]
    finally:
        shutil.rmtree(kept.parent)  # other tests read this run


def test_with_few_validation_images_no_frame_is_set_aside_and_the_command_says_so(run, tmp_path):
    scan = write_scan(tmp_path / "scan.npy", "dark")
    arguments = ["predict", run, scan, "--init", "simclr", "--mode", "linear", "--out", tmp_path / "out"]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0
    assert "fewer than 20: confidence is not scaled, and no frame is set aside" in result.stderr
    assert pd.read_csv(tmp_path / "out" / "scan" / "frames.csv")["accepted"].all()


def test_a_cell_by_its_file_and_a_broken_scan_beside_a_good_one(run, tmp_path):
    (cell, *_) = choose_cells(open_study(run), inits=["simclr"], modes=["linear"])
    good = write_scan(tmp_path / "good.npy", "grey")
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    result = predict(run / "cells" / f"{cell.key}.json", tmp_path / "out", good, tmp_path / "broken.mp4")
    assert result.exit_code == 1
    assert "skipped scan broken" in result.output + result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["exams.csv", "good", "planes.csv"]
    exams = pd.read_csv(tmp_path / "out" / "exams.csv").set_index("patient_id")
    assert exams["unreadable"].to_dict() == {"broken": 1, "good": 0}
    assert exams.loc["broken", "missing"] == "dark; grey; light"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.mp4", "--init", "simclr", "--mode", "linear"], "nowhere.mp4: no such file or folder"),
        (["scan.npy"], "choose one with --init, --mode and --backbone"),
        (["scan.npy", "--init", "simclrr", "--mode", "linear"], "did you mean 'simclr'"),
        (["scan.npy", "--init", "simclr", "--mode", "linear", "--truth", "."], "--truth holds a table of each scan"),
        (["scan.npy", "--backbone", "resnet99"], "unknown backbone 'resnet99'"),
        (["scan.npy", "--init", "simclr", "--mode", "linear", "--patient-pattern", "(P"], "not a regular expression"),
        (["scan.npy", "--init", "simclr", "--mode", "linear", "--patient-pattern", "(P[0-9])"], "scan.npy"),
    ],
)
def test_wrong_use_is_one_sentence_and_writes_nothing(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    write_scan(tmp_path / "scan.npy", "dark")
    result = predict(run.resolve(), tmp_path / "out", *arguments)
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_pair_of_init_and_mode_that_is_not_finished_is_named_with_those_that_are(run, tmp_path, monkeypatch):
    def done(run, cells):
        return {cell.key for cell in cells if (cell.init.name, cell.mode) != ("random", "finetune")}, {}

    monkeypatch.setattr("ssl_zoo.grid.classifiers.finished", done)
    scan = write_scan(tmp_path / "scan.npy", "dark")
    result = predict(run, tmp_path / "out", scan, "--init", "random", "--mode", "finetune")
    assert isinstance(result.exception, UserError)
    assert "no finished cell is of this init, mode and backbone (there are random (resnet10t), linear" in str(
        result.exception
    )


@pytest.mark.parametrize("out", ["exam", "exam/found", "."])
def test_no_folder_of_the_users_is_replaced(run, tmp_path, out):
    scan = tmp_path / "exam" / "S1"
    scan.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(np.full((40, 50), 60, np.uint8)).save(scan / f"{index}.png")
    given = scan if out == "." else tmp_path / "exam"
    result = predict(
        run.resolve(),
        (tmp_path / "exam" / ".") if out == "." else tmp_path / out,
        given,
        "--init",
        "simclr",
        "--mode",
        "linear",
    )
    assert isinstance(result.exception, UserError)
    assert "--out" in str(result.exception)
    assert sorted(path.name for path in scan.iterdir()) == ["0.png", "1.png", "2.png"]
    assert [path.name for path in (tmp_path / "exam").iterdir()] == ["S1"]


def test_a_prediction_replaces_its_own_folder_and_no_file(run, tmp_path):
    scan = write_scan(tmp_path / "scan.npy", "dark")
    chosen = [scan, "--init", "simclr", "--mode", "linear"]
    assert predict(run, tmp_path / "out", *chosen).exit_code == 0
    assert predict(run, tmp_path / "out", *chosen).exit_code == 0
    (tmp_path / "taken").write_text("mine")
    result = predict(run, tmp_path / "taken", *chosen)
    assert isinstance(result.exception, UserError)
    assert (tmp_path / "taken").read_text() == "mine"


def test_the_clock_of_a_scan_comes_from_its_table(run, tmp_path):
    write_scan(tmp_path / "scan.npy", "dark")
    (tmp_path / "scans.csv").write_text("scan,patient_id,fps\nscan.npy,P1,50\n")
    out = tmp_path.parent / f"{tmp_path.name}-out"
    assert predict(run, out, tmp_path / "scans.csv", "--init", "simclr", "--mode", "linear").exit_code == 0
    assert pd.read_csv(out / "scan" / "frames.csv")["time_s"].diff().iloc[-1] == pytest.approx(0.02)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    result = predict(tmp_path, tmp_path / "out", tmp_path)
    assert isinstance(result.exception, UserError)
    assert "neither a run folder nor a cell" in str(result.exception)
