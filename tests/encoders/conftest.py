"""The registry with tiny networks in place of the published sizes."""

from __future__ import annotations

import pytest

from ssl_zoo.encoders import published
from ssl_zoo.encoders.entries import PUBLISHED
from tests.encoders.published_files import TINY, tiny_entry, write_published


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """`tiny(name)`: a stand-in's file in the published format, and the network that it should give."""
    for name in TINY:
        monkeypatch.setitem(PUBLISHED, name, tiny_entry(name))
    published._checked.cache_clear()

    def write(name, seed=1):
        path = tmp_path / f"{name}.pth"
        return path, write_published(name, path, entry=PUBLISHED[name], seed=seed)

    return write
