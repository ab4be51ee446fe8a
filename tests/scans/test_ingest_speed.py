"""The benchmark of ingest runs at its smallest size and compares the same frames; it is not about speed here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch


@pytest.mark.slow
def test_the_plain_loops_deliver_the_frames_that_the_store_holds(tmp_path, monkeypatch):
    pytest.importorskip("cv2", reason="OpenCV is not installed here")
    pytest.importorskip("decord", reason="decord is not installed here")
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    from experiments.benchmarks import ingest

    try:
        ingest.main(["--quick", "--threads", "1", "--out", str(tmp_path)])
    finally:
        torch.set_num_threads(1)
    read, pairs = json.loads((tmp_path / "ingest.json").read_text())["rows"]
    assert read["case"] == "ingest, scans of 0.4 s"
    assert set(read["frames_per_s"]) == {"ours", "PyAV", "OpenCV", "decord"}
    assert read["grey_levels_apart"]["PyAV"] == 0
    assert max(read["grey_levels_apart"].values()) < ingest.ALIKE
    assert pairs["ratio"]["n"] == read["ratio"]["n"] == 2
    assert pairs["pairs_per_s"]["store"] > pairs["pairs_per_s"]["decord"]
