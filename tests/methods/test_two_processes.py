"""Two processes with half of each batch do what one does with all of it: loss, gradient, teacher, queue and centre."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import Tensor

SCRIPT = Path(__file__).with_name("train_in_processes.py")
spec = importlib.util.spec_from_file_location("train_in_processes", SCRIPT)
assert spec is not None
assert spec.loader is not None
training = importlib.util.module_from_spec(spec)
spec.loader.exec_module(training)

LONGEST_S = 300


def start_both(folder: Path) -> None:
    """Run the script in two processes; it writes one result each."""
    folder.mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for rank in range(training.PROCESSES)
    ]
    try:
        said = [process.communicate(timeout=LONGEST_S)[0].decode() for process in started]
    finally:
        for process in started:
            process.kill()
    assert all(process.returncode == 0 for process in started), "\n".join(said)


@pytest.fixture(scope="session")
def ranks(tmp_path_factory) -> list[dict]:
    """What each of the two processes found; made once, also when several test processes ask."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "two-processes"
    with FileLock(shared / "two-processes.lock"):
        if not folder.exists():
            start_both(folder)
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(training.PROCESSES)]


def assert_close(found: Tensor, expected: Tensor, what: str, share: float, scale: float | None = None) -> None:
    """Equal up to rounding: within a share of `scale`, by default the tensor's largest entry."""
    if scale is None:
        scale = float(expected.abs().max())
    found, expected = found.double(), expected.double()
    torch.testing.assert_close(found, expected, rtol=share, atol=share * scale, msg=lambda text: f"{what}: {text}")


@pytest.mark.parametrize("case", training.CASES, ids=["-".join(map(str, case)) for case in training.CASES])
def test_losses_gradients_and_state_equal_those_of_one_process(tiny, ranks, case):
    found = [rank["methods"][case] for rank in ranks]
    expected = training.train(tiny, *case)
    assert_close(torch.stack([rank["losses"] for rank in found]).mean(0), expected["losses"], "losses", 1e-5)
    assert found[0]["gradients"].keys() == expected["gradients"].keys()
    largest = max(float(value.abs().max()) for value in expected["gradients"].values())
    for key, value in expected["gradients"].items():
        assert_close(found[0]["gradients"][key], value, key, 1e-5, scale=largest)
    assert found[0]["state"].keys() == expected["state"].keys()
    for key, value in expected["state"].items():
        assert torch.equal(found[0]["state"][key], found[1]["state"][key]), f"{key} differs between the processes"
        if case[0] == "moco" and key.startswith("teacher") and ("running" in key or "tracked" in key):
            continue  # of the first process's chunks of keys; nothing that trains reads them
        assert_close(found[0]["state"][key], value, key, 1e-5, scale=1.0)


def test_a_batchnorm_split_unevenly_equals_the_whole(ranks):
    whole, parts = training.uneven_batchnorm(), [rank["batchnorm"] for rank in ranks]
    for key in ("output", "input_gradient"):
        assert_close(torch.cat([part[key] for part in parts]), whole[key], key, 1e-5)
    assert_close(parts[0]["weight_gradient"] + parts[1]["weight_gradient"], whole["weight_gradient"], "weight", 1e-5)
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        assert_close(parts[0][key], whole[key], key, 1e-6)
        assert torch.equal(parts[0][key], parts[1][key])
