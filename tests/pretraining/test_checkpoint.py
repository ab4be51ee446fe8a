"""A checkpoint is whole or it is not used; whatever happens while one is written, the one before stays."""

from __future__ import annotations

import os
import resource
import signal

import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.training.checkpoint import newest_checkpoint, save_checkpoint


def state(value, size=20_000):
    return {"method": {"weight": torch.full((size,), float(value))}, "history": [{"step": 1, "loss": 0.5}]}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_checkpoint_wins_and_one_before_it_is_kept(tmp_path):
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, state(step))
    assert names(tmp_path) == ["step-000000002.pt", "step-000000003.pt"]
    found = newest_checkpoint(tmp_path)
    assert found["step"] == 3
    assert found["history"] == [{"step": 1, "loss": 0.5}]
    assert torch.equal(found["method"]["weight"], torch.full((20_000,), 3.0))


def test_without_a_checkpoint_there_is_none(tmp_path):
    assert newest_checkpoint(tmp_path / "nowhere") is None


def flipped(place):
    def damage(content):
        place_in = int(place * len(content))
        return content[:place_in] + bytes([content[place_in] ^ 255]) + content[place_in + 1 :]

    return damage


DAMAGE = {
    "empty": lambda content: b"",
    "begun": lambda content: content[:100],
    "half": lambda content: content[: len(content) // 2],
    "nearly whole": lambda content: content[:-1],
    "zeros": lambda content: bytes(len(content)),
    "a hole of zeros": lambda content: content[:30_000] + bytes(4096) + content[34_096:],
    "one byte of the weights": flipped(0.5),
    "one byte of the structure": flipped(0.001),
    "one byte of the directory": flipped(0.999),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_passed_over_and_named(tmp_path, damage):
    save_checkpoint(tmp_path, 1, state(1))
    newest = save_checkpoint(tmp_path, 2, state(2))
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(UserWarning, match="step-000000002.pt: torn checkpoint passed over"):
        found = newest_checkpoint(tmp_path)
    assert found["step"] == 1
    assert torch.equal(found["method"]["weight"], torch.full((20_000,), 1.0))


def test_where_all_are_damaged_there_is_none(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state(step)).write_bytes(b"")
    with pytest.warns(UserWarning, match="torn") as told:
        assert newest_checkpoint(tmp_path) is None
    assert len(told) == 2


@pytest.mark.parametrize("room", [100, 50_000])
def test_a_full_disk_is_told_and_leaves_the_newest_valid_checkpoint(tmp_path, room):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, state(step))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))  # the system refuses to write beyond, as a full disk
    try:
        with pytest.raises(UserError, match=r"step-000000003.pt: the checkpoint cannot be written \(File too large\)"):
            save_checkpoint(tmp_path, 3, state(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == ["step-000000001.pt", "step-000000002.pt"]
    assert newest_checkpoint(tmp_path)["step"] == 2


def test_an_error_that_is_not_the_disks_is_not_called_so(tmp_path):
    with pytest.raises(Exception, match="pickle") as told:
        save_checkpoint(tmp_path, 1, {"wrong": lambda: None})
    assert not isinstance(told.value, UserError)
    assert names(tmp_path) == []


def killed(action):
    """Run `action` in a forked process; the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def test_a_process_killed_half_way_through_a_checkpoint_leaves_the_one_before(tmp_path):
    save_checkpoint(tmp_path, 1, state(1))

    def die_after_50_kb():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        save_checkpoint(tmp_path, 2, state(2))

    assert killed(die_after_50_kb) == signal.SIGXFSZ
    assert [name[:5] for name in names(tmp_path)] == [".tmp-", "step-"]
    assert newest_checkpoint(tmp_path)["step"] == 1
    save_checkpoint(tmp_path, 2, state(2))
    assert names(tmp_path) == ["step-000000001.pt", "step-000000002.pt"]


def test_a_process_killed_between_writing_and_naming_leaves_the_one_before(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, 1, state(1))
    monkeypatch.setattr(os, "replace", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    assert killed(lambda: save_checkpoint(tmp_path, 2, state(2))) == signal.SIGKILL
    assert newest_checkpoint(tmp_path)["step"] == 1
