from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from ssl_zoo.cli import app
from ssl_zoo.planes.sources import SOURCES as PLANES
from ssl_zoo.scans.sources import SOURCES as SCANS
from tests.planes import published_trees as trees


def test_sources_lists_every_data_set_with_its_paper_licence_and_place():
    result = CliRunner().invoke(app, ["sources"])
    blocks = dict(zip((*PLANES, *SCANS), result.output.split("\n\n"), strict=True))
    assert max(map(len, result.output.splitlines())) <= 120
    for room, sources in (("planes", PLANES), ("scans", SCANS)):
        for name, source in sources.items():
            block = " ".join(blocks[name].split())
            assert block.startswith(f"{name} ({room}), {source.facts.title} shows")
            assert all(fact in block for fact in (source.facts.paper, source.facts.licence, source.facts.where))
            assert all(f"{label} {count}" in block for label, count in source.facts.counts.items())


def test_sources_sets_a_copy_beside_what_is_published(tmp_path: Path):
    trees.feft(tmp_path)
    said = CliRunner().invoke(app, ["sources", f"feft:{tmp_path}", "african"]).output
    assert "45 images, each for itself" in said
    assert "Aorta" in said
    assert "9 (train 3, val 3, test 3)" in said
    assert "note: FEFT (first-trimester fetal heart): 45 images, where 6720 are published" in said
    assert "african (planes), the African cohort" in said


def test_sources_counts_scans(tmp_path: Path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    said = CliRunner().invoke(app, ["sources", f"folder:{tmp_path}"]).output
    assert f"folder:{tmp_path}: 2 scans of 2 patients" in said
    assert "each of its 2 files counts as a patient of its own" in said
