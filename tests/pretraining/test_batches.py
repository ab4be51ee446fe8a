"""The parts of several processes are, together, the batch of one."""

from __future__ import annotations

import dataclasses
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ssl_zoo.pretraining.batches import Batches, batch_rows, read_rows
from ssl_zoo.pretraining.processes import Processes
from ssl_zoo.pretraining.spent import Memory
from tests.pretraining.short_runs import SETTINGS, settings_of


def batches_of(store, settings=SETTINGS, *, rank=0, size=1, recipe="asymmetric", with_scans=False):
    fabric = SimpleNamespace(device=torch.device("cpu"), global_rank=rank)
    return Batches(settings, store, recipe, Processes(fabric, size), with_scans=with_scans)


@pytest.mark.parametrize("size", [2, 4])
def test_the_parts_of_the_processes_are_the_whole_batch_without_overlap(store, size):
    whole = batches_of(store, with_scans=True).of_step(5)
    parts = [batches_of(store, rank=rank, size=size, with_scans=True).of_step(5) for rank in range(size)]
    for k, view in enumerate(whole.views):
        assert torch.equal(torch.cat([part.views[k] for part in parts]), view)
    assert torch.equal(torch.cat([part.scans for part in parts]), whole.scans)


def test_a_batch_is_a_function_of_seed_and_step_in_any_order(store):
    batches = batches_of(store)
    third, first = batches.of_step(3), batches.of_step(1)
    again = batches_of(store)
    assert all(map(torch.equal, again.of_step(1).views, first.views))
    assert all(map(torch.equal, again.of_step(3).views, third.views))
    other = batches_of(store, dataclasses.replace(SETTINGS, seed=1)).of_step(3)
    assert not torch.equal(other.views[0], third.views[0])


def test_the_second_view_shows_the_partner(store):
    # Frames that show nothing but the number of their scan.
    scan = store.index["scan_id"].factorize()[0]
    frames = np.broadcast_to((30 * scan)[:, None, None], store.frames.shape).astype(np.uint8)
    plain = {"jitter": 0.0, "blur": 0.0, "noise": 0.0, "solarise": 0.0}
    batches = batches_of(dataclasses.replace(store, frames=frames), settings_of(views=plain))
    first, second = batches.of_step(0).views
    middle = [view.flatten(1).median(1).values for view in (first, second)]  # [B]; the borders of a view are darker
    assert torch.allclose(*middle, atol=1e-4)
    assert len(set(middle[0].tolist())) == 8


def test_the_frames_and_scans_of_a_part_go_together(store):
    batch = batches_of(store, with_scans=True).of_step(2)
    rows = batch_rows(len(store), 16, 2, seed=0)
    assert batch.scans.tolist() == store.index["scan_id"].factorize()[0][rows].tolist()
    halves = batch.parts(2)
    assert [len(half.views[0]) for half in halves] == [8, 8]
    assert torch.equal(torch.cat([half.scans for half in halves]), batch.scans)
    assert torch.equal(torch.cat([half.views[1] for half in halves]), batch.views[1])


@pytest.mark.parametrize("colour", [(), (3,)])
def test_rows_of_a_file_are_those_of_the_array(tmp_path, colour):
    frames = np.random.default_rng(0).integers(0, 255, (20, 8, 8, *colour), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    rows = np.array([19, 0, 7, 7])
    np.testing.assert_array_equal(read_rows(frames, rows), frames[rows])
    np.testing.assert_array_equal(read_rows(mapped, rows), frames[rows])
    np.testing.assert_array_equal(read_rows(mapped[1::2], rows // 2), frames[1::2][rows // 2])


def test_a_file_that_is_too_short_is_told(tmp_path):
    np.save(tmp_path / "frames.npy", np.zeros((4, 8, 8), np.uint8))
    frames = np.load(tmp_path / "frames.npy", mmap_mode="r")
    os.truncate(tmp_path / "frames.npy", 128 + 3 * 64)
    with pytest.raises(EOFError, match=r"frames.npy: the file ends before frame 3"):
        read_rows(frames, np.array([0, 3]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of a part of a process's life")
def test_memory_grows_with_the_batch_and_not_with_the_store(tmp_path):
    frames = np.zeros((10_000, 128, 128), np.uint8)  # 156 MB
    np.save(tmp_path / "frames.npy", frames)
    del frames
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    memory = Memory(torch.device("cpu"))
    for rows in np.arange(10_000).reshape(100, 100):
        read_rows(mapped, rows)
    assert memory.peak_mb() < 20
