"""Several processes do together what one does alone."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from lightning_fabric import Fabric

from ssl_zoo.errors import UserError
from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.pretraining.processes import Launch, Processes, launch_of
from ssl_zoo.pretraining.trainer import pretrain
from ssl_zoo.scans.store import FrameStore
from tests.pretraining.short_runs import budget_of, history_of, same_weights, settings_of, weights

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_NTASKS": "8", "SLURM_PROCID": "3", "SLURM_STEP_ID": "0", "SLURM_NNODES": "2", "SLURM_LOCALID": "3"}


@pytest.mark.parametrize(
    ("environ", "launch"),
    [
        ({}, Launch()),
        (TORCHRUN, Launch(4, 2, "torchrun")),
        (TORCHRUN | SRUN, Launch(4, 2, "torchrun")),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}, Launch()),
        ({"WORLD_SIZE": "4"}, Launch()),
        (SRUN, Launch(8, 4, "slurm")),
        (SRUN | {"SLURM_NTASKS_PER_NODE": "4"}, Launch(8, 4, "slurm")),
        ({name: SRUN[name] for name in SRUN if name != "SLURM_STEP_ID"}, Launch()),  # in the batch script, not in srun
        (SRUN | {"SLURM_JOB_NAME": "interactive"}, Launch()),
        (SRUN | {"SLURM_NTASKS": "1", "SLURM_NNODES": "1"}, Launch()),
    ],
)
def test_how_a_process_was_started_is_read_from_its_environment(environ, launch):
    assert launch_of(environ) == launch


def test_an_uneven_number_of_processes_is_refused():
    with pytest.raises(UserError, match="5 processes do not divide into machines of 2"):
        launch_of(TORCHRUN | {"WORLD_SIZE": "5"})


def test_one_process_gets_back_what_it_gives():
    alone = Processes(cast(Fabric, None), 1)
    values = torch.arange(4.0)
    assert alone.gather(values) is values
    assert (alone.total([1.0, 2.0]), alone.largest(3.0), alone.mean(values[1]), alone.from_first("x")) == (
        [1.0, 2.0],
        3.0,
        1.0,
        "x",
    )
    assert (alone.is_first, alone.own(8).tolist()) == (True, [*range(8)])
    assert alone.own(8, parts=2).tolist() == [*range(8)]


def test_the_parts_of_several_processes_are_those_of_one():
    ranks = [Processes(cast(Fabric, SimpleNamespace(global_rank=rank)), 2) for rank in range(2)]
    assert [each.own(8).tolist() for each in ranks] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [each.own(8, parts=2).tolist() for each in ranks] == [[0, 1, 4, 5], [2, 3, 6, 7]]


RUNS = {
    "simclr": settings_of("simclr"),  # gathers embeddings, and has BatchNorm
    "byol": settings_of("byol"),  # has a teacher
    "mae": settings_of("mae", accumulate=2),  # draws in its forward pass, and passes in parts
}


def one_rank():
    """What each process of `start` runs: short runs of several methods, one after another."""
    torch.set_num_threads(1)
    store_path, out = sys.argv[1:]
    store, out, first = FrameStore.open(Path(store_path)), Path(out), os.environ["RANK"] == "0"
    try:
        pretrain(settings_of(batch_size=15), store, out / "e")
    except UserError as error:
        print(error)
    for name, settings in RUNS.items():
        pretrain(settings, store, out / name)
    # Only the second process hears the warning, in its third step; all stop, and all go on.
    asked = iter([False, False, not first, False])
    try:
        pretrain(settings_of("byol"), store, out / "cut", stop_requested=lambda: next(asked))
    except Interrupted as error:
        print(error)
    pretrain(settings_of("byol"), store, out / "cut")


def start(size, *arguments):
    """Run `one_rank` in `size` processes as torchrun would start them; what they print."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    program = "from tests.pretraining.test_processes import one_rank; one_rank()"
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error::UserWarning:torch", "-c", program, *map(str, arguments)],
            env=os.environ | {key: str(value) for key, value in (common | {"RANK": k, "LOCAL_RANK": k}).items()},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(size)
    ]
    told = [process.communicate(timeout=120) for process in processes]
    for process, (_, errors) in zip(processes, told, strict=True):
        assert process.returncode == 0, errors
    return [words.splitlines() for words, _ in told]


@pytest.fixture(scope="module")
def two(tmp_path_factory, store):
    """What two processes make: (folder, their words)."""
    out = tmp_path_factory.mktemp("two")
    return out, start(2, store.path, out)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_give_the_weights_of_one(tmp_path, store, two, name):
    pretrain(dataclasses.replace(RUNS[name], accumulate=1), store, tmp_path / "one")
    one, both = weights(tmp_path / "one"), weights(two[0] / name)
    for weight in one:
        torch.testing.assert_close(both[weight], one[weight], atol=1e-4, rtol=1e-4, msg=weight)
    for alone, shared in zip(history_of(tmp_path / "one"), history_of(two[0] / name), strict=True):
        assert shared == pytest.approx(alone, rel=1e-2)
    alone, shared = budget_of(tmp_path / "one"), budget_of(two[0] / name)
    for spent in ("frames_seen", "views_seen", "steps", "batch_size", "forward_passes", "megapixels_seen"):
        assert shared[spent] == alone[spent]
    assert (alone["devices"], shared["devices"]) == (1, 2)


@pytest.mark.slow
def test_a_warning_that_one_process_gets_stops_all_and_all_go_on_to_the_same_weights(two):
    folder, words = two
    assert [lines[1:] for lines in words] == [["byol: stopped at step 3 of 4 steps; it goes on from there"]] * 2
    assert same_weights(folder / "byol", folder / "cut")
    assert sorted(path.name for path in folder.iterdir()) == ["byol", "cut", "mae", "simclr"]


@pytest.mark.slow
def test_a_batch_that_does_not_divide_among_the_processes_is_refused(two):
    refusal = "pretrain.batch_size is 15 and does not divide into 2 processes with 1 equal parts each"
    assert [lines[0] for lines in two[1]] == [refusal] * 2
