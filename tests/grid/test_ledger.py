"""The table of what the cells' files say never says anything else than the files."""

from __future__ import annotations

import json
import os

import pytest

from ssl_zoo.files import write_json
from ssl_zoo.grid import ledger
from ssl_zoo.grid.ledger import TABLE, Entry, look, outcome


@pytest.fixture
def run(tmp_path):
    """Sixty cells that were finished a while ago."""
    (tmp_path / "cells").mkdir()
    for k in range(60):
        write(tmp_path, f"{k:016x}", seconds=float(k))
    return tmp_path


def write(run, key, age_s=60.0, **record):
    path, part = run / "cells" / f"{key}.json", run / "cells" / ".tmp-part"
    path.with_suffix(".npz").touch()
    write_json(part, {"cell": key, **record, "cohorts": {"internal": {"f1_macro": 0.5}}, "notes": {"k": 5}})
    os.replace(part, path)
    before = path.stat().st_mtime - age_s
    os.utime(path, (before, before))


@pytest.fixture
def read(monkeypatch):
    """The files that a look has read."""
    names = []

    def noted(path):
        names.append(os.path.basename(path))
        return read(path)

    read = ledger._bytes
    monkeypatch.setattr(ledger, "_bytes", noted)
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


@pytest.mark.parametrize(
    "record",
    [
        {"seconds": 0.294, "cohorts": {"internal": {}}, "notes": {}},
        {"seconds": 12, "cohorts": {}, "n_train_images": 3},
        {"seconds": 1e-7, "cohorts": {}, "notes": {}},
        {"seconds": None, "cohorts": {}, "notes": {}},
        {"cohorts": {}, "seconds": 3.5},
        {"cohorts": {"seconds": {"seconds": 7.0, "error": 1}}},
        {"seconds": 2.0, "cohorts": {"internal": {"f1_per_class": {"error": 0.5, 'a\n "seconds": 9,\n': 1.0}}}},
        {"seconds": 4.0, "cohorts": {}, "error": "it broke"},
        {"error": "it broke"},
    ],
)
def test_a_record_says_the_same_at_a_glance_as_when_all_of_it_is_read(run, record):
    path = run / "cells" / "own.json"
    path.with_suffix(".npz").touch()
    write_json(path, record)
    glanced = look(run)["own"]
    path.write_text(json.dumps(record))
    assert glanced == look(run)["own"] == Entry(record.get("seconds"), record.get("error"))


@pytest.mark.parametrize("content", ["", '{"seconds": 1', "[]", "{}", "\0" * 100])
def test_a_broken_cell_counts_as_failed_and_is_named(run, content):
    (run / "cells" / "torn.json").write_text(content)
    (run / "cells" / "torn.npz").touch()
    assert "torn.json" in (look(run)["torn"].error or "")
    assert outcome(run, "torn") == look(run)["torn"]


def test_a_cell_without_its_predictions_counts_as_failed_until_they_are_back(run):
    key = f"{7:016x}"
    look(run)  # so that its record is known and not read again
    (run / "cells" / f"{key}.npz").unlink()
    for _ in range(2):
        found = look(run)
        assert found[key] == outcome(run, key) == Entry(None, f"{run}/cells/{key}.npz: no such file")
        assert sum(entry.error is not None for entry in found.values()) == 1
    (run / "cells" / f"{key}.npz").touch()
    assert look(run)[key] == outcome(run, key) == Entry(7.0, None)
    assert outcome(run, "none such") is None


def test_predictions_that_are_written_while_the_folder_is_listed_are_seen(run, monkeypatch):
    listing = ledger._listing
    monkeypatch.setattr(ledger, "_listing", lambda folder: (listing(folder)[0], set()))
    assert all(entry.error is None for entry in look(run).values())


def test_a_folder_that_takes_no_table_is_looked_at_all_the_same(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "write_text", full)
    assert len(look(run)) == 60
    assert look(run.parent / "nothing here") == {}
