"""The table of what the cells' files say never says anything else than the files."""

from __future__ import annotations

import json
import os

import pytest

from ssl_zoo.files import read_json
from ssl_zoo.grid import ledger
from ssl_zoo.grid.ledger import TABLE, Entry, look


@pytest.fixture
def run(tmp_path):
    """Sixty cells that were finished a while ago."""
    (tmp_path / "cells").mkdir()
    for k in range(60):
        write(tmp_path, f"{k:016x}", seconds=float(k))
    return tmp_path


def write(run, key, age_s=60.0, **record):
    path, part = run / "cells" / f"{key}.json", run / "cells" / ".tmp-part"
    part.write_text(json.dumps(record))
    os.replace(part, path)
    before = path.stat().st_mtime - age_s
    os.utime(path, (before, before))


@pytest.fixture
def read(monkeypatch):
    """The files that a look has read."""
    names = []

    def noted(path):
        names.append(path.name)
        return read_json(path)

    monkeypatch.setattr(ledger, "read_json", noted)
    return names


def test_files_are_read_once_and_then_only_those_that_changed(run, read):
    first = look(run)
    assert first["000000000000000a"] == Entry(10.0, None)
    assert len(read) == 60
    read.clear()
    assert look(run) == first
    assert read == []
    write(run, "000000000000000a", age_s=60.0, error="it broke")
    write(run, "new", seconds=1.0)
    (run / "cells" / f"{3:016x}.json").unlink()
    again = look(run)
    assert sorted(read) == ["000000000000000a.json", "new.json"]
    assert again["000000000000000a"] == Entry(None, "it broke")
    assert set(again) == set(first) - {f"{3:016x}"} | {"new"}


def test_a_file_of_this_moment_is_read_again_because_its_time_could_repeat(run, read):
    write(run, "young", age_s=0.0, seconds=1.0)
    look(run)
    read.clear()
    look(run)
    assert read == ["young.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 0, "cells": {}}'])
def test_a_broken_table_is_as_good_as_none(run, content):
    whole = look(run)
    (run / TABLE).write_text(content)
    assert look(run) == whole


def test_a_broken_cell_counts_as_failed_and_is_named(run):
    (run / "cells" / "torn.json").write_text('{"seconds": 1')
    assert "torn.json" in (look(run)["torn"].error or "")


def test_a_folder_that_takes_no_table_is_looked_at_all_the_same(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "write_text", full)
    assert len(look(run)) == 60
    assert look(run.parent / "nothing here") == {}
