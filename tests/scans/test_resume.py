"""A build of a store that is stopped in any way, and started again."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from ssl_zoo.errors import UserError
from ssl_zoo.scans import frames, ingest
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.reader import MiscountedScan, UnreadableScan
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.stacks import StackReader
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.scans.table import Scans, read_scans
from ssl_zoo.scans.workers import Died

N_SCANS = 8
SLOWLY = """
import os
log = os.environ.get("DECODE_LOG")
if log:
    import time
    from ssl_zoo.scans import ingest
    real = ingest._decode
    def slowly(task, *more):
        time.sleep(0.2)
        with open(log, "a") as handle:
            handle.write(task.plan.scan + "\\n")
        return real(task, *more)
    ingest._decode = slowly
"""


@pytest.fixture
def cohort(tmp_path, make_video) -> Scans:
    for number in range(N_SCANS):
        make_video(tmp_path / f"scans/{number}.mp4", 20 + number)
    (tmp_path / "scans/broken.mp4").write_bytes(b"no video")
    return read_scans(tmp_path / "scans")


def build(scans: Scans, out: Path, workers: int = 1, **more) -> FrameStore:
    settings = {"sampler": SamplerSettings("uniform", per_scan=6), "size": 24} | more
    return build_store(scans, out, workers=workers, progress=False, **settings)


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The scans that are decoded in this process, in that order."""
    names: list[str] = []
    real = ingest._decode

    def watched(task, *more):
        names.append(task.plan.scan)
        return real(task, *more)

    monkeypatch.setattr(ingest, "_decode", watched)
    return names


def same_store(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def stop_after(monkeypatch, n_done: int) -> None:
    """Has the next build interrupted when it has so many results; one more scan is decoded then."""
    real = frames.ingest

    def cut_short(*given, **more):
        for place, result in enumerate(real(*given, **more)):
            if place == n_done:
                monkeypatch.setattr(frames, "ingest", real)
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(frames, "ingest", cut_short)


def stopped(monkeypatch, scans: Scans, out: Path, n_done: int = 3, **more) -> Path:
    """A build that was interrupted: the folder of its parts."""
    stop_after(monkeypatch, n_done)
    with pytest.raises(KeyboardInterrupt):
        build(scans, out, **more)
    assert not out.exists()
    return out.parent / f".{out.name}.parts"


def test_what_is_done_is_not_done_again_and_the_store_is_the_same_to_the_byte(tmp_path, cohort, decoded, monkeypatch):
    build(cohort, tmp_path / "whole")
    decoded.clear()
    parts = stopped(monkeypatch, cohort, tmp_path / "store")
    assert decoded == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]
    assert sorted(path.name for path in parts.glob("*.json")) == ["0.json", "1.json", "2.json", "3.json"]
    decoded.clear()
    monkeypatch.setattr(frames, "make_plans", None)  # nor is it planned again
    build(cohort, tmp_path / "store")
    assert decoded == ["4.mp4", "5.mp4", "6.mp4", "7.mp4"]
    assert same_store(tmp_path / "store", tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans", "store", "whole"]


@pytest.mark.parametrize(
    ("torn", "left", "again"),
    [
        ("3.json", -100, [3]),
        ("1.json", -100, [1]),
        ("store/frames.npy", 128 + 15 * 24 * 24, [2, 3]),
        ("plans.npz", 9, []),
    ],
)
def test_a_torn_part_counts_as_none(tmp_path, cohort, decoded, monkeypatch, torn, left, again):
    build(cohort, tmp_path / "whole")
    parts = stopped(monkeypatch, cohort, tmp_path / "store")
    (parts / torn).write_bytes((parts / torn).read_bytes()[:left])
    decoded.clear()
    build(cohort, tmp_path / "store")
    assert decoded == [f"{number}.mp4" for number in [*again, 4, 5, 6, 7]]
    assert same_store(tmp_path / "store", tmp_path / "whole")


def test_a_changed_byte_counts_as_torn(tmp_path, cohort, decoded, monkeypatch):
    build(cohort, tmp_path / "whole")
    pixels = stopped(monkeypatch, cohort, tmp_path / "store") / "store/frames.npy"
    content = bytearray(pixels.read_bytes())
    content[500] ^= 1
    pixels.write_bytes(content)
    decoded.clear()
    build(cohort, tmp_path / "store")
    assert decoded == ["0.mp4", "4.mp4", "5.mp4", "6.mp4", "7.mp4"]
    assert same_store(tmp_path / "store", tmp_path / "whole")


def test_scans_with_fewer_or_more_frames_than_planned_are_closed_up(tmp_path, cohort, decoded, monkeypatch):
    """A plan for fewer frames than there are, one for none that can be decoded; in one run, and in two."""
    real = frames.make_plans

    def other_plans(*given, **more):
        plans, skipped = real(*given, **more)
        plans[2] = dataclasses.replace(plans[2], indices=plans[2].indices[:2], times=plans[2].times[:2])
        return plans, skipped

    honest = ingest._images

    def images(reader, indices, *more):
        if reader.path.stem == "2" and len(indices) == 2:
            raise MiscountedScan("more than announced")
        if reader.path.stem == "4":
            raise UnreadableScan("is damaged")
        return honest(reader, indices, *more)

    build(cohort, tmp_path / "whole")
    whole = FrameStore.open(tmp_path / "whole")
    monkeypatch.setattr(frames, "make_plans", other_plans)
    monkeypatch.setattr(ingest, "_images", images)
    for out in (tmp_path / "one", tmp_path / "two"):
        if out.name == "two":
            stopped(monkeypatch, cohort, out, n_done=5)
            decoded.clear()
        store = build(cohort, out)
        left = (whole.index["scan_id"] != "4").to_numpy()
        np.testing.assert_array_equal(store.frames, whole.frames[left])
        assert store.index["frame"].tolist() == whole.index.loc[left, "frame"].tolist()
        assert (store.mean, store.std) != (whole.mean, whole.std)
        assert store.mean == pytest.approx(store.frames.mean() / 255, abs=1e-9)
        assert [entry["scan"] for entry in store.skipped] == ["4.mp4", "broken.mp4"]
    assert decoded == ["6.mp4", "7.mp4"]


def test_parts_of_other_settings_or_scans_are_not_used(tmp_path, cohort, decoded, monkeypatch, make_video):
    stopped(monkeypatch, cohort, tmp_path / "store")
    decoded.clear()
    stopped(monkeypatch, cohort, tmp_path / "store", size=32)
    assert decoded[0] == "0.mp4"
    make_video(cohort.root / "0.mp4", 30)
    decoded.clear()
    build(read_scans(cohort.root), tmp_path / "store", size=32)
    assert decoded == [f"{number}.mp4" for number in range(N_SCANS)]


def test_a_broken_scan_is_told_of_once_it_was_found_also_after_a_stop(tmp_path, cohort, monkeypatch):
    stopped(monkeypatch, cohort, tmp_path / "store")
    store = build(cohort, tmp_path / "store")
    assert [entry["scan"] for entry in store.skipped] == ["broken.mp4"]


def test_the_store_that_was_there_stays_whole_until_the_new_one_is(tmp_path, cohort, monkeypatch):
    build(cohort, tmp_path / "store")
    before = (tmp_path / "store/frames.npy").read_bytes()
    stop_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        build(cohort, tmp_path / "store", size=32)
    assert (tmp_path / "store/frames.npy").read_bytes() == before
    assert build(cohort, tmp_path / "store", size=32).frames.shape[1:] == (32, 32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans", "store"]


def test_a_build_that_never_had_pixels_leaves_nothing_behind(tmp_path, cohort, monkeypatch):
    monkeypatch.setattr(frames, "make_plans", lambda *given, **more: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build(cohort, tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


def test_a_build_of_scans_that_are_all_damaged_leaves_nothing_behind(tmp_path, cohort, monkeypatch):
    def damaged(*given):
        raise UnreadableScan("is damaged")

    monkeypatch.setattr(ingest, "_images", damaged)
    with pytest.raises(UserError, match=r"none of the 9 scans can be read; '0\.mp4' is damaged"):
        build(cohort, tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["scans"]


def test_two_builds_of_one_store_do_not_meet(tmp_path, cohort):
    (tmp_path / ".store.parts").mkdir()
    with (
        FileLock(tmp_path / ".store.parts/lock"),
        pytest.raises(UserError, match="another process is building this store"),
    ):
        build(cohort, tmp_path / "store")
    assert len(build(cohort, tmp_path / "store")) == 6 * N_SCANS


def test_after_kill_9_the_same_command_goes_on_and_writes_the_same_bytes(tmp_path, cohort, decoded):
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(SLOWLY)
    log = tmp_path / "log"
    log.touch()
    command = [sys.executable, "-m", "ssl_zoo", "frames", str(cohort.root), "--out", str(tmp_path / "store")]
    command += ["--per-scan", "6", "--size", "24", "clip_length=1", "--workers", "2", "--quiet"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "patch"), "DECODE_LOG": str(log)}
    running = subprocess.Popen(command, env=environment, cwd=tmp_path)
    parts = tmp_path / ".store.parts"
    deadline = time.monotonic() + 60
    while len(list(parts.glob("*.json"))) < 3:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    time.sleep(1)  # the processes that decode end with the scan they are at
    begun = log.read_text().splitlines()
    assert 3 <= len(begun) < N_SCANS
    done = {f"{path.stem}.mp4" for path in parts.glob("*.json")}
    assert not (tmp_path / "store").exists()
    build(cohort, tmp_path / "store")
    assert set(decoded) == {f"{number}.mp4" for number in range(N_SCANS)} - done
    decoded.clear()
    build(cohort, tmp_path / "whole")
    assert same_store(tmp_path / "store", tmp_path / "whole")
    assert not parts.exists()


def without_h5py(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)


def failing_disk(monkeypatch) -> None:
    real = StackReader._pictures

    def fail(self, wanted):
        yield from itertools.islice(real(self, wanted), 2)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(StackReader, "_pictures", fail)


def little_memory(monkeypatch) -> None:
    def fail(*given):
        raise MemoryError

    monkeypatch.setattr(StackReader, "_pictures", fail)


def killer(monkeypatch) -> None:
    """Has the process killed that opens `z.h5`."""

    def mapper(function, tasks, lost):
        return (lost(task, Died(-signal.SIGKILL)) if "z.h5" in repr(task) else function(task) for task in tasks)

    monkeypatch.setattr(frames, "processes", lambda workers, n_tasks: contextlib.nullcontext(mapper))


@pytest.fixture
def with_stack(cohort) -> Scans:
    """One scan more, which is no video."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(cohort.root / "z.h5", "w") as file:
        file["frames"] = np.random.default_rng(0).integers(0, 256, (9, 24, 24), np.uint8)
    return read_scans(cohort.root)


@pytest.mark.parametrize("circumstance", [without_h5py, failing_disk, little_memory, killer])
def test_a_scan_that_only_circumstances_keep_out_is_tried_again_and_comes_in_when_they_have_changed(
    tmp_path, with_stack, decoded, circumstance
):
    with pytest.MonkeyPatch.context() as patch:
        circumstance(patch)
        store = build(with_stack, tmp_path / "store")
        assert [(entry["scan"], entry.get("again", False)) for entry in store.skipped] == [
            ("broken.mp4", False),
            ("z.h5", True),
        ]
        built = (tmp_path / "store/store.json").stat().st_mtime_ns
        decoded.clear()
        build(with_stack, tmp_path / "store")
    assert decoded == []
    assert (tmp_path / "store/store.json").stat().st_mtime_ns == built
    healed = build(with_stack, tmp_path / "store")
    assert [entry["scan"] for entry in healed.skipped] == ["broken.mp4"]
    assert healed.fingerprint != store.fingerprint
    decoded.clear()
    build(with_stack, tmp_path / "store")
    assert decoded == []
    build(with_stack, tmp_path / "whole")
    assert same_store(tmp_path / "store", tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scans", "store", "whole"]


def test_a_store_in_a_place_that_is_not_written_to_is_opened_as_it_is(tmp_path, with_stack, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        without_h5py(patch)
        built = build(with_stack, tmp_path / "store")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(frames, "unfinished", None)
    assert build(with_stack, tmp_path / "store").skipped == built.skipped


def test_a_build_that_goes_on_tries_again_what_its_plans_lack(tmp_path, with_stack, decoded, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        without_h5py(patch)
        stopped(monkeypatch, with_stack, tmp_path / "store")
        decoded.clear()
        stopped(monkeypatch, with_stack, tmp_path / "store", n_done=5)
        assert decoded == ["4.mp4", "5.mp4"]
    decoded.clear()
    store = build(with_stack, tmp_path / "store")
    assert decoded == [*(f"{number}.mp4" for number in range(N_SCANS)), "z.h5"]
    assert [entry["scan"] for entry in store.skipped] == ["broken.mp4"]


def test_a_scan_that_a_failing_disk_broke_off_is_tried_again_when_the_build_goes_on(
    tmp_path, with_stack, decoded, monkeypatch
):
    real = ingest._images

    def fail(reader, *more):
        if reader.path.name == "1.mp4":
            raise UnreadableScan("cannot be read") from OSError(errno.EIO, "Input/output error")
        return real(reader, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "_images", fail)
        stopped(monkeypatch, with_stack, tmp_path / "store")
    decoded.clear()
    store = build(with_stack, tmp_path / "store")
    assert decoded == ["1.mp4", *(f"{number}.mp4" for number in range(4, N_SCANS)), "z.h5"]
    assert [entry["scan"] for entry in store.skipped] == ["broken.mp4"]
