"""A run whose planes name no patients: every table that is made of it says that images stand for them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ssl_zoo.analysis.compare import write_comparison
from ssl_zoo.analysis.rank_facts import rank_facts
from ssl_zoo.analysis.rank_report import ranks_report
from ssl_zoo.analysis.report import write_report

FEW = {
    "skill": {"random": 0.0, "byol": 0.9, "simclr": 0.5, "mae": 0.4},
    "fractions": (0.05, 1.0),
    "seeds": (0, 1),
    "modes": ("linear",),
    "patients": 12,
    "failures": 0,
}


def _make(fake_run: Callable[..., Path], folder: Path, name: str, unit: str) -> Path:
    run = fake_run(folder, name=name, **FEW)
    (run / "planes" / "planes.json").write_text(json.dumps({"classes": [], "unit": unit}))
    pd.read_csv(run / "results.csv").assign(unit=unit).to_csv(run / "results.csv", index=False)
    return run


@pytest.fixture(scope="module")
def runs(fake_run: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One by image, one by patient."""
    folder = tmp_path_factory.mktemp("units")
    return _make(fake_run, folder, "images", "image"), _make(fake_run, folder, "patients", "patient")


def _unmarked(page: str) -> set[str]:
    """The tables of a page without the mark below them."""
    tables = re.split(r'<div class="tab[^"]*" data-name="', page)[1:]
    assert len(tables) > 3
    return {table.split('"')[0] for table in tables if not re.search(r"</table></div><p[^>]*>By image", table)}


def test_every_file_of_a_report_says_so(runs: tuple[Path, Path]) -> None:
    for run, unit in zip(runs, ("image", "patient"), strict=True):
        page = write_report(run, replicates=20).read_text()
        written = sorted((run / "figures").glob("*.csv"))
        assert {"scores", "ranks", "calibration_linear", "confusion_linear", "budgets"} <= {p.stem for p in written}
        for path in written:
            assert set(pd.read_csv(path)["unit"]) == {unit}, path.name
        papers = sorted((run / "figures").glob("*.tex"))
        assert {"scores_linear_internal", "labels_saved_internal", "areas_external"} <= {p.stem for p in papers}
        for path in papers:
            assert ("By image, for the planes name no patients." in path.read_text()) == (unit == "image"), path.name
        if unit == "image":
            assert _unmarked(page) == {"Fingerprints", "Versions"}
        else:
            assert "By image" not in page


def test_ranks_say_so_in_words_and_as_values(runs: tuple[Path, Path]) -> None:
    text = ranks_report(runs, replicates=20)
    heads = [line for line in text.splitlines() if line.startswith(("images", "patients"))]
    marked = [line.endswith("; by image, for the planes name no patients") for line in heads]
    assert marked == [True, False, True]  # each run, and the two together
    assert [run["unit"] for run in rank_facts(runs, replicates=20)["runs"]] == ["image", "patient"]


def test_a_comparison_names_the_run_without_patients_in_every_table(runs: tuple[Path, Path]) -> None:
    page = write_comparison(runs, replicates=20)
    text, folder = page.read_text(), page.with_name(f"{page.stem}_figures")
    assert "<b>By image, not by patient: images.</b>" in text
    assert _unmarked(text) == set()
    assert "By image (images): the planes name no patients" in text
    assert [set(pd.read_csv(folder / f"curves_{place}.csv")["unit"]) for place in (1, 2)] == [{"image"}, {"patient"}]
    for path in folder.glob("*.tex"):
        assert "By image" in path.read_text()
