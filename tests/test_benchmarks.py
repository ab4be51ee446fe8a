"""Each benchmark runs at its smallest size and writes figures that make sense; none of them is about speed here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _benchmarks_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr("ssl_zoo.pretraining.trainer.SHOW_EVERY_S", 0.0)
    yield
    torch.set_num_threads(1)


def run(module, tmp_path, *arguments):
    """The rows that a script writes."""
    module.main(["--quick", "--threads", "1", "--out", str(tmp_path), *arguments])
    return json.loads((tmp_path / f"{module.__name__.rsplit('.', 1)[1]}.json").read_text())["rows"]


def test_throughput_compares_as_many_real_steps_as_bare_ones(tmp_path):
    from experiments.benchmarks import throughput

    (row,) = run(throughput, tmp_path)
    assert row["ratio"]["n"] == 2
    assert 0 < row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
    assert row["frames_per_s"] == pytest.approx(row["frames_per_s_of_the_step"] * row["ratio_of_sums"], rel=0.02)


@pytest.mark.parametrize("what", ["training", "views"])
def test_lightly_runs_as_documented_beside_our_loop(tmp_path, what):
    from experiments.benchmarks import against_lightly

    (row,) = run(against_lightly, tmp_path, "--cases", "as documented", "--what", what)
    ours, theirs = row["views_per_s"], row["views_per_s_of_lightly"]
    assert row["ratio"]["median"] == pytest.approx(ours / theirs, rel=0.05)
    assert (row["bar"] is not None) == (what == "training")


def test_the_profile_names_every_part_of_a_step(tmp_path):
    from experiments.benchmarks import profile_step

    (row,) = run(profile_step, tmp_path)
    assert {"frames", "pairs", "views: geometry", "forward: backbone", "backward", "optimiser"} <= set(row["parts_ms"])
    assert all(ms >= 0 for ms in row["parts_ms"].values())


def test_diverse_frames_are_chosen_in_a_process_of_their_own(tmp_path):
    from experiments.benchmarks import diverse

    rows = run(diverse, tmp_path)
    chosen = ["choose 100 of 1,000 frames, noise", "choose 100 of 1,000 frames, scans"]
    assert [row["case"] for row in rows] == [*chosen, "describe 1,000 frames"]
    assert all(row["seconds"] > 0 for row in rows)
    assert all(20 < row["peak_mib"] < 1000 for row in rows[:2])  # its own, not that of the tests


def test_ingest_reads_the_same_frames_as_plain_loops_do(tmp_path):
    from experiments.benchmarks import ingest, tables

    rows = run(ingest, tmp_path, "--workers", "1")
    assert [row["case"] for row in rows] == ["ingest, scans of 0.4 s", "random pairs"]
    assert set(rows[0]["frames_per_s"]) == {"ours", "PyAV", "OpenCV", "decord"}
    assert max(rows[0]["grey_levels_apart"].values()) < ingest.ALIKE
    assert all(row["ratio"]["low"] > 0 for row in rows)
    assert len(tables.ingest(rows)) == 4


@pytest.mark.slow
def test_the_fine_tuning_cells_of_a_study_run_as_scripts_of_their_own_too(tmp_path):
    from experiments.benchmarks import finetuning, tables

    (row,) = run(finetuning, tmp_path)
    assert (row["cells"], row["processes"]) == (2, 1)
    assert row["speedup"] == pytest.approx(row["seconds_per_process"] / row["seconds_per_cell"], rel=0.02)
    assert row["core_speedup"] > 0
    assert len(tables.finetuning([row])) == 3


def test_probes_are_fitted_as_scikit_learn_fits_them(tmp_path):
    from experiments.benchmarks import probe, tables

    default, exact = run(probe, tmp_path)[::-1]
    assert (default["tol"], exact["tol"]) == (1e-4, 1e-6)
    assert default["loop_cells"] == exact["loop_cells"] == 6
    assert exact["loop_excess"] == pytest.approx(0, abs=1e-4)
    assert exact["speedup"] == pytest.approx(exact["loop_s"] / exact["seconds"], rel=0.05)
    assert len(tables.probe([exact])) == 4


def test_planning_writes_a_file_for_every_cell_and_finds_it_again(tmp_path):
    from experiments.benchmarks import planning

    rows = run(planning, tmp_path)
    assert {row["case"] for row in rows} == {
        *("plan, 240 cells", "status, 240 cells", "status, for the first time, 240 cells")
    }
    assert all(row["seconds"] > 0 for row in rows)


def test_prediction_is_timed_from_the_scan_to_its_findings(tmp_path):
    from experiments.benchmarks import predict, tables

    (row,) = run(predict, tmp_path)
    assert row["frames"] == 10
    assert set(row["parts"]) == {"decoding", "network"}
    assert all(part["core_ms_per_frame"]["median"] > 0 for part in row["parts"].values())
    assert row["bar"] is None  # which is for ResNet-18 at 224 pixels
    assert len(tables.predict([row])) == 4


def test_memory_is_the_largest_seen_over_a_run(tmp_path):
    from experiments.benchmarks import memory
    from experiments.benchmarks.stores import write_store

    before = memory.resident()
    write_store(tmp_path / "frames", frames=32, size=32)
    peak = memory.train(tmp_path / "frames", size=32, batch_size=8, steps=2)
    assert peak["resident"] >= round(before["resident"], 1) - 1
    assert memory.compare({"resident": 100.0}, {"resident": 105.0}) == {"resident": 1.05}


def test_a_later_row_takes_the_place_of_the_same_case_and_no_other(tmp_path):
    from experiments.benchmarks import measure

    options = measure.parser("").parse_args(["--out", str(tmp_path)])
    for case, value in (("a", 1), ("b", 2), ("a", 3)):
        measure.write_rows(options, "some", [{"case": case, "value": value}])
    options.threads += 1
    measure.write_rows(options, "some", [{"case": "b", "value": 4}])
    rows = json.loads((tmp_path / "some.json").read_text())["rows"]
    assert [(row["case"], row["value"]) for row in rows] == [("a", 3), ("b", 2), ("b", 4)]
    assert "/" not in json.dumps([row["machine"] for row in rows])


def test_the_tables_say_what_was_not_measured_on_a_gpu(tmp_path):
    from experiments.benchmarks import tables

    ratio = {"median": 0.97, "low": 0.95, "high": 0.98, "n": 4}
    row = {
        "device": "cpu",
        "threads": 1,
        "case": "64 px",
        "batch_size": 64,
        "ratio": ratio,
        "ratio_of_sums": 0.96,
        "bar": 0.85,
    }
    row |= {"core_ratio": ratio, "frames_per_s": 100.0, "frames_per_s_of_the_step": 103.0}
    assert any("not measured on a GPU" in line for line in tables.throughput([row]))
    assert not any("not measured" in line for line in tables.throughput([row, row | {"device": "cuda"}]))
