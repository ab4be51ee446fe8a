"""Files are whole or absent, and paths stay inside their root."""

from __future__ import annotations

import errno

import pytest

from ssl_zoo.errors import UserError, unknown
from ssl_zoo.files import fingerprint, inside, read_json, replacing, write_json


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})

    def write_half():
        with replacing(target) as part:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_half()
    assert read_json(target) == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "folder"
    for name in ("first", "second"):
        with replacing(target) as part:
            part.mkdir()
            (part / name).touch()
    assert [path.name for path in target.iterdir()] == ["second"]
    assert len(list(tmp_path.iterdir())) == 1


def test_not_a_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["/etc/passwd", "../x.png", "a/../../x.png"])
def test_a_path_cannot_leave_its_root(tmp_path, path):
    with pytest.raises(UserError, match=r"planes\.csv, row 3"):
        inside(tmp_path, path, "planes.csv, row 3")


def test_a_path_below_the_root_may_have_dots_in_its_names(tmp_path):
    assert inside(tmp_path, "a..b/c.png", "x") == tmp_path / "a..b/c.png"


def test_a_fingerprint_ignores_key_order_and_sees_every_value():
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint({"a": 1}) != fingerprint({"a": "1"})


def test_an_unknown_name_comes_with_the_nearest_one():
    assert "did you mean 'barlow_twins'?" in str(unknown("method", "barlow", ["byol", "barlow_twins"]))
    assert "did you mean" not in str(unknown("method", "xyz", ["byol"]))
