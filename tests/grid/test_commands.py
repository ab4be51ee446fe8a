"""The commands beside `run`: each does its part, says where it is, and leaves the rest alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from ssl_zoo.cli import app
from ssl_zoo.errors import UserError


def said_by(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def test_frames_and_views_are_made_once_and_views_ask_for_the_frames_themselves(experiment):
    store = experiment.parent / "runs" / "study" / "frames" / "store.json"
    pages = said_by("views", experiment, "--quiet").splitlines()
    assert [Path(page).name for page in pages] == ["views_two_view.png"]
    assert Path(pages[0]).is_file()
    made = store.stat().st_mtime_ns

    others = said_by("views", experiment, "pretrain.methods=[byol]", "--quiet").splitlines()
    assert [Path(page).name for page in others] == ["views_asymmetric.png"]
    frames = said_by("frames", experiment, "--quiet")
    assert "48 frames of 6 scans" in frames
    assert "30 planes, 1 split(s)" in frames
    assert store.stat().st_mtime_ns == made


def test_evaluate_leaves_training_to_pretrain_and_says_so(experiment):
    result = CliRunner().invoke(app, ["evaluate", str(experiment), "--quiet"])
    assert isinstance(result.exception, UserError)
    assert "the encoder simclr-s0 is not trained yet; run `pretrain` first" in str(result.exception)


def test_report_and_status_read_a_run_folder(finished_study):
    run = finished_study[0].parent / "runs" / "study"
    before = (run / "report.html").read_text()
    assert said_by("report", run).strip() == str(run / "report.html")
    assert (run / "report.html").read_text() == before
    assert "12 of 12 cells done, 0 failed" in said_by("status", run)


@pytest.mark.slow
def test_phantom_writes_both_tables(tmp_path):
    out = tmp_path / "cohort"
    said_by("phantom", out, "--scans", 1, "--patients", 2, "--external-patients", 0, "--quiet")
    assert len((out / "scans.csv").read_text().splitlines()) == 2
    assert (out / "planes.csv").is_file()
