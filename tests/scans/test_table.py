from __future__ import annotations

from pathlib import Path

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans.table import read_scans


def write(folder: Path, text: str, *scans: str) -> Path:
    for scan in scans:
        (folder / scan).parent.mkdir(parents=True, exist_ok=True)
        (folder / scan).write_bytes(b"")
    table = folder / "scans.csv"
    table.write_text(text, encoding="utf-8")
    return table


def test_a_table_is_read_as_text(tmp_path):
    source = write(
        tmp_path, "\ufeffscan, patient_id ,site\nv/a.mp4,007,\nv/b b[1].mp4,1,NA\n", "v/a.mp4", "v/b b[1].mp4"
    )
    scans = read_scans(source)
    assert scans.table["patient_id"].tolist() == ["007", "1"]
    assert scans.table["scan_id"].tolist() == ["v/a", "v/b b[1]"]
    assert scans.table["site"].tolist() == ["", "NA"]
    assert scans.table["device"].tolist() == ["", ""]
    assert scans.table["path"].tolist() == [tmp_path / "v/a.mp4", tmp_path / "v/b b[1].mp4"]
    assert scans.warnings == []


def test_a_column_of_numbers_with_a_gap_never_becomes_a_float(tmp_path):
    source = write(tmp_path, "scan,patient_id,device\na.mp4,1,3\nb.mp4,2,\n", "a.mp4", "b.mp4")
    scans = read_scans(source)
    assert scans.table["patient_id"].tolist() == ["1", "2"]
    assert scans.table["device"].tolist() == ["3", ""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a readable .csv"),
        ("scan,patient\na.mp4,1\n", "column 'patient_id' is missing .columns there: scan, patient"),
        ("scan;patient_id\na.mp4;1\n", "column 'scan' is missing .columns there: scan;patient_id"),
        ("scan,patient_id\n", "no rows"),
        ("scan,patient_id\na.mp4,1\nb.mp4, \n", "row 2: patient_id is empty"),
        ("scan,patient_id\na.mp4,1\nb.mp4\n", "row 2: patient_id is empty"),
        ("scan,patient_id\na.mp4,1\n./a.mp4,2\n", "row 2, column 'scan': 'a.mp4' is already in row 1"),
        ("scan,patient_id\nabsent.mp4,1\n", "row 1, column 'scan': there is no file"),
        ("scan,patient_id\n../a.mp4,1\n", "row 1, column 'scan': '../a.mp4' leaves"),
        ("scan,patient_id\n/etc/passwd,1\n", "row 1, column 'scan': '/etc/passwd' leaves"),
        ("scan,patient_id,scan_id\na.mp4,1,x\nb.mp4,1,x\n", "row 2: scan_id 'x' is already in row 1"),
        ("scan,patient_id,scan_id\na.mp4,1,b\nb.mp4,1,\n", "row 2: scan_id 'b' is already in row 1"),
    ],
)
def test_a_wrong_table_is_named_with_its_row(tmp_path, text, words):
    source = write(tmp_path, text, "a.mp4", "b.mp4")
    with pytest.raises(UserError, match=words) as raised:
        read_scans(source)
    assert str(source) in str(raised.value)


def test_a_folder_without_table_is_searched_and_every_file_is_its_own_patient(tmp_path):
    for name in ("p1/x.MP4", "p1/y.avi", "p2/deep/x.webm", "notes.txt", ".hidden.mp4", "p1/._x.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    scans = read_scans(tmp_path)
    assert scans.table["scan"].tolist() == ["p1/x.MP4", "p1/y.avi", "p2/deep/x.webm"]
    assert scans.table["patient_id"].nunique() == 3
    assert "patient of its own" in scans.warnings[0]


@pytest.mark.parametrize("pattern", [r"^(\w+)/", r"(?P<patient>p\d)/(x|y)", r"(x|y)?(?P<patient>p\d)"])
def test_a_pattern_tells_the_patients_of_a_folder(tmp_path, pattern):
    for name in ("p1/x.mp4", "p1/y.mp4", "p2/x.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    scans = read_scans(tmp_path, pattern)
    assert scans.table["patient_id"].tolist() == ["p1", "p1", "p2"]
    assert scans.patients == ["p1", "p2"]
    assert scans.warnings == []


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(", "not a regular expression"), ("p1", "has no group"), (r"(p1)/", r"finds no patient in 'p2/x.mp4' \(1 of 2")],
)
def test_a_pattern_that_does_not_fit_is_named(tmp_path, pattern, words):
    for name in ("p1/x.mp4", "p2/x.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=words):
        read_scans(tmp_path, pattern)


def test_no_path_of_a_table_leaves_its_folder_unless_that_is_allowed(tmp_path):
    (tmp_path / "in/images").mkdir(parents=True)
    for name in ("secret.mp4", "in/own.mp4", "secret.png", "in/images/1.png"):
        (tmp_path / name).touch()
    (tmp_path / "in/link.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "in/inner.mp4").symlink_to(tmp_path / "in/own.mp4")
    (tmp_path / "in/images/2.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "alias").symlink_to(tmp_path / "in")
    table = tmp_path / "alias/scans.csv"  # the table's own folder may be a link
    for scan in ("../secret.mp4", str(tmp_path / "secret.mp4"), "link.mp4", "images"):
        table.write_text(f"scan,patient_id\ninner.mp4,1\n{scan},2\n")
        with pytest.raises(UserError, match=r"row 2, column 'scan': .* leaves the table's folder.*allow_outside"):
            read_scans(table)
        assert len(read_scans(table, allow_outside=True)) == 2


def test_rates_and_spacings_of_a_table_are_numbers(tmp_path):
    source = write(tmp_path, "scan,patient_id,fps,spacing_mm\na.mp4,1,12.5,\nb.mp4,2,,0.3\n", "a.mp4", "b.mp4")
    table = read_scans(source, fps=30).table
    assert table["fps"].tolist() == [12.5, 30]
    assert table["spacing_mm"].fillna(-1).tolist() == [-1, 0.3]
    for wrong in ("fast", "0", "-3", "inf"):
        source.write_text(f"scan,patient_id,fps\na.mp4,1,{wrong}\n")
        with pytest.raises(UserError, match=f"row 1: fps '{wrong}' is not a positive number"):
            read_scans(source)
    with pytest.raises(UserError, match=r"scans\.fps is 0"):
        read_scans(source, fps=0)


def test_a_table_may_leave_the_patients_to_a_pattern(tmp_path):
    source = write(tmp_path, "scan\np1/x.mp4\np2/x.mp4\n", "p1/x.mp4", "p2/x.mp4")
    assert read_scans(source, r"^(p\d)").table["patient_id"].tolist() == ["p1", "p2"]


def test_a_folder_with_a_table_is_read_through_it(tmp_path):
    write(tmp_path, "scan,patient_id\na.mp4,9\n", "a.mp4", "b.mp4")
    assert read_scans(tmp_path).table["patient_id"].tolist() == ["9"]


def test_files_that_differ_in_suffix_only_get_scan_ids_of_their_own(tmp_path):
    for name in ("a.mp4", "a.avi", "b.mp4"):
        (tmp_path / name).touch()
    assert read_scans(tmp_path).table["scan_id"].tolist() == ["a.avi", "a.mp4", "b"]


def test_what_is_no_source_is_named(tmp_path):
    with pytest.raises(UserError, match="no scans in this folder"):
        read_scans(tmp_path)
    with pytest.raises(UserError, match="no such scan table or folder"):
        read_scans(tmp_path / "absent")
    (tmp_path / "scan.mp4").touch()
    with pytest.raises(UserError, match="neither a"):
        read_scans(tmp_path / "scan.mp4")


def test_the_real_scan_table_is_read():
    source = Path(__file__).parents[2].parent / "shared/data/covid_blues/scans.csv"
    if not source.is_file():
        pytest.skip("COVID-BLUES is not on this machine")
    scans = read_scans(source)
    assert len(scans) == 222
    assert len(scans.patients) == 39
