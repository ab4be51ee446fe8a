from __future__ import annotations

import sys

import numpy as np
import pytest

from ssl_zoo.scans.reader import UnreadableScan, open_scan
from tests.scans.numbered import picture

STACK = np.stack([picture(number) for number in range(20)])  # [20, 64, 96]


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is not installed here")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", ["grey", "one channel", "colour"])
def test_a_npy_stack_is_read_frame_by_frame(tmp_path, number, shape, order):
    stack = {"grey": STACK, "one channel": STACK[..., None], "colour": np.repeat(STACK[..., None], 3, axis=3)}[shape]
    np.save(tmp_path / "scan", np.asarray(stack, order=order))
    scan = open_scan(tmp_path / "scan.npy", fps=50)
    assert (len(scan), scan.width, scan.height) == (20, 96, 64)
    np.testing.assert_allclose(scan.times, np.arange(20) / 50)
    np.testing.assert_array_equal(scan.read(range(20)), STACK)
    np.testing.assert_array_equal(scan.read([19, 2, 2]), STACK[[19, 2, 2]])
    np.testing.assert_array_equal(scan.read([3], channels=3)[0], np.repeat(STACK[3][..., None], 3, axis=2))
    assert [number(image) for image in scan.read([4, 9], box=(192, 128))] == [4, 9]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((4, 8, 8), np.float32), r"holds float32 \[4, 8, 8\]; a stack is uint8"),
        (np.zeros((8, 8), np.uint8), r"uint8 \[8, 8\]"),
        (np.zeros((4, 8, 8, 2), np.uint8), r"uint8 \[4, 8, 8, 2\]"),
        (np.zeros((480, 640, 3), np.uint8), "looks like one picture in colour"),
        (np.zeros((0, 8, 8), np.uint8), r"uint8 \[0, 8, 8\]"),
    ],
)
def test_what_is_no_stack_is_named(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UnreadableScan, match=words):
        open_scan(tmp_path / "a.npy")


def test_nothing_is_ever_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    np.save(tmp_path / "trap.npy", np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(UnreadableScan, match=r"no readable \.npy file"):
        open_scan(tmp_path / "trap.npy")
    assert not (tmp_path / "sprung").exists()


def test_a_cut_off_stack_is_unreadable(tmp_path, h5py):
    np.save(tmp_path / "a.npy", STACK)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = STACK
    for name in ("a.npy", "a.h5"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UnreadableScan, match="is no readable"):
            open_scan(tmp_path / name)


def test_the_one_stack_of_an_hdf5_file_is_found(tmp_path, h5py):
    with h5py.File(tmp_path / "any name", "w") as file:
        file["info/times"] = np.arange(20.0)
        file.create_dataset("deep/er/scan", data=STACK, chunks=(1, 64, 96), compression="gzip")
    scan = open_scan(tmp_path / "any name")
    assert (len(scan), scan.width, scan.height, scan.decoder) == (20, 96, 64, "h5py")
    np.testing.assert_array_equal(scan.read([19, 2, 2]), STACK[[19, 2, 2]])


def test_an_hdf5_file_without_one_stack_is_named_with_what_it_holds(tmp_path, h5py):
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["times"] = np.arange(20.0)
    with pytest.raises(UnreadableScan, match=r"no stack \('times': float64 \[20\]\); a stack is uint8"):
        open_scan(tmp_path / "none.h5")
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["a"], file["b/c"] = STACK, STACK
    with pytest.raises(UnreadableScan, match="several stacks, which must be files of their own: a, b/c"):
        open_scan(tmp_path / "two.h5")


def test_an_hdf5_file_does_not_lead_to_other_files(tmp_path, h5py):
    (tmp_path / "secret").write_bytes(STACK.tobytes())
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["scan"] = STACK
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("scan", STACK.shape, np.uint8, external=[(str(tmp_path / "secret"), 0, STACK.nbytes)])
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(STACK.shape, np.uint8)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "scan", STACK.shape)
        file.create_virtual_dataset("scan", layout)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["scan"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "scan")
    for name, words in (("external", "in other files"), ("virtual", "in other files"), ("link", "no data set at all")):
        with pytest.raises(UnreadableScan, match=words):
            open_scan(tmp_path / f"{name}.h5")


def test_without_h5py_the_reason_says_what_to_install(tmp_path, h5py, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["frames"] = STACK
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UnreadableScan, match=r"pip install 'ssl_zoo\[hdf5\]'"):
        open_scan(tmp_path / "a.h5")
