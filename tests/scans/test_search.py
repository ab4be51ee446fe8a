from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans import search
from ssl_zoo.scans.search import find_scans
from ssl_zoo.scans.table import read_scans
from tests.scans.volume_files import write_metaimage


def touch(folder: Path, *names: str, content: bytes = b"") -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_every_kind_of_scan_is_found_and_nothing_else(tmp_path, make_video, make_dicom):
    make_video(tmp_path / "a/no suffix.mp4", 2).rename(tmp_path / "a/no suffix")
    make_video(tmp_path / "a/x.mkv", 2).rename(tmp_path / "a/other.bin")
    make_dicom(tmp_path / "dicom/1.2.840.10008.7")
    make_dicom(tmp_path / "dicom/1.2.840.10008.8")
    make_dicom(tmp_path / "dicom/DICOMDIR")
    np.save(tmp_path / "stack", np.zeros((2, 8, 8), np.uint8))
    touch(tmp_path, "b/x.MP4", "b/y (1) [é].avi", "b/z.h5", "b/w.dcm", "images/t 1/2.png", "images/t 1/10.png")
    touch(tmp_path, ".hidden.mp4", "b/._x.MP4", ".hidden/x.mp4", "Thumbs.db", "b/.DS_Store", "b/thumb.jpg", "one/1.png")
    touch(tmp_path, "notes.txt", "b/table.xlsx", "b/x.mp4.json", content=b"nothing that moves" * 20)
    found = find_scans(tmp_path)
    assert found.scans == [
        "a/no suffix",
        "a/other.bin",
        "b/w.dcm",
        "b/x.MP4",
        "b/y (1) [é].avi",
        "b/z.h5",
        "dicom/1.2.840.10008.7",
        "dicom/1.2.840.10008.8",
        "images/t 1",
        "stack.npy",
    ]
    assert [warning.split(" lie ")[0] for warning in found.warnings] == ["2 image(s)"]
    ids = read_scans(tmp_path).table["scan_id"].tolist()
    assert ids == ["a/no suffix", "a/other", "b/w", "b/x", "b/y (1) [é]", "b/z", *found.scans[6:9], "stack"]


def test_a_folder_of_images_alone_is_one_scan(tmp_path):
    touch(tmp_path / "my scan", "1.png", "2.png")
    scans = read_scans(tmp_path / "my scan")
    assert scans.table[["scan", "scan_id"]].to_numpy().tolist() == [[".", "my scan"]]
    touch(tmp_path / "my scan", "sub/x.mp4")
    assert find_scans(tmp_path / "my scan").scans == ["sub/x.mp4"]


def test_a_frame_store_beside_the_scans_is_no_scan(tmp_path):
    touch(tmp_path, "x.mp4", "store/frames.npy", "store/store.json", "other/frames.npy")
    assert find_scans(tmp_path).scans == ["other/frames.npy", "x.mp4"]


def test_links_are_followed_within_the_folder_only(tmp_path):
    touch(tmp_path, "outside/secret.mp4", "outside/deep/x.mp4", "in/real.mp4")
    root = tmp_path / "in"
    (root / "linked.mp4").symlink_to(root / "real.mp4")
    (root / "leak.mp4").symlink_to(tmp_path / "outside/secret.mp4")
    (root / "leaks").symlink_to(tmp_path / "outside/deep")
    (root / "loop").symlink_to(root)
    (root / "gone.mp4").symlink_to(root / "absent.mp4")
    (root / "itself.mp4").symlink_to(root / "itself.mp4")
    found = find_scans(root)
    assert found.scans == ["linked.mp4", "real.mp4"]
    assert [warning[:19] for warning in found.warnings] == [
        "1 file(s) or folder",
        "1 link(s) lead nowh",
        "2 link(s) lead out ",
    ]
    assert find_scans(root, allow_outside=True).scans == ["leak.mp4", "leaks/x.mp4", "linked.mp4", "real.mp4"]
    assert "scans.allow_outside" in " ".join(read_scans(root).warnings)


def test_a_scan_of_several_files_is_left_alone_where_one_of_them_leads_out_of_the_folder(tmp_path):
    """Readers look for the files of such a scan themselves, and would follow the link."""
    root, secret = tmp_path / "in", tmp_path / "outside"
    for folder in ("img", "whole"):
        touch(root / folder, "0.png", "1.png")
    touch(secret, "2.png", "a.raw")
    (root / "img/2.png").symlink_to(secret / "2.png")
    (root / "whole/2.png").symlink_to(root / "whole/0.png")
    for name in ("a.mhd", "b.mhd"):
        write_metaimage(root / name, np.zeros((2, 8, 8), np.uint8), (1, 1))
    (root / "a.raw").unlink()
    (root / "a.raw").symlink_to(secret / "a.raw")
    found = find_scans(root)
    assert found.scans == ["b.mhd", "whole"]
    assert [warning[:30] for warning in found.warnings] == [
        "2 link(s) lead out of the fold",
        "2 scan(s) are made of several ",
    ]
    assert find_scans(root, allow_outside=True).scans == ["a.mhd", "b.mhd", "img", "whole"]
    assert find_scans(root / "img").scans == []
    (root / "scans.csv").write_text("scan,patient_id\na.mhd,1\n")
    with pytest.raises(UserError, match=r"'a\.mhd' leaves the table's folder by a link"):
        read_scans(root)


def test_a_folder_that_may_not_be_opened_is_told_of_and_the_others_are_searched(tmp_path, monkeypatch):
    touch(tmp_path, "a/x.mp4", "lost+found/y.mp4", "z.mp4", "no suffix")
    real, first_bytes = os.scandir, search.kind_of

    def refuse(name: str) -> None:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(os, "scandir", lambda path: refuse(path) if "lost" in str(path) else real(path))
    monkeypatch.setattr(search, "kind_of", lambda path: refuse(path) if path.name == "no suffix" else first_bytes(path))
    found = find_scans(tmp_path)
    assert found.scans == ["a/x.mp4", "z.mp4"]
    assert found.warnings == ["2 file(s) or folder(s) cannot be opened and were left alone"]


def test_videos_of_every_container_that_may_be_opened_are_found_with_and_without_suffix(tmp_path, make_video):
    codecs = {"wmv": "wmv2", "flv": "flv1", "ts": "libx264", "m2ts": "libx264", "mxf": "mpeg2video", "3gp": "libx264"}
    codecs |= {"nut": "mpeg4", "wtv": "mpeg2video", "rm": "rv10", "vob": "mpeg2video", "ivf": "libvpx-vp9"}
    for suffix, codec in codecs.items():
        shutil.copy(make_video(tmp_path / f"{suffix}.{suffix}", 3, codec=codec), tmp_path / suffix)
    names = ["a.h264", "a.y4m", "a.MJPEG", "a.nii", "a.nii.gz", "a.mha", "a.apng"]
    touch(tmp_path, *names)
    found = find_scans(tmp_path)
    assert found.scans == sorted([*names, *codecs, *(f"{suffix}.{suffix}" for suffix in codecs)])
    assert found.warnings == []


def test_files_of_unknown_kinds_are_counted_and_usual_company_is_not(tmp_path):
    touch(tmp_path, "x.mp4", "scans.xlsx", "README", "LICENSE", "x.json", "b/notes.TXT", "b/report.pdf")
    touch(tmp_path, "b/1.avi2", "b/2.avi2", "all.ZIP", "IM_0001")
    found = find_scans(tmp_path)
    assert found.scans == ["x.mp4"]
    assert found.warnings == [
        "4 file(s) are of no kind that is read, and were left alone (.avi2 2, without suffix 1, .zip 1)"
    ]


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX only")
def test_a_name_that_is_no_text_is_left_alone_and_told(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"h\xe9pital.mp4")).touch()
    except OSError:
        pytest.skip("this file system keeps no such names")
    touch(tmp_path, "x.mp4", "img/1.png", "img/2.png")
    (tmp_path / "img" / os.fsdecode(b"\xe9.png")).touch()
    found = find_scans(tmp_path)
    assert found.scans == ["x.mp4"]
    assert [warning[:9] for warning in found.warnings] == ["2 file(s)", "1 scan(s)"]


def test_the_patient_of_a_dicom_file_is_its_patient_id_where_nothing_else_tells(tmp_path, make_dicom):
    make_dicom(tmp_path / "p1/a", PatientID="007")
    make_dicom(tmp_path / "p1/b", PatientID="8")
    make_dicom(tmp_path / "p2/c")
    touch(tmp_path, "p2/d.mp4")
    scans = read_scans(tmp_path)
    assert scans.table["patient_id"].tolist() == ["007", "8", "p2/c", "p2/d.mp4"]
    assert any("patients of 2 DICOM file(s) are their PatientID" in warning for warning in scans.warnings)
    assert any("each of the other 2 scans counts" in warning for warning in scans.warnings)
    assert read_scans(tmp_path, r"^(p\d)").table["patient_id"].tolist() == ["p1", "p1", "p2", "p2"]


def test_a_table_may_leave_patients_to_dicom(tmp_path, make_dicom):
    make_dicom(tmp_path / "a", PatientID="007")
    make_dicom(tmp_path / "b", PatientID="8")
    table = tmp_path / "scans.csv"
    table.write_text("scan\na\nb\n")
    scans = read_scans(table)
    assert scans.table["patient_id"].tolist() == ["007", "8"]
    assert "2 DICOM file(s)" in scans.warnings[0]
    table.write_text("scan,patient_id\na,\nb,9\n")
    assert read_scans(table).table["patient_id"].tolist() == ["007", "9"]
    make_dicom(tmp_path / "c")
    table.write_text("scan\na\nc\n")
    with pytest.raises(UserError, match="row 2: patient_id is empty"):
        read_scans(table)
