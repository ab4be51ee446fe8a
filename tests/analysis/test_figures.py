from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.counts import read_cohort
from ssl_zoo.analysis.figures.pretraining import MONITORS
from ssl_zoo.analysis.statistics import Estimates, estimate
from ssl_zoo.analysis.style import COLOURS, MODE_LINES
from ssl_zoo.analysis.tables import class_table, summary_table
from ssl_zoo.pretraining.monitor import alignment_and_uniformity, feature_health

CutOff = Callable[[Figure], list[str]]


@pytest.fixture(scope="module")
def estimates(whole: tuple[pd.DataFrame, pd.DataFrame]) -> Estimates:
    return estimate(*whole, replicates=50)


def _words(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]  # type: ignore[attr-defined]


def test_label_efficiency_has_a_panel_per_mode_and_cohort_and_cuts_nothing_off(
    estimates: Estimates, cut_off: CutOff
) -> None:
    figure = figures.label_efficiency(estimates.table)
    assert len(figure.axes) == 4
    words = [word.replace("\u00a0", " ") for word in _words(figure)]
    assert "5 %\n5" in words  # the fraction, and the patients below it
    assert {"Barlow Twins", "resnet10t", "vit_micro_patch8"} <= set(words)
    assert not cut_off(figure)


def test_colour_says_the_method_and_line_style_says_the_mode(estimates: Estimates) -> None:
    figure = figures.label_efficiency(estimates.table)
    linear, finetune = figure.axes[:2]
    for axis, mode in ((linear, "linear"), (finetune, "finetune")):
        line = next(line for line in axis.lines if line.get_color() == COLOURS["byol"])
        assert line.is_dashed() == (MODE_LINES[mode] != "-")


def test_gains_show_every_init_but_the_baselines(estimates: Estimates, cut_off: CutOff) -> None:
    figure = figures.gains(estimates.table, "external")
    titles = {axis.get_title(loc="left") for axis in figure.axes if axis.get_visible()}
    assert titles == {"Barlow Twins", "SimCLR", "MoCo v2", "BYOL", "MAE", "DINO", "VICReg"}
    assert not cut_off(figure)


def test_the_heat_map_prints_scores_and_gains(estimates: Estimates, cut_off: CutOff) -> None:
    figure = figures.heat_map(estimates.table, "internal")
    point = estimates.table.iloc[estimates.rows(init="byol", mode="linear", fraction=0.05, cohort="internal")].iloc[0]
    words = _words(figure)
    assert f"{point['f1_macro']:.2f}" in words
    assert f"+{point['difference']:.2f}" in words
    assert not cut_off(figure)


def test_confusion_matrices_count_every_image_of_every_seed(
    whole: tuple[pd.DataFrame, pd.DataFrame], cut_off: CutOff
) -> None:
    results, predictions = whole
    chosen = (results["init"] == "byol") & (results["mode"] == "linear") & (results["fraction"] == 0.05)
    cells = list(results.loc[chosen, "cell"].unique())
    counts = read_cohort(predictions, "internal").confusion(cells)
    assert counts.sum() == 2 * 300
    assert (counts.sum(1) == 2 * 60).all()
    assert counts.trace() / counts.sum() == pytest.approx(
        results[chosen & (results["cohort"] == "internal")]["accuracy"].mean()
    )
    figure = figures.confusion_matrices(results, predictions, mode="linear", fraction=0.05, cohort="internal")
    assert sum(axis.get_visible() for axis in figure.axes) == 9
    assert not cut_off(figure)


def test_one_point_of_one_init_can_be_drawn(
    fake_cells: Callable[..., tuple[pd.DataFrame, pd.DataFrame]], cut_off: CutOff
) -> None:
    results, predictions = fake_cells(
        skill={"byol": 0.5, "random": 0.5},
        modes=("knn",),
        fractions=(0.5,),
        seeds=(0,),
        cohorts=("internal",),
        classes=("no", "yes"),
    )
    table = estimate(results, predictions, replicates=20).table
    for figure in (
        figures.label_efficiency(table),
        figures.heat_map(table, "internal"),
        figures.confusion_matrices(results, predictions, mode="knn", fraction=0.5, cohort="internal"),
    ):
        assert not cut_off(figure)


def test_losses_get_a_panel_per_init_with_a_line_per_seed() -> None:
    history = pd.DataFrame({"step": range(1, 30), "loss": np.linspace(3, 1, 29), "feature_std": 0.5})
    histories = {
        ("byol", "net", "byol", 0): history,
        ("byol", "net", "byol", 1): history,
        ("mae", "vit", "mae", 0): history,
    }
    figure = figures.loss_curves(histories)
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert [len(axis.lines) for axis in panels] == [4, 2]  # raw and smoothed
    assert figures.monitor_curves(histories) is not None
    assert figures.monitor_curves({("byol", "net", "byol", 0): history.drop(columns="feature_std")}) is None


def _history(frames: int, **columns: object) -> pd.DataFrame:
    steps = np.arange(1, 101)
    history = pd.DataFrame({"step": steps, "frames_seen": steps * frames // 100, "share": steps / 100, "loss": 1.0})
    return history.assign(**columns)


def test_every_monitor_that_is_recorded_gets_a_panel_and_the_free_place_holds_the_legend(cut_off: CutOff) -> None:
    recorded = {name: np.linspace(0.5, 0.9, 100) for name in MONITORS}
    figure = figures.monitor_curves({("byol", "net", "byol", 0): _history(1000, **recorded)})
    assert figure is not None
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [*(monitor.title for monitor in MONITORS.values()), ""]
    legend = figure.axes[-1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["BYOL"]
    assert not cut_off(figure)


def test_the_monitors_are_those_that_the_trainer_writes() -> None:
    features = torch.randn(16, 8)
    written = feature_health(features) | alignment_and_uniformity(features, features)
    assert set(MONITORS) == {*written, "embedding_std", "knn_accuracy"}


def test_a_collapse_is_marked_where_it_was_recorded() -> None:
    falling = np.geomspace(0.6, 0.001, 100)
    history = _history(1000, feature_std=falling, event=[None] * 79 + ["collapse"] + [None] * 20)
    figure = figures.monitor_curves({("byol", "net", "byol", 0): history})
    assert figure is not None
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [line.get_xdata().tolist() for line in crosses] == [[800]]  # type: ignore[union-attr]
    threshold = [line for line in figure.axes[0].lines if list(line.get_ydata()) == [0.01, 0.01]]  # type: ignore[arg-type]
    assert threshold
    assert "collapse" in _words(figure)
    assert any(
        line.get_marker() == "x" for line in figures.loss_curves({("byol", "net", "byol", 0): history}).axes[0].lines
    )


def test_monitors_of_unequal_budgets_are_drawn_over_their_share() -> None:
    long, short = (_history(frames, rankme=5.0) for frames in (38400, 384))
    one = figures.monitor_curves({("byol", "net", "byol", 0): long, ("mae", "net", "mae", 0): long})
    mixed = figures.monitor_curves({("byol", "net", "byol", 0): short, ("mae", "net", "mae", 0): long})
    assert one is not None
    assert mixed is not None
    assert one.axes[0].get_xlabel() == "frames seen"
    assert mixed.axes[0].get_xlabel() == "share of the budget"


def test_budget_bars_carry_their_numbers_in_the_usual_order(cut_off: CutOff) -> None:
    budgets = {
        ("simclr", "net", "simclr", 0): {"frames_seen": 384, "seconds": 1.9},
        ("barlow_twins", "net", "barlow_twins", 0): {"frames_seen": 38400, "seconds": 120.0},
    }
    figure = figures.budget_bars(figures.budget_table(budgets))
    frames, seconds = figure.axes
    assert [text.get_text() for text in frames.texts] == ["38.4k", "384"]
    assert [text.get_text() for text in seconds.texts] == ["120", "1.9"]
    assert [label.get_text() for label in frames.get_yticklabels()] == ["Barlow Twins", "SimCLR"]
    assert not cut_off(figure)


def test_plane_sheets_take_colour_images_and_classes_with_few_planes() -> None:
    images = np.zeros((3, 16, 16, 3), np.uint8)
    figure = figures.plane_sheet(images, np.array(["a", "a", "a very long class name"]), per_class=4)
    assert len(figure.axes[0].images) == 3


def test_the_terminal_table_is_aligned_and_counts_its_cells(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    results = whole[0].drop(index=whole[0].index[(whole[0]["init"] == "byol") & (whole[0]["seed"] == 1)])
    lines = summary_table(results).splitlines()
    mean = results.query("init == 'simclr' and mode == 'linear' and fraction == 0.05 and cohort == 'internal'")[
        "f1_macro"
    ].mean()
    simclr = next(line for line in lines if line.startswith("simclr"))
    assert simclr.split()[2] == f"{mean:.3f}"
    assert simclr.split()[5] == "2"
    assert next(line for line in lines if line.startswith("byol")).split()[5] == "1"
    assert len({line.rindex(".") for line in lines if line.startswith(("simclr", "byol", "random"))}) == 1
    assert lines[-1].startswith("labelled patients")
    assert "no results" in summary_table(results, cohort="nowhere")


def test_planes_of_one_video_are_counted_one_by_one() -> None:
    rows = {
        "cell": ["a", "a", "b", "b"],
        "image": "v.mp4",
        "patient_id": "p",
        "cohort": "internal",
        "label": "x",
        "p_x": 1.0,
    }
    assert class_table(pd.DataFrame(rows)).rows == [["internal", "1", "2", "2"]]
