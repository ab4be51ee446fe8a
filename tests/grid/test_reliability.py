"""Whatever happens to a study, its cells that could be done are done once, and the others say why not."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ssl_zoo
from ssl_zoo.grid import experiment as grid_experiment
from ssl_zoo.grid.cells import finished, write_cell, write_failure, write_tables
from ssl_zoo.grid.experiment import gather
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.jobs import STAGES, Job, pending_jobs
from ssl_zoo.grid.ledger import look
from ssl_zoo.grid.plan import Cell, make_plan
from ssl_zoo.grid.run import fail, left_of
from ssl_zoo.grid.work import do_job
from ssl_zoo.grid.worker import Worker

KILLS = 10
PROBES = ("pretrain.methods=[]", "transfer.modes=[linear]")
WRITER = """
import sys
from pathlib import Path
import numpy as np
from ssl_zoo.grid.cells import write_cell
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.plan import Cell
print("ready", flush=True)
for k in range(100000):
    cell = Cell(Init("random", "resnet10t"), "linear", 0.1, 0, k, f"{k:016x}")
    write_cell(Path(sys.argv[1]), cell, {"seconds": 1.0, "cohorts": {}}, np.arange(500), np.ones((500, 5)))
"""


@pytest.fixture
def study(study_of, tmp_path):
    return study_of(*PROBES)


def full(*_, **__):
    raise OSError(28, "No space left on device")


def tables(path):
    run = path.parent / "runs" / "study"
    return ssl_zoo.load_results(run).drop(columns="seconds"), ssl_zoo.load_predictions(run)


def same(one, other):
    for mine, theirs in zip(one, other, strict=True):
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def test_a_cell_is_whole_or_absent_when_its_writer_is_killed_at_any_moment(tmp_path):
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.5)
        process.kill()
    known = look(tmp_path)
    assert known
    assert all(entry.error is None for entry in known.values())
    for key in known:
        with np.load(tmp_path / "cells" / f"{key}.npz") as saved:
            assert saved["probabilities"].shape == (500, 5)


def test_a_full_disk_that_takes_no_failures_has_them_told_all_the_same(study, monkeypatch):
    plan = make_plan(study)
    (job,) = pending_jobs(study, plan)
    monkeypatch.setattr("ssl_zoo.grid.run.write_failure", full)
    fail(study, job, "OSError: No space left on device")
    outcome = gather(study, plan, plan, [job], {job.name: "OSError: No space left on device"}, STAGES)
    assert len(outcome.failed) == len(plan.cells) == 4
    assert set(outcome.failed.values()) == {"OSError: No space left on device"}


def test_tables_that_cannot_be_written_are_a_failure_and_not_the_end(study, monkeypatch):
    monkeypatch.setattr(grid_experiment, "write_tables", full)
    plan = make_plan(study)
    outcome = gather(study, plan, plan, [], {}, STAGES)
    assert outcome.failed == {"results.csv and predictions.parquet": "No space left on device; run again to write them"}


def test_a_job_that_goes_on_leaves_out_the_cells_that_are_done_and_keeps_those_that_failed(study):
    (job,) = pending_jobs(study, make_plan(study))
    write_cell(study.run, job.cells[0], {"seconds": 1.0, "cohorts": {}}, np.arange(3), np.ones((3, 3)))
    write_failure(study.run, job.cells[1], "it broke")
    assert left_of(study, job).cells == job.cells[1:]
    fail(study, dataclasses.replace(job, cells=job.cells[1:]), "the worker died")
    assert set(finished(study.run, job.cells)[1].values()) == {"the worker died"}


def passes(study):
    """What a rerun does of the cells, in this process: its outcome, and the cells that it had to do."""
    plan = make_plan(study)
    jobs = [left_of(study, job) for job in pending_jobs(study, plan)]
    for job in jobs:
        do_job(study, job, "cpu", lambda done, line: None, lambda: False)
    return gather(study, plan, plan, jobs, {}, STAGES), [cell.key for job in jobs for cell in job.cells]


@pytest.mark.parametrize("damage", ["a record cut off", "predictions cut off", "no predictions"])
def test_damaged_cells_are_done_again_by_reruns_until_the_study_is_whole(study, damage):
    outcome, keys = passes(study)
    assert (outcome.done, outcome.failed) == (4, {})
    whole = ssl_zoo.load_results(study.run).drop(columns="seconds"), ssl_zoo.load_predictions(study.run)
    path = study.run / "cells" / f"{keys[0]}.{'json' if 'record' in damage else 'npz'}"
    if damage == "no predictions":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    (study.run / "results.csv").unlink()
    if damage == "predictions cut off":  # found when they are gathered
        outcome, again = passes(study)
        assert (outcome.done, again) == (3, [])
        assert [why.startswith(f"{path}: broken") for why in outcome.failed.values()] == [True]
    outcome, again = passes(study)
    assert (outcome.done, outcome.failed, again) == (4, {}, keys[:1])
    same((ssl_zoo.load_results(study.run).drop(columns="seconds"), ssl_zoo.load_predictions(study.run)), whole)


def test_a_damaged_cell_of_a_job_that_is_lost_has_the_reason_of_the_job(study):
    (job,) = pending_jobs(study, make_plan(study))
    for cell, ending in zip(job.cells, (".json", ".npz"), strict=False):
        write_cell(study.run, cell, {"seconds": 1.0, "cohorts": {}}, np.arange(3), np.ones((3, 3)))
        (study.run / "cells" / f"{cell.key}{ending}").write_text("{")
    (study.run / "cells" / f"{job.cells[1].key}.npz").unlink()
    assert left_of(study, job).cells == job.cells
    fail(study, job, "the worker died")
    assert finished(study.run, job.cells)[1] == {cell.key: "the worker died" for cell in job.cells}


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no SIGUSR1 on this system")
def test_a_worker_that_is_asked_to_stop_before_it_listens_was_interrupted_and_did_not_fail(study):
    worker = Worker(study, 0, "cpu")
    cell = Cell(Init("random", "resnet10t"), "linear", 0.5, 0, 0, "0" * 16)
    os.kill(worker.process.pid or 0, signal.SIGUSR1)
    worker.start(Job("cells", 1.0, cells=(cell,)))
    worker.process.join(10)
    assert worker.messages() == [("interrupted",)]
    worker.stop()


@pytest.mark.slow
def test_a_command_killed_ten_times_ends_with_the_numbers_of_an_undisturbed_one(finished_study, experiment, command):
    moments = random.Random(0)
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-m", "ssl_zoo", "run", str(experiment)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moments.uniform(4, 20))
        process.kill()
        process.wait()
    said = command("run", experiment)
    assert said.returncode == 0, said.stderr
    same(tables(experiment), tables(finished_study[0]))
    cells = list((experiment.parent / "runs" / "study" / "cells").glob("*.json"))
    assert len(cells) == 12


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the workers through /proc")
def test_workers_killed_ten_times_fail_their_jobs_alone_and_reruns_complete(finished_study, experiment, command):
    assert command("frames", experiment).returncode == 0  # a scan whose reader is killed is another matter
    moments = random.Random(1)
    kills = 0
    while kills < KILLS:
        with subprocess.Popen(
            [sys.executable, "-m", "ssl_zoo", "run", str(experiment)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and kills < KILLS:
                time.sleep(moments.uniform(1, 6))
                if workers := workers_of(process.pid):
                    os.kill(moments.choice(workers), signal.SIGKILL)
                    kills += 1
            process.wait()
        if process.returncode == 0:  # all is done before the tenth: begin again
            shutil.rmtree(experiment.parent / "runs" / "study" / "cells")
    said = command("run", experiment)
    assert said.returncode == 0, said.stderr
    same(tables(experiment), tables(finished_study[0]))


def workers_of(process):
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    except OSError:
        return []


def in_namespace(mounts, arguments):
    """Run the command with mounts of its own, which go with it."""
    quoted = " ".join(f"'{word}'" for word in (sys.executable, "-m", "ssl_zoo", *map(str, arguments)))
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mounts} && exec {quoted}"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def can_mount():
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("disk", ["full", "read-only"])
def test_cells_that_the_disk_takes_no_more_fail_with_the_reason_and_a_rerun_completes(
    finished_study, experiment, command, disk
):
    if not can_mount():
        pytest.skip("only root may mount a small disk")
    assert command("pretrain", experiment).returncode == 0
    cells = experiment.parent / "runs" / "study" / "cells"
    cells.mkdir()
    mount = {
        "full": f"mount -t tmpfs -o size=12k none '{cells}'",
        "read-only": f"mount -t tmpfs -o ro none '{cells}'",
    }[disk]
    said = in_namespace(mount, ["run", experiment])
    assert said.returncode == 1, said.stdout + said.stderr
    reason = {"full": "No space left on device", "read-only": "Read-only file system"}[disk]
    assert said.stderr.count("failed:") >= 6
    assert reason in said.stderr
    assert command("run", experiment).returncode == 0
    same(tables(experiment), tables(finished_study[0]))


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a worker's memory through prlimit")
def test_cells_that_do_not_fit_into_memory_fail_with_the_reason_and_a_rerun_completes(
    finished_study, experiment, command
):
    import resource

    assert command("pretrain", experiment).returncode == 0
    arguments = [sys.executable, "-m", "ssl_zoo", "run", str(experiment), "compute.workers=1"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        limited = set()
        cells = experiment.parent / "runs" / "study" / "cells"
        while process.poll() is None:
            for worker in workers_of(process.pid):
                if worker not in limited and list(cells.glob("*.json")):
                    used = int(Path(f"/proc/{worker}/statm").read_text().split()[0]) * resource.getpagesize()
                    resource.prlimit(worker, resource.RLIMIT_AS, (used, used))
                    limited.add(worker)
            time.sleep(0.01)
        _, errors = process.communicate(timeout=60)
    assert limited
    assert process.returncode == 1, errors
    assert "memory" in errors
    assert command("run", experiment).returncode == 0
    same(tables(experiment), tables(finished_study[0]))


def test_a_cell_of_numbers_that_are_none_fails_with_the_reason(study, monkeypatch):
    from ssl_zoo.grid import work

    found = [name for name in ("build_encoder", "cached_features") if hasattr(work, name)]
    assert found
    plan = make_plan(study)
    (job,) = pending_jobs(study, plan)
    broken = dataclasses.replace(study, images=study.images)
    monkeypatch.setattr("ssl_zoo.transfer.features.extract_features", lambda *_, **__: np.full((30, 8), np.nan))
    for module in ("ssl_zoo.grid.work", "ssl_zoo.grid.probing", "ssl_zoo.grid.features"):
        if module in sys.modules and hasattr(sys.modules[module], "extract_features"):
            monkeypatch.setattr(f"{module}.extract_features", lambda *_, **__: np.full((30, 8), np.nan))
    work.do_job(broken, job, "cpu", lambda done, line: None, lambda: False)
    done, failed = finished(study.run, plan.cells)
    assert not done
    assert len(failed) == 4
    assert all("finite" in reason or "NaN" in reason for reason in failed.values())


def test_what_decides_a_rerun_is_what_is_on_disk(study):
    """A failed cell is tried again by a plain rerun."""
    plan = make_plan(study)
    for cell in plan.cells:
        write_failure(study.run, cell, "it broke")
    (job,) = pending_jobs(study, plan)
    assert set(job.cells) == set(plan.cells)


def test_words_from_tables_are_no_formulas_in_the_results_and_come_back_as_they_were(study):
    """Names of encoder folders and of cohorts are the user's, or whoever made the table."""
    init = Init("=cmd|'/c calc'!A1", "resnet10t")
    cell = Cell(init, "linear", 0.5, 0, 0, "0" * 16)
    cohorts = {
        name: {"f1_macro": -0.5, "precision_weighted": 0.5} for name in ("@internal", "-external", "+1", "'quoted")
    }
    write_cell(study.run, cell, {"seconds": 1.0, "cohorts": cohorts}, np.arange(3), np.ones((3, 3)))
    write_tables(study.run, "study", [cell], study.planes.table, list(study.planes.classes))
    raw = pd.read_csv(study.run / "results.csv", dtype=str)
    assert not raw[["init", "cohort"]].stack().str.startswith(("=", "+", "-", "@")).any()
    back = ssl_zoo.load_results(study.run)
    assert back["cohort"].tolist() == list(cohorts)
    assert set(back["init"]) == {init.name}
    assert set(back["f1_macro"]) == {-0.5}
