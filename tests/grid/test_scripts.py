"""What scripts get of a finished run: one JSON value on stdout, and nothing else there."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from ssl_zoo.cli import app


def asked(*arguments):
    """The JSON that a command replies with."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def experiment_path(finished_study):
    return finished_study[0]


@pytest.fixture(scope="module")
def run(experiment_path):
    return experiment_path.parent / "runs" / "study"


def test_status_counts_cells_and_lists_inits(run):
    told = asked("status", run)
    assert (told["run"], told["cells"], told["done"], told["failed"]) == (str(run), 12, 12, 0)
    assert {(row["init"], row["mode"]) for row in told["inits"]} == {
        (init, mode) for init in ("random", "simclr") for mode in ("linear", "finetune")
    }
    assert sum(row["done"] for row in told["inits"]) == 12
    assert told["at_work"] == []


def test_run_on_a_finished_study_says_where_the_report_is_and_what_failed(experiment_path, run):
    told = asked("run", experiment_path)
    assert (told["run"], told["done"], told["failed"]) == (str(run), 12, {})
    assert told["report"] == str(run / "report.html")
    assert asked("run", experiment_path, "--no-report")["report"] is None
    assert "12 cells" in asked("run", experiment_path, "--dry-run")["plan"][-1]


def test_a_quiet_run_says_where_the_result_is_and_no_more(experiment_path, run):
    said = CliRunner().invoke(app, ["run", str(experiment_path), "--quiet"])
    assert (said.stdout, said.stderr) == (f"{run / 'report.html'}\n", "")


def test_frames_and_audit_of_an_experiment(experiment_path, run):
    frames = asked("frames", experiment_path)
    assert (frames["planes"], frames["splits"]) == (30, 1)
    store = frames["stores"]["frames"]
    assert (store["store"], store["frames"], store["scans"]) == (str(run / "frames"), 48, 6)
    audit = asked("audit", experiment_path)
    assert (audit["experiment"], audit["allowed"], audit["leaks"]) == ("study", False, [])


def test_predict_gives_planes_and_exams(run, tmp_path):
    np.save(tmp_path / "scan.npy", np.full((15, 40, 50), 60, np.uint8))
    told = asked(
        "predict", run, tmp_path / "scan.npy", "--init", "simclr", "--mode", "linear", "--out", tmp_path / "out"
    )
    assert (told["out"], told["frames"], told["failed"]) == (str(tmp_path / "out"), 15, {})
    assert [row["plane"] for row in told["planes"]] == ["dark", "grey", "light"]
    assert [exam["patient_id"] for exam in told["exams"]] == ["scan"]
    assert (run / "cells" / f"{told['cell']}.json").is_file()


def test_report_and_export_say_what_they_have_written(run, tmp_path):
    assert asked("report", run) == {"page": str(run / "report.html"), "runs": [str(run)]}
    told = asked("export", "simclr", "--run", run, "--out", tmp_path / "simclr.safetensors")
    assert (told["path"], told["format"]) == (str(tmp_path / "simclr.safetensors"), "timm")
    assert told["model_card"] == str(tmp_path / "simclr.md")


def test_explain_says_where_its_sheets_are(run, tmp_path):
    chosen = ["--init", "simclr", "--mode", "linear", "--per-class", 1, "--shown", 1, "--out", tmp_path / "maps"]
    told = asked("explain", run, *chosen)
    assert told["folder"] == str(tmp_path / "maps")
    assert told["sheets"]
    assert len(told["cells"]) == 1
