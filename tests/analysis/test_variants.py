"""Studies with variants: what a variant changes, and figures in which fifteen inits stay apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.answer import make_answer
from ssl_zoo.analysis.looks import Starts, looks_of
from ssl_zoo.analysis.report import write_report
from ssl_zoo.analysis.run_folder import Run, read_run, run_looks
from ssl_zoo.analysis.statistics import Estimates, estimate
from ssl_zoo.analysis.tables import score_table
from ssl_zoo.analysis.variants import effect_table, variant_effects, variant_pairs

ORDER = ["same_frame", "near", "far", "far_weighted", "near_apart"]
CutOff = Callable[[Figure], list[str]]


@pytest.fixture(scope="module")
def run(pairing_run: Path) -> Run:
    return read_run(pairing_run)


@pytest.fixture(scope="module")
def starts(run: Run) -> Starts:
    return run_looks(run)


@pytest.fixture(scope="module")
def estimates(run: Run) -> Estimates:
    return estimate(run.results, run.predictions, replicates=60)


def test_curves_get_a_panel_per_method_with_a_line_per_variant(
    estimates: Estimates, starts: Starts, cut_off: CutOff
) -> None:
    figure = figures.label_efficiency(estimates.table, starts)
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in panels] == ["Barlow Twins", "MoCo v2", "SimCLR"] * 2  # two cohorts
    for axis in panels:
        assert len(axis.lines) == 6  # five variants, and the untrained network
        assert len({(str(line.get_color()), str(line.get_marker())) for line in axis.lines}) == 6
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*ORDER, "untrained (random)"]
    assert not cut_off(figure)


def test_fourteen_variants_of_one_method_stay_between_the_fractions_and_on_the_page(
    estimates: Estimates, cut_off: CutOff
) -> None:
    one = estimates.table[estimates.table["init"] == "simclr@near"]
    one = one[(one["cohort"] == "internal") & one["fraction"].isin(sorted(one["fraction"].unique())[-2:])]
    table = pd.concat([one.assign(init=f"simclr@100x{index}-neighbours") for index in range(14)])
    figure = figures.label_efficiency(table, looks_of(table))
    (axis,) = (axis for axis in figure.axes if axis.get_visible())
    first, second = zip(*(line.get_xdata() for line in axis.lines), strict=True)
    assert len(first) == 14
    assert max(first) < min(second)
    assert not cut_off(figure)


def test_gains_of_variants_have_a_zero_line_and_no_baseline(
    estimates: Estimates, starts: Starts, cut_off: CutOff
) -> None:
    figure = figures.gains(estimates.table, "internal", starts)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ORDER
    assert not cut_off(figure)


def test_other_figures_hold_fifteen_inits_without_cutting_any_off(
    run: Run, estimates: Estimates, starts: Starts, cut_off: CutOff
) -> None:
    histories = {encoder.key: encoder.history for encoder in run.encoders}
    budgets = figures.budget_table({encoder.key: encoder.budget for encoder in run.encoders}, starts)
    monitors = figures.monitor_curves(histories, starts)
    assert monitors is not None
    for figure in (
        figures.heat_map(estimates.table, "internal", starts),
        figures.loss_curves(histories, starts),
        monitors,
        figures.budget_bars(budgets, starts),
    ):
        assert not cut_off(figure)


def test_tables_list_variants_in_the_order_of_the_experiment(estimates: Estimates, starts: Starts) -> None:
    names = [line[0] for line in score_table(estimates.table, "linear", "internal", starts).rows]
    assert names[:5] == [f"Barlow Twins @{name}" for name in ORDER]
    assert names[-1] == "random"


def test_a_variant_is_set_against_the_first_one_within_each_method(estimates: Estimates, starts: Starts) -> None:
    pairs = variant_pairs(starts)
    assert [pair.variant for pair in pairs] == ORDER[1:]
    assert all(pair.first == "same_frame" and len(pair.starts) == 3 for pair in pairs)
    effects = variant_effects(estimates, starts)
    row = effects.query("variant == 'near' and fraction == 0.1 and cohort == 'internal'").iloc[0]
    scores = estimates.table.query("fraction == 0.1 and cohort == 'internal'").set_index("init")["f1_macro"]
    by_hand = [
        scores[f"{method}@near"] - scores[f"{method}@same_frame"] for method in ("barlow_twins", "simclr", "moco")
    ]
    assert row["difference"] == pytest.approx(sum(by_hand) / 3)
    assert row["low"] < row["difference"] < row["high"]
    table = effect_table(effects, "linear", "internal")
    assert [line[:2] for line in table.rows] == [[f"{name} − same_frame", "3"] for name in ORDER[1:]]


def test_a_method_that_lacks_a_variant_has_no_part_in_its_comparison(estimates: Estimates, starts: Starts) -> None:
    fewer = {start: look for start, look in starts.items() if start[0] != "barlow_twins@near_apart"}
    counts = variant_effects(estimates, fewer).groupby("variant")["methods"].max().to_dict()
    assert counts == {"near": 3, "far": 3, "far_weighted": 3, "near_apart": 2}


def test_a_study_without_variants_has_no_such_table(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    points = estimate(*whole, replicates=20)
    assert variant_effects(points, looks_of(points.table)).empty


def test_sentences_group_variants_and_do_not_list_fourteen_names(estimates: Estimates, starts: Starts) -> None:
    answer = make_answer(estimates, starts)
    text = " ".join([answer.verdict, *(sentence for finding in answer.findings for sentence in finding.sentences)])
    assert "Barlow Twins @" in text
    assert max(sentence.count("@") for finding in answer.findings for sentence in finding.sentences) <= 8
    assert "15 inits" in text


@pytest.mark.slow
def test_the_report_of_fifteen_inits_shows_effects_ranks_and_the_collapse(pairing_run: Path) -> None:
    text = write_report(pairing_run, replicates=60).read_text()
    for words in (
        "What the variants change",
        "near_apart − same_frame",
        "Rank stability",
        "Collapsed while pre-training: MoCo v2 @far.",
        "A cross marks a recorded collapse",
        "is the method SimCLR in the variant",
    ):
        assert words in text
    for name in ("ranks", "rank_settings", "rank_agreement", "rank_concordance"):
        assert (pairing_run / "figures" / f"{name}.csv").is_file()
