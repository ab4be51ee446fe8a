"""What the command does for a cluster, without one: what it submits, whom it refuses, what it makes of results.

`tests/slurm` runs whole studies through a real Slurm.
"""

from __future__ import annotations

import dataclasses
import os
import stat

import pytest

from ssl_zoo import cli
from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import read_json, write_json
from ssl_zoo.grid import slurm
from ssl_zoo.grid.cells import finished
from ssl_zoo.grid.jobs import pending_jobs
from ssl_zoo.grid.only_runner import only_runner
from ssl_zoo.grid.outline import at_work
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.shared_queue import SharedQueue, mark_of, read_order, write_order
from ssl_zoo.grid.together import run_together

SMALL = (
    "compute.executor=slurm",
    "compute.slurm.tasks=3",
    "compute.slurm.memory_gb=1.5",
    "compute.slurm.lost_after_s=5",
)


@pytest.fixture
def study(study_of, tmp_path):
    study = study_of(*SMALL)
    (tmp_path / "experiment.yaml").write_text("")
    return study


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """`sbatch` and `squeue` that say what a test wants."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(**words):
        for name in ("sbatch", "srun", "squeue"):
            path = folder / name
            path.write_text(f"#!/bin/sh\n{words.get(name, 'true')}\n")
            path.chmod(path.stat().st_mode | stat.S_IEXEC)

    write()
    return write


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(slurm, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(slurm, "ASK_EVERY_S", 0.0)


def order_of(study):
    jobs = pending_jobs(study, make_plan(study))
    write_order(study.run, "order", jobs)
    write_json(study.run / ".queue" / "current.json", {"order": "order", "job": "7"})
    return jobs


def test_one_array_with_the_experiments_partition_gpus_time_and_memory(study, commands):
    commands(sbatch="echo Submitted batch job 42")
    keys = {"partition": "gpu", "gpus": 2, "minutes": 90, "warning_s": 30, "options": {"constraint": "a100"}}
    experiment = study.experiment
    config = dataclasses.replace(experiment.compute.slurm, **keys)
    experiment = dataclasses.replace(
        experiment, compute=dataclasses.replace(experiment.compute, slurm=config, threads=4)
    )
    assert slurm.submit(experiment, study.run, "order", 3) == "42"
    text = (study.run / ".queue" / "order" / "slurm" / "42_submission.sh").read_text()
    for option in (
        *("array=0-2%3", "partition=gpu", "gpus-per-node=2", "cpus-per-task=4", "mem=1536M", "time=90"),
        *("signal=USR1@30", "constraint=a100", "requeue", "job-name=ssl-zoo-study"),
    ):
        assert f"#SBATCH --{option}\n" in text, option


def test_what_sbatch_says_against_it_is_told(study, commands):
    commands(sbatch="echo sbatch: error: invalid partition specified: gpuu >&2; exit 1")
    with pytest.raises(UserError, match=r"sbatch refuses the job array: .*invalid partition"):
        slurm.submit(study.experiment, study.run, "order", 3)


def test_a_machine_without_slurm_is_refused_before_any_work(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"compute\.executor: 'slurm' .* no sbatch"):
        slurm.check_slurm()


def test_tasks_find_the_jobs_that_were_handed_out_and_no_others(study, study_of):
    jobs = order_of(study)
    found = read_order(study.run, "order", study)
    assert [(job.name, job.cells, job.needs, job.cost) for job in found] == [
        (job.name, job.cells, job.needs, job.cost) for job in jobs
    ]
    assert [job.training for job in found] == [job.training for job in jobs]
    with pytest.raises(UserError, match="the experiment has changed since"):
        read_order(study.run, "order", study_of(*SMALL, "transfer.finetune.lr=0.5"))


def test_a_task_of_an_order_that_holds_no_more_takes_no_job(study):
    jobs = order_of(study)
    queue = slurm.OrderedQueue(study.run, "order", jobs, "me", 60)
    assert queue.take() is not None
    assert not queue.is_over()
    write_json(study.run / ".queue" / "current.json", {"order": "another", "job": None})
    assert queue.take() is None
    assert queue.is_over()


@pytest.fixture
def busy(study, experiment):
    """`(queue, job)`: a task of a cluster at work in the experiment's run folder."""
    run = load_experiment(experiment, SMALL).run_folder
    (run / ".queue" / "order").mkdir(parents=True)
    (run / "experiment.yaml").write_text(experiment.read_text())
    queue = SharedQueue(run, "order", [job := order_of(study)[0]], "7_0 on node3", 60)
    assert queue.take() is not None
    return queue, job


def test_a_folder_where_tasks_are_at_work_is_left_to_the_same_experiment_on_slurm(experiment, busy, commands):
    def take(*overrides):
        with only_runner(load_experiment(experiment, overrides)):
            pass

    queue, job = busy
    queue.progress(job, 0.25, "loss 2")
    queue._tell(mark_of(job))
    take(*SMALL, "compute.workers=3", "compute.slurm.tasks=9")
    with pytest.raises(UserError, match=r"7_0 on node3 is at work in this run folder; wait"):
        take()
    with pytest.raises(UserError, match="under other settings"):
        take(*SMALL, "transfer.finetune.lr=0.5")
    (claim,) = at_work(load_experiment(experiment).run_folder)
    assert (claim.job, claim.share, claim.line) == (job.name, 0.25, "loss 2")
    queue.end(job)
    take()


@pytest.mark.parametrize("name", ["run", "pretrain", "evaluate", "audit", "frames", "views"])
def test_no_command_changes_a_folder_where_tasks_are_at_work(experiment, busy, commands, monkeypatch, capsys, name):
    run = load_experiment(experiment).run_folder
    before = {path for path in run.rglob("*") if ".queue" not in path.parts}
    monkeypatch.setattr("sys.argv", ["ssl-zoo", name, str(experiment), "planes.seed=1"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "7_0 on node3 is at work in this run folder; wait" in capsys.readouterr().err
    assert {path for path in run.rglob("*") if ".queue" not in path.parts} <= before | {run / ".lock"}


def test_no_launch_of_several_processes_changes_a_folder_where_tasks_are_at_work(experiment, busy, commands):
    loaded = load_experiment(experiment, ["planes.seed=1"])
    with pytest.raises(UserError, match=r"7_0 on node3 is at work in this run folder; wait"):
        run_together(loaded, progress=False)
    assert not (loaded.run_folder / "planes").exists()


def hand_in(monkeypatch, study, jobs, *, done=(), failed=(), there=True):
    """Let tasks leave results behind as soon as the jobs are handed out."""

    def submit(experiment, run, order, tasks):
        folder = run / ".queue" / order
        for job in jobs:
            error = "it broke" if job.name in failed else ""
            if job.name in done or error:
                said = {"job": job.name, "seconds": 1.0, "error": error, "by": "7_0 on node1"}
                write_json(folder / f"{mark_of(job)}.{'failed' if error else 'done'}", said)
        return "7"

    monkeypatch.setattr(slurm, "submit", submit)
    monkeypatch.setattr(slurm, "is_there", lambda array: there)


def test_cells_of_an_encoder_that_failed_on_the_cluster_are_recorded_with_the_reason(study, monkeypatch):
    jobs = pending_jobs(study, make_plan(study))
    training = next(job for job in jobs if job.training is not None)
    others = [job.name for job in jobs if job.needs is None and job != training]
    hand_in(monkeypatch, study, jobs, done=others, failed=[training.name])
    errors = slurm.run_on_slurm(study, jobs, progress=False)
    waiting = [job for job in jobs if job.needs]
    assert errors.keys() == {training.name, *(job.name for job in waiting)}
    _, failed = finished(study.run, [cell for job in waiting for cell in job.cells])
    assert set(failed.values()) == {f"needs {training.name}, which failed: it broke"}
    assert len(failed) == sum(len(job.cells) for job in waiting)
    assert read_json(study.run / ".queue" / "current.json")["job"] == "7"


def test_jobs_that_are_left_when_all_tasks_have_gone_are_told(study, monkeypatch):
    jobs = pending_jobs(study, make_plan(study))
    hand_in(monkeypatch, study, jobs, done=[job.name for job in jobs[:-1]], there=False)
    errors = slurm.run_on_slurm(study, jobs, progress=False)
    assert list(errors) == [jobs[-1].name]
    assert "Slurm's job 7 has ended before it" in errors[jobs[-1].name]


@pytest.mark.parametrize(
    ("squeue", "there"),
    [
        ("echo RUNNING", True),
        ("true", False),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", False),
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1", True),
    ],
)
def test_tasks_count_as_there_unless_slurm_says_otherwise(commands, squeue, there):
    commands(squeue=squeue)
    assert slurm.is_there("7") is there
