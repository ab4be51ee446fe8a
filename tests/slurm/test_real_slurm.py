"""A whole study through a real Slurm of two nodes, one of which loses its power in the middle."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import ssl_zoo
from ssl_zoo.grid import shared_queue

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("local_slurm", Path(__file__).with_name("local_slurm.py"))
assert _spec is not None
assert _spec.loader is not None
local_slurm = importlib.util.module_from_spec(_spec)
sys.modules["local_slurm"] = local_slurm
_spec.loader.exec_module(local_slurm)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(local_slurm.why_not()), reason=f"no Slurm here: {local_slurm.why_not()}"),
]

SMOKE = [sys.executable, "-m", "ssl_zoo", "run", str(ROOT / "experiments" / "smoke.yaml")]
ON_SLURM = [
    *("--executor", "slurm", "compute.slurm.tasks=2", "compute.slurm.memory_gb=2", "compute.slurm.minutes=30"),
    *("compute.slurm.lost_after_s=15", "compute.checkpoint_every_s=1"),
]
LONGEST_S = 1500


@pytest.fixture(scope="module")
def cluster():
    with local_slurm.slurm() as running:
        yield running


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The study on this machine alone."""
    return whole_study(tmp_path_factory.mktemp("local"), [], dict(os.environ))


def arguments(folder, more):
    return [*SMOKE, f"runs={folder / 'runs'}", f"data={folder / 'data'}", *more]


def whole_study(folder, more, environment):
    done = subprocess.run(
        arguments(folder, more), env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return tables(folder)


def tables(folder):
    run = folder / "runs" / "smoke"
    return ssl_zoo.load_results(run).drop(columns="seconds"), ssl_zoo.load_predictions(run)


def same(one, other):
    for mine, theirs in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def until(ready, what):
    started = time.monotonic()
    while not ready():
        assert time.monotonic() - started < LONGEST_S, what
        time.sleep(0.2)


def is_at_work(run, task="", node=""):
    """Whether a task, or any on a node, does a job now: it has come past its imports and heeds signals."""
    who = [claim.by for claim in shared_queue.claims_of(run, lost_after_s=15)]
    return any(by.startswith(task) and by.endswith(node) for by in who)


def job_array(run):
    current = run / ".queue" / "current.json"
    return ssl_zoo.files.read_json(current)["job"] if current.exists() else None


def test_a_study_survives_the_death_of_a_node_and_ends_with_the_same_numbers(cluster, undisturbed, tmp_path):
    more = [*ON_SLURM, 'compute.slurm.options={"exclusive": true}']  # a node for each task
    run = tmp_path / "runs" / "smoke"
    with subprocess.Popen(
        arguments(tmp_path, more), env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            until(lambda: is_at_work(run, node=" on node2") or process.poll() is not None, "node2 has not begun")
            cluster.kill_node("node2")
            said, _ = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
    assert process.returncode == 0, said
    assert list((run / ".queue" / "claims").glob("*.1")), "the dead node's job was given to nobody"
    same(tables(tmp_path), undisturbed)
    cluster.start_node("node2")
    until(lambda: cluster.call("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2, "the node does not come back")


def test_a_task_whose_time_is_up_saves_its_place_and_is_queued_again(cluster, undisturbed, tmp_path):
    run = tmp_path / "runs" / "smoke"
    with subprocess.Popen(
        arguments(tmp_path, ON_SLURM),
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            until(lambda: job_array(run) or process.poll() is not None, "no array was submitted")
            first = f"{job_array(run)}_0"
            until(
                lambda: is_at_work(run, task=f"{first} ") or process.poll() is not None, "the first task has not begun"
            )
            assert not cluster.call("scancel", "--signal=USR1", first)
            said, _ = process.communicate(timeout=LONGEST_S)
        finally:
            process.kill()
    assert process.returncode == 0, said
    logs = "".join(path.read_text() for path in run.glob(".queue/*/slurm/*_0_0_log.err"))
    assert "SIGUSR1: what is done is saved" in logs
    assert "Requeued job" in logs or "Requeued job" in "".join(
        p.read_text() for p in run.glob(".queue/*/slurm/*_0_0_log.out")
    )
    same(tables(tmp_path), undisturbed)


def test_a_killed_command_leaves_the_tasks_at_work_and_the_next_one_ends_the_study(cluster, undisturbed, tmp_path):
    claims = tmp_path / "runs" / "smoke" / ".queue" / "claims"
    process = subprocess.Popen(
        arguments(tmp_path, ON_SLURM), env=cluster.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(lambda: list(claims.glob("*.0")) or process.poll() is not None, "no task has begun")
    process.kill()
    process.wait()
    refused = subprocess.run(
        arguments(tmp_path, []), env=cluster.environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert refused.returncode == 2
    assert "is at work in this run folder" in refused.stderr
    same(whole_study(tmp_path, ON_SLURM, cluster.environment), undisturbed)
