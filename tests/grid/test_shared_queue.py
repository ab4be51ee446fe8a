"""Many processes share the jobs of a run folder: each job has one owner, and one that dies is missed."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ssl_zoo.grid.jobs import Job
from ssl_zoo.grid.shared_queue import SharedQueue, claims_of, mark_of

LOST_AFTER_S = 60.0
JOBS = [Job(f"job {k}", cost=float(k)) for k in range(20)]


@pytest.fixture
def run(tmp_path):
    (tmp_path / ".queue" / "order").mkdir(parents=True)
    return tmp_path


def queue_of(run, me, jobs=JOBS):
    return SharedQueue(run, "order", jobs, me, LOST_AFTER_S)


def silent(run, job, seconds=2 * LOST_AFTER_S):
    """Let the last claim on a job look as if its owner had been silent for so long."""
    path = max((run / ".queue" / "claims").glob(f"{mark_of(job)}.*"), key=lambda path: int(path.suffix[1:]))
    before = path.stat().st_mtime - seconds
    os.utime(path, (before, before))


def all_at_once(count, act):
    """`act(k)` in so many threads that start together; their results."""
    barrier = threading.Barrier(count)

    def go(k):
        barrier.wait()
        return act(k)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(go, range(count)))


def test_every_job_is_taken_once_by_many_that_take_at_the_same_time(run):
    queues = [queue_of(run, f"task {k}") for k in range(6)]

    def take_all(k):
        taken = []
        while (job := queues[k].take()) is not None:
            taken.append(job)
            queues[k].end(job)
        return taken

    taken = [job.name for some in all_at_once(6, take_all) for job in some]
    assert sorted(taken) == sorted(job.name for job in JOBS)
    assert all(queue.is_over() for queue in queues)


def test_a_job_of_one_that_lives_is_left_to_it_and_of_one_that_is_silent_goes_to_one_other(run):
    job = Job("long", 1.0)
    first = queue_of(run, "first", [job])
    assert first.take() == job
    others = [queue_of(run, f"other {k}", [job]) for k in range(6)]
    assert all_at_once(6, lambda k: others[k].take()) == [None] * 6
    silent(run, job)
    taken = all_at_once(6, lambda k: others[k].take())
    assert taken.count(job) == 1
    owner = others[taken.index(job)]
    assert not owner.has_lost(job)
    assert first.has_lost(job)
    assert not first.is_over()  # the owner may die as well
    owner.end(job)
    assert first.is_over()


def test_a_sign_of_life_keeps_a_job(run):
    job = Job("long", 1.0)
    first, other = queue_of(run, "first", [job]), queue_of(run, "other", [job])
    assert first.take() == job
    silent(run, job)
    first.progress(job, 0.5, "loss 3")
    first._beaten = float("-inf")  # as if some time had passed
    assert not first.is_over()
    assert other.take() is None
    (claim,) = claims_of(run, LOST_AFTER_S)
    assert (claim.job, claim.by, claim.share, claim.line) == ("long", "first", 0.5, "loss 3")


def test_a_job_that_is_given_up_is_taken_at_once(run):
    job = Job("long", 1.0)
    first, other = queue_of(run, "first", [job]), queue_of(run, "other", [job])
    assert first.take() == job
    first.put_back(job)
    assert claims_of(run, LOST_AFTER_S) == []
    assert other.take() == job


def test_cells_wait_for_their_encoder_and_none_waits_for_one_that_failed(run):
    jobs = [Job("encoder", 1.0), Job("cells", 9.0, needs="encoder"), Job("others", 1.0, needs="met already")]
    one, two = queue_of(run, "one", jobs), queue_of(run, "two", jobs)
    first, second = one.take(), two.take()
    assert {first.name, second.name} == {"encoder", "others"}
    assert one.take() is None
    two.end(second)
    assert two.take() is None
    assert not two.is_over()
    one.end(first, "" if first.name != "encoder" else "diverged")
    assert two.take() is None
    assert one.is_over()
    assert two.is_over()


def test_an_end_that_comes_between_look_and_claim_is_not_done_again(run):
    job = Job("long", 1.0)
    first, other = queue_of(run, "first", [job]), queue_of(run, "other", [job])
    other._look()
    first.end(first.take())
    assert not other._claim(mark_of(job))
    assert claims_of(run, LOST_AFTER_S) == []


def test_a_full_disk_lets_no_owner_look_dead(run, monkeypatch):
    job = Job("long", 1.0)
    first, other = queue_of(run, "first", [job]), queue_of(run, "other", [job])
    assert first.take() == job
    silent(run, job)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ssl_zoo.grid.shared_queue.write_json", full)
    first._beaten = float("-inf")
    first.is_over()
    assert other.take() is None
