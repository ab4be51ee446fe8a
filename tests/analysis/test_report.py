from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from ssl_zoo.analysis.report import write_report
from ssl_zoo.analysis.run_folder import Pretrained, read_run
from ssl_zoo.errors import UserError

Fake = Callable[..., Path]
TINY = {
    "skill": {"random": 0.0, "byol": 0.9, "mae": 0.5},
    "fractions": (0.05, 1.0),
    "seeds": (0,),
    "modes": ("linear",),
}


class _Page(HTMLParser):
    """Open tags, addresses and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.stack: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "h2":
            self.headings.append(data)
        if not {"style", "script", "template"} & set(self.stack):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def run(fake_run: Fake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    uneven = {"budgets": {"mae": {"frames_seen": 384, "steps": 38}}, "collapsed": {"mae": 120}}
    folder = fake_run(tmp_path_factory.mktemp("runs"), **uneven, **TINY)
    text = (folder / "experiment.yaml").read_text()
    (folder / "experiment.yaml").write_text(text.replace("pretrain: {", "pretrain: {recipe: tuned, "))
    rungs = [{"factor": factor, "score": 0.4 + factor / 10, "error": None} for factor in (0.3, 1.0, 3.0)]
    record = {"init": "byol", "backbone": "resnet10t", "by": "probe", "share": 0.25, "base_lr": 0.2, "rungs": rungs}
    record |= {"chosen_factor": 3.0, "chosen_base_lr": 0.6, "cost": {"frames_seen": 30000, "seconds": 9.5}}
    (folder / "tuning").mkdir()
    (folder / "tuning" / "byol.json").write_text(json.dumps(record))
    write_report(folder, replicates=100)
    return folder


def test_the_report_is_one_small_file_without_network_whose_only_script_is_its_own(run: Path) -> None:
    text = (run / "report.html").read_text()
    page = _Page(text)
    assert len(text) < 10e6
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert len(scripts) == text.count("<script") == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text
    assert not page.stack  # every tag is closed


def test_the_report_has_all_its_headings(run: Path) -> None:
    page = _Page((run / "report.html").read_text())
    assert page.headings == [
        "Question and answer",
        "The data at a glance",
        "Label efficiency",
        "Method by label fraction",
        "Every two inits",
        "Rank stability",
        "Fairness of budgets",
        "Calibration",
        "Confusion matrices",
        "Pre-training curves",
        "Results",
        "Failed cells",
        "Limits",
        "How to reproduce",
    ]


def test_a_phantom_study_says_that_it_is_no_clinical_evidence(run: Path) -> None:
    assert "Synthetic data: no clinical evidence" in _Page((run / "report.html").read_text()).text


def test_unequal_budgets_and_a_collapse_stand_at_the_top_and_beside_the_scores(run: Path) -> None:
    text = _Page((run / "report.html").read_text()).text.replace("\u202f", " ")
    banner, rest = text.split("Question and answer", 1)
    assert "Unequal budgets: no fair race." in banner
    assert "BYOL had 40 000 frames seen; MAE had 384 frames seen" in banner
    assert "Collapsed while pre-training: MAE." in banner
    assert "this judges what was done with each method" in rest
    assert "unequal budgets: scores, gains and ranks mix" in rest.split("Limits")[-1]
    table = (run / "report.html").read_text().split('aria-label="Scores beside budgets"')[1].split("</table>")[0]
    cells = [re.sub("<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", table, re.S)]
    mae = cells[cells.index("MAE") :]
    assert mae[3] == "384"
    assert "collapsed at step" in table


def test_the_ladder_of_learning_rates_is_shown_where_there_was_one(run: Path) -> None:
    text = _Page((run / "report.html").read_text()).text
    assert "Learning rates that were chosen" in text
    assert "Not tuned, so not treated alike: MAE." in text
    assert "Only the learning rate was searched for each method" in text


def test_ranks_are_shown_and_written_as_tables(run: Path) -> None:
    text = _Page((run / "report.html").read_text()).text
    assert "has the lowest mean rank" in text
    ranks = pd.read_csv(run / "figures" / "ranks.csv")
    assert set(ranks["init"]) == {"byol", "mae"}
    for name in ("rank_settings", "rank_agreement", "rank_concordance"):
        assert (run / "figures" / f"{name}.csv").is_file()


def test_statistics_are_shown_and_written_as_tables_that_name_what_was_resampled(run: Path) -> None:
    text = _Page((run / "report.html").read_text()).text
    for words in ("Labels saved, internal test cohort", "Area, external test cohort", "F1 of each class"):
        assert words in text
    for name in ("scores", "pairwise", "label_areas", "label_area_pairs", "labels_saved", "measures"):
        table = pd.read_csv(run / "figures" / f"{name}.csv")
        assert len(table)
        assert set(table["unit"]) == {"patient"}
    assert "By image" not in text


def test_every_table_of_planes_without_patients_is_marked(fake_run: Fake, tmp_path: Path) -> None:
    run = fake_run(tmp_path, pretraining=False, **(TINY | {"cohorts": ("internal",)}))
    (run / "planes").mkdir()
    (run / "planes" / "planes.json").write_text(json.dumps({"classes": [], "unit": "image"}))
    text = write_report(run, replicates=20).read_text()
    marked = [part.split('"')[0] for part in text.split('aria-label="')[1:] if "By image: the planes name no" in part]
    for label in ("Test planes per class", "Labels saved, internal", "Areas, internal", "Ranks", "All measures"):
        assert label in marked
    assert "By image, not by patient." in text
    assert "test images, internal" in text
    assert set(pd.read_csv(run / "figures" / "measures.csv")["unit"]) == {"image"}


def test_a_class_without_a_test_image_is_named_and_not_scored(fake_run: Fake, tmp_path: Path) -> None:
    run = fake_run(tmp_path, pretraining=False, **TINY)
    predictions = pd.read_parquet(run / "predictions.parquet")
    gone = (predictions["cohort"] == "external") & (predictions["label"] == "3VT")
    predictions[~gone].to_parquet(run / "predictions.parquet")
    text = _Page(write_report(run, replicates=20).read_text()).text
    assert "Not scored for want of a test image in the external cohort: 3VT." in text
    assert "The external test cohort holds no image of 3VT." in text.split("Limits")[-1]
    assert "absent" in text


def test_the_words_of_the_page_are_explained(run: Path) -> None:
    text = _Page((run / "report.html").read_text()).text
    for word in ("init", "macro-F1", "gain", "labelled fraction", "linear probe, fine-tuning"):
        assert f" {word} " in text.split("Words on this page")[1]


def test_failed_cells_are_listed_and_text_from_files_is_escaped(run: Path) -> None:
    text = (run / "report.html").read_text()
    assert "MemoryError: &lt;no memory&gt; left &amp; gone" in text
    assert "<no memory>" not in text


def test_figures_are_saved_as_png_and_svg(run: Path) -> None:
    names = {path.name for path in (run / "figures").iterdir()}
    for name in (
        "label_efficiency",
        "gains_internal",
        "heat_map_external",
        "confusion_linear",
        "pretraining_loss",
        "ranks",
        "planes",
        "frames",
        "labels_saved",
        "pairwise",
        "calibration_linear",
    ):
        assert {f"{name}.png", f"{name}.svg"} <= names


def test_mixed_backbones_are_explained(run: Path) -> None:
    assert "This study mixes backbones (resnet10t, vit_micro_patch8)" in _Page((run / "report.html").read_text()).text


def test_a_partial_run_of_real_scans_has_a_report_which_is_the_same_each_time(fake_run: Fake, tmp_path: Path) -> None:
    """Two classes, one cohort, one seed, one fraction; no baseline, no predictions, no pre-training."""
    settings = {"skill": {"byol": 0.9}, "fractions": (0.5,), "seeds": (0,), "modes": ("finetune",)}
    settings |= {"classes": ("no", "yes"), "cohorts": ("internal",), "source": "scans.csv"}
    run = fake_run(tmp_path, pretraining=False, failures=0, **settings)
    (run / "predictions.parquet").unlink()
    text = write_report(run, replicates=20).read_text()
    page = _Page(text)
    assert "BYOL is the only init so far" in page.text
    assert "Rank stability" not in page.headings
    assert not list((run / "figures").glob("rank*"))
    assert "no intervals" in page.text
    assert "no clinical evidence" not in page.text
    assert "Confusion matrices" not in page.headings
    assert write_report(run, replicates=20).read_text() == text


def test_a_history_that_is_still_being_written_is_read_up_to_its_last_whole_line(run: Path) -> None:
    path = run / "encoders" / "byol-s0" / "history.jsonl"
    before = path.read_text()
    path.write_text(before + '{"step": 313, "lo')
    history = next(encoder.history for encoder in read_run(run).encoders if encoder.name == "byol-s0")
    path.write_text(before)
    assert history["step"].iloc[-1] == 312


def test_the_init_of_an_encoder_folder_is_its_name_without_the_seed() -> None:
    encoder = Pretrained("byol-s1", {"method": "byol", "backbone": "net", "seed": 1}, pd.DataFrame(), {})
    assert encoder.key == ("byol", "net", "byol", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: (run / "results.csv").unlink(), "results.csv: no such file"),
        (lambda run: (run / "results.csv").write_text("init,mode\na,b\n"), "column 'backbone' is missing"),
        (lambda run: (run / "predictions.parquet").write_text("x"), "predictions.parquet: not a readable parquet file"),
        (lambda run: (run / "experiment.yaml").write_text("a: [1"), "experiment.yaml: not valid YAML"),
    ],
)
def test_a_broken_run_folder_is_one_sentence_that_names_the_file(
    change, message: str, fake_run: Fake, tmp_path: Path
) -> None:
    run = fake_run(tmp_path, pretraining=False, **(TINY | {"cohorts": ("internal",)}))
    change(run)
    with pytest.raises(UserError, match=re.escape(message)):
        write_report(run, replicates=20)
    assert not (run / "report.html").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing: no such run folder"):
        write_report(tmp_path / "nothing")
