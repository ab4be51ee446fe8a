"""A frame store small enough to train on in a test."""

from __future__ import annotations

import pytest

from tests.pretraining.short_runs import write_store


@pytest.fixture
def report_always(monkeypatch):
    monkeypatch.setattr("ssl_zoo.pretraining.trainer.SHOW_EVERY_S", 0.0)


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "frames")
