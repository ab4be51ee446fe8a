"""What the page is made of: sentences, data, files that others open, maps, sheets, several runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ssl_zoo.analysis.album import Album
from ssl_zoo.analysis.answer import make_answer
from ssl_zoo.analysis.atlas import atlas, feature_files
from ssl_zoo.analysis.compare import write_comparison
from ssl_zoo.analysis.csv_files import csv_text
from ssl_zoo.analysis.data_tables import data_at_a_glance
from ssl_zoo.analysis.latex import escape, latex_table
from ssl_zoo.analysis.report import write_report
from ssl_zoo.analysis.run_folder import read_run
from ssl_zoo.analysis.sheet_pictures import add_sheets
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.analysis.tables import Table
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint

Fake = Callable[..., Path]
Sentences = Callable[..., list[str]]


@pytest.fixture
def sentences(fake_cells: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]) -> Sentences:
    """Skills in, the three sentences out."""

    def told(skill: dict[str, float], **more: object) -> list[str]:
        settings = {"modes": ("linear",), "fractions": (0.05, 1.0), "seeds": (0, 1), "cohorts": ("internal",)} | more
        found = make_answer(estimate(*fake_cells(skill=skill, **settings), replicates=300))
        return [sentence.replace("\u00a0", " ") for sentence in found.sentences]

    return told


def test_a_clear_winner_gets_its_interval_its_labels_and_no_doubt(sentences: Sentences) -> None:
    first, second, third = sentences({"random": 0.0, "barlow_twins": 1.6, "byol": 0.4})
    assert "Barlow Twins is the one to use: macro-F1 0." in first
    assert first.count(" to +") == 1  # the gain's interval
    assert "(95 % interval 0." in first
    assert second.startswith("Barlow Twins reaches what its untrained backbone scores with 100 % of the labels")
    assert "already with 5 %" in second
    assert "at least 95 % of the labels are saved" in second
    assert third.startswith("Significant: the lead of Barlow Twins over every other init and every gain over untrained")


def test_a_tie_says_whose_lead_is_not_significant(sentences: Sentences) -> None:
    first, _, third = sentences({"random": 0.0, "simclr": 0.9, "vicreg": 0.9, "byol": 0.0})
    assert "lead, tied" in first
    assert third.startswith("Not significant: the lead of ")
    assert ("over SimCLR" in third) or ("over VICReg" in third)
    assert "the difference from untrained of BYOL" in third


def test_a_loss_saves_no_labels_and_is_called_significantly_worse(sentences: Sentences) -> None:
    first, second, third = sentences({"random": 1.2, "simclr": 0.0, "byol": 0.1})
    assert "no init is shown to be better than an untrained network" in first
    assert "−0." in first
    assert second.startswith("No labels are shown to be saved: ")
    assert "significantly worse than untrained: BYOL and SimCLR" in third


def test_one_fraction_says_nothing_of_labels(sentences: Sentences) -> None:
    _, second, _ = sentences({"random": 0.0, "byol": 1.0}, fractions=(0.05,))
    assert second.startswith("How many labels that saves cannot be said")


def test_a_cell_of_a_csv_file_is_never_a_formula_and_numbers_stay_numbers() -> None:
    table = pd.DataFrame(
        {"init": ["=cmd()", "@x", "a,b", "-1+2"], "gain": [-0.5, 1.0, np.nan, 2.0], "+p": ["", "", "", ""]}
    )
    header, *rows = csv.reader(io.StringIO(csv_text(table)))
    assert header == ["init", "gain", "'+p"]
    assert [row[0] for row in rows] == ["'=cmd()", "'@x", "a,b", "'-1+2"]
    assert [row[1] for row in rows] == ["-0.5", "1", "", "2"]


def test_latex_prints_words_as_they_stand() -> None:
    assert escape("a_b & 5 % {x} \\y\n$z") == r"a\_b \& 5 \% \{x\} \textbackslash{}y \$z"
    text = latex_table(Table(["init", "score"], [["x_1", "0.7"], ["[2]", "−0.1"]], 1, frozenset({(0, 1)})))
    assert r"\begin{tabular}{lr}" in text
    assert r"x\_1 & \textbf{0.7} \\" in text
    assert r"{}[2] & $-$0.1 \\" in text  # not a length for the \\ before it


def _with_planes(run: Path, folds: int = 1, patients: int = 12) -> pd.DataFrame:
    """Give a made-up run the planes that the grid would leave: two classes, two cohorts."""
    rows = [(f"P{p:02d}", label) for p in range(patients) for label in ("4CH", "3VV") for _ in range(2)]
    table = pd.DataFrame(rows, columns=["patient_id", "label"])
    table["image"] = [f"{i}.png" for i in range(len(table))]
    table["cohort"] = np.where(table["patient_id"] < f"P{patients - 3:02d}", "internal", "external")
    (run / "planes").mkdir(exist_ok=True)
    table.to_parquet(run / "planes" / "table.parquet")
    (run / "planes" / "images.npy").unlink(missing_ok=True)
    number = table["patient_id"].str[1:].astype(int).to_numpy()
    internal = (table["cohort"] == "internal").to_numpy()
    splits = []
    for fold in range(folds):
        test = (number % 3 == fold) | ~internal
        splits.append(
            {"fold": fold, "train": np.flatnonzero(~test).tolist(), "val": [], "test": np.flatnonzero(test).tolist()}
        )
    card = {"classes": ["4CH", "3VV"], "fingerprint": "p" * 16, "size": 64, "channels": 1, "by_image": False}
    (run / "planes" / "planes.json").write_text(json.dumps(card | {"splits": "s" * 16}))
    (run / "planes" / "splits.json").write_text(json.dumps({"hash": "s" * 16, "splits": splits}))
    return table


def test_patients_and_planes_are_counted_on_each_side_of_the_split(tmp_path: Path) -> None:
    _with_planes(tmp_path)
    table = data_at_a_glance(tmp_path).planes
    assert table is not None
    assert table.columns == ["cohort", "side", "patients", "planes", "4CH", "3VV"]
    assert table.rows == [
        ["internal", "training", "6", "24", "12", "12"],
        ["internal", "test", "3", "12", "6", "6"],
        ["internal", "all", "9", "36", "18", "18"],
        ["external", "test", "3", "12", "6", "6"],
        ["external", "all", "3", "12", "6", "6"],
    ]


def test_sources_and_what_the_audit_found_are_told(tmp_path: Path) -> None:
    (tmp_path / "planes").mkdir()
    about = {"planes": {"source": "x", "title": "T", "paper": "P", "unsure": ["the patients"], "notes": ["a note"]}}
    (tmp_path / "planes" / "sources.json").write_text(json.dumps(about))
    findings = [{"kind": "k", "severity": "refuse", "sentence": "patient <P1> crosses", "names": []}]
    (tmp_path / "audit.json").write_text(json.dumps({"images": {"compared": 7}, "findings": findings}))
    glance = data_at_a_glance(tmp_path)
    assert glance.sources[0].title == "planes: x"
    assert glance.sources[0].notes == ["a note", "Not sure: the patients"]
    assert "compared 7 planes" in glance.audited
    assert "1 leak found" in glance.audited
    assert glance.findings == [("leak", "patient <P1> crosses")]


def test_planes_and_splits_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
    _with_planes(tmp_path)
    (tmp_path / "planes" / "splits.json").write_text('{"splits": [{"fold": 0, "train": [999], "val": [], "test": []}]}')
    with pytest.raises(UserError, match="do not fit together"):
        data_at_a_glance(tmp_path)


def test_the_atlas_maps_the_test_planes_of_the_baseline_and_the_best_init(fake_run: Fake, tmp_path: Path) -> None:
    few = {
        "skill": {"random": 0.0, "byol": 1.5, "moco": 0.1},
        "fractions": (0.05, 1.0),
        "seeds": (0,),
        "modes": ("linear",),
    }
    folder = fake_run(tmp_path, failures=0, patients=12, **few)
    table = _with_planes(folder, folds=3, patients=12)
    run = read_run(folder)
    card = json.loads((folder / "planes" / "planes.json").read_text())
    files = feature_files(run, card)
    own = fingerprint(["byol", "resnet10t", "c" * 16, "p" * 16, 64, 1])
    assert files["byol", "resnet10t"] == folder / "features" / f"{own}.npy"
    untrained = fingerprint(["random", "resnet10t", [0, 0.2, 0.2], "p" * 16, 64, 1])
    assert files["random", "resnet10t"].stem == untrained
    estimates = estimate(run.results, run.predictions, replicates=20).table
    assert atlas(run, estimates) == []  # no features kept
    (folder / "features").mkdir()
    generator = np.random.default_rng(0)
    patient, classes = table["patient_id"].str[1:].astype(int), (table["label"] == "4CH").to_numpy()
    by_patient = np.eye(12)[patient] + 0.01 * generator.standard_normal((len(table), 12))
    by_class = np.eye(12)[classes.astype(int)] + 0.01 * generator.standard_normal((len(table), 12))
    np.save(files["random", "resnet10t"], by_patient.astype(np.float32))
    np.save(files["byol", "resnet10t"], by_class.astype(np.float32))
    maps = atlas(run, estimates)
    assert [found.start[0] for found in maps] == ["random", "byol"]
    assert all(set(found.points["patient_id"]) == {f"P{p:02d}" for p in range(9)} for found in maps)  # internal only
    assert maps[0].same_patient == 1.0
    assert maps[1].same_class == maps[1].same_class_of_others == 1.0
    again = atlas(run, estimates)
    pd.testing.assert_frame_equal(maps[1].points, again[1].points)


def test_sheets_of_other_commands_are_shown_as_far_as_they_fit(tmp_path: Path) -> None:
    folder = tmp_path / "explain" / "byol-net-linear"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (200, 2000), dtype=np.uint8)
    for name in ("1_4CH", "2_3VV", "3_3VT"):
        Image.fromarray(noise).save(folder / f"{name}.png")
    album = Album(tmp_path)
    assert add_sheets(album) == {"explain": ""}
    picture = album.pictures["explain_byol-net-linear_1_4CH"]
    assert (picture.title, picture.width) == ("byol-net-linear / 4CH", 1600)
    for name in ("S01", "S02"):
        (tmp_path / "timelines").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "timelines" / f"{name}.png")
    one = len(picture.data)
    album = Album(tmp_path)
    told = add_sheets(album, most_bytes=round(3.5 * one))  # 1.75 for the scans, and what they leave for the maps
    assert "1 more in figures/timelines/" in told["timelines"]
    assert "1 more in figures/explain/" in told["explain"]
    assert len(album.pictures) == 3
    assert album.size <= 3.5 * one
    album = Album(tmp_path)
    assert "3 more in figures/explain/" in add_sheets(album, most_bytes=10)["explain"]
    assert not album.pictures


def test_the_figure_of_all_maps_is_told_from_the_sheets_of_maps(tmp_path: Path) -> None:
    (tmp_path / "explain").mkdir()
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(tmp_path / "explain" / "maps_grad_cam.png")
    album = Album(tmp_path)
    add_sheets(album)
    picture = album.pictures["explain_maps_grad_cam"]
    assert picture.title == "What the maps are worth"
    assert "Deletion gain" in picture.caption


def test_sheets_for_which_there_is_no_room_are_named(
    fake_run: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake_run(tmp_path, seeds=(0,), fractions=(1.0,), cohorts=("internal",))
    (run / "figures" / "explain").mkdir(parents=True)
    Image.fromarray(np.zeros((50, 50), np.uint8)).save(run / "figures" / "explain" / "1_4CH.png")
    monkeypatch.setattr("ssl_zoo.analysis.report.add_sheets", lambda album: add_sheets(album, most_bytes=0))
    page = write_report(run, replicates=20).read_text()
    assert "1 more in figures/explain/, left out here to keep the page small." in page


def test_a_page_with_many_figures_shows_the_largest_ones_as_png(tmp_path: Path) -> None:
    album = Album(tmp_path)
    rng = np.random.default_rng(0)
    for name, points in (("few", 20), ("many", 4000)):
        figure = Figure()
        figure.subplots().plot(rng.random(points), rng.random(points), ".")
        album.add(name, figure, name, "caption")
    album.fit()
    kinds = {name: picture.data[:20] for name, picture in album.pictures.items()}
    assert all(kind.startswith("data:image/svg") for kind in kinds.values())
    before = album.size
    album.fit(before - 1)
    assert album.size < before
    assert album.pictures["many"].data.startswith("data:image/png")
    assert album.pictures["few"].data.startswith("data:image/svg")


def test_several_runs_stand_side_by_side_with_the_agreement_of_their_orders(fake_run: Fake, tmp_path: Path) -> None:
    few = {
        "fractions": (0.05, 1.0),
        "seeds": (0,),
        "modes": ("linear",),
        "cohorts": ("internal",),
        "pretraining": False,
    }
    skill = {"random": 0.0, "byol": 1.8, "simclr": 0.8, "moco": 0.3}
    runs = [fake_run(tmp_path, name=name, skill=skill, **few) for name in ("first", "second<b>")]
    page = write_comparison(runs, replicates=400)
    assert page.name == "report-first-second<b>.html"
    text = page.read_text()
    assert "second&lt;b&gt;" in text
    assert "second<b>" not in text
    for words in ("BYOL is the one to use", "gain, first", "tau of the mean ranks 1.00"):
        assert words in text
    assert "Not the same test patients" not in text
    figures = tmp_path / "report-first-second<b>_figures"
    assert {"curves_1.svg", "curves_2.csv", "scores_linear_internal.tex"} <= {path.name for path in figures.iterdir()}
    with pytest.raises(UserError, match="named twice"):
        write_comparison([runs[0], runs[0]])
    with pytest.raises(UserError, match="at least two"):
        write_comparison(runs[:1])
