"""Sheets and figures of maps: every column once, a key to the colours, nothing cut off."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ssl_zoo.analysis.explain import sheets
from ssl_zoo.analysis.explain.cams import TECHNIQUES
from ssl_zoo.analysis.explain.figure import maps_figure
from ssl_zoo.analysis.explain.measure import Seen
from ssl_zoo.analysis.explain.sheets import draw_sheet, overlay
from ssl_zoo.analysis.looks import looks

CLASSES = ("4CH", "LVOT")
real = sheets.new_figure
NOTE = "Maps of layer2.\nShuffled weights.\nBlue lines."


def case(predicted: int) -> Seen:
    generator = np.random.default_rng(predicted)
    maps = {name: generator.random((16, 16)).astype(np.float32) for name in TECHNIQUES}
    wrong = {name: found for name, found in maps.items() if name != "eigen_cam"} if predicted else {}
    image = generator.integers(0, 255, (16, 16), np.uint8)
    target = np.zeros((16, 16), np.float32)
    target[4:9, 4:9] = 1
    return Seen(predicted, image, 0, predicted, np.array([0.4, 0.6]), maps, wrong, maps, target)


def test_a_map_that_knows_no_class_stands_once_and_says_so():
    for wrong, kinds in ((False, 2), (True, 3)):
        columns = sheets._columns(list(TECHNIQUES), wrong)
        assert len(columns) == 1 + 2 * kinds + 2
        words = [text for (_, name), text in columns if name == "eigen_cam"]
        assert words == ["EigenCAM\nof no class", "EigenCAM\nshuffled weights"]


def test_what_a_map_does_not_care_about_stays_as_it_was_and_what_it_cares_for_is_red_even_over_black():
    image = np.array([[0, 128], [128, 255]], np.uint8)
    shown = overlay(image, np.array([[1.0, 0.0], [0.5, 0.0]], np.float32))
    assert shown[0, 1] == pytest.approx(128 / 255)
    assert shown[1, 1].tolist() == [1.0] * 3
    assert shown[0, 0, 0] > 0.6
    assert shown[0, 0, 1:].max() < 0.1


@pytest.mark.parametrize(
    "title", ["4CH: BYOL", "Three vessels and trachea: Barlow Twins@near_apart on vit_base_patch16_224" * 2]
)
def test_a_sheet_is_as_wide_as_its_title_and_its_tiles(tmp_path, title, monkeypatch):
    drawn = []
    monkeypatch.setattr(sheets, "new_figure", lambda *size: drawn.append(real(*size)) or drawn[0])
    path = draw_sheet(tmp_path / "a.png", title, NOTE, [case(0)], [case(1)], CLASSES, {0: "P1", 1: "P2"})
    figure = drawn[0]
    renderer = FigureCanvasAgg(figure).get_renderer()
    (axis,) = figure.axes
    for text in axis.texts:
        box = text.get_window_extent(renderer)
        assert box.x0 >= 0, text.get_text()
        assert box.x1 <= figure.bbox.width, text.get_text()
        assert box.y0 >= 0, text.get_text()
    assert {"nothing", "most"} <= {text.get_text() for text in axis.texts}
    with Image.open(path) as image:
        assert image.width > 9 * 150 * sheets.SIDE


def test_the_numbers_of_an_axis_do_not_run_into_each_other_and_no_point_is_cut_off():
    rows = []
    for init, gain, hit in (("random", -0.056, 0.0), ("byol", 0.047, 1.0)):
        row = {"init": init, "backbone": "resnet10t", "mode": "linear", "technique": "score_cam"}
        row |= {"n_images": 10, "n_patients": 9, "area": 0.05, "energy_middle": 0.14, "pointing_middle": 0.7}
        for name, value in (("gain", gain), ("correlation", -0.9), ("energy", 0.1), ("pointing", hit)):
            row |= {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.01}
        rows.append(row)
    starts = looks([("random", "resnet10t", ""), ("byol", "resnet10t", "byol")], [])
    figure = maps_figure(pd.DataFrame(rows), "score_cam", starts)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for axis in figure.axes:
        low, high = axis.get_xlim()
        points = [line.get_xdata()[0] for line in axis.lines if line.get_marker() != "None"]
        assert len(points) == 2
        assert all(low < point < high for point in points)
        shown = [label for label in axis.get_xticklabels() if low <= label.get_position()[0] <= high]
        boxes = [label.get_window_extent(renderer) for label in shown]
        assert all(one.x1 < two.x0 for one, two in itertools.pairwise(boxes))
