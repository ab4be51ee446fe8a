from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_zoo.analysis.style import COLOURS, MARKERS, about, new_figure, percent, save, styled, text_on


@pytest.mark.parametrize("vision", ["normal", "protan", "deutan"])
def test_the_colours_of_any_two_methods_stay_apart_for_colour_blind_readers(
    vision: str, seen_as: Callable[[str, str], np.ndarray]
) -> None:
    near = {
        (one, two): np.linalg.norm(seen_as(COLOURS[one], vision) - seen_as(COLOURS[two], vision))
        for one, two in itertools.combinations(COLOURS, 2)
    }
    assert min(near.values()) > 10, min(near.items(), key=lambda item: item[1])


def test_every_method_has_a_marker_of_its_own() -> None:
    assert COLOURS.keys() == MARKERS.keys()
    assert len(set(MARKERS.values())) == len(MARKERS)


def test_percentages_read_well() -> None:
    assert [percent(f).replace("\u00a0", " ") for f in (0.01, 0.125, 1.0)] == ["1 %", "12.5 %", "100 %"]
    assert [about(f).replace("\u00a0", " ") for f in (0.0969, 0.188, 1.0)] == ["9.7 %", "19 %", "100 %"]


def test_text_is_dark_on_light_and_light_on_dark() -> None:
    assert text_on("white") != "white"
    assert text_on("black") == "white"


def test_saving_the_same_figure_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        with styled():
            figure = new_figure(3, 2)
            figure.subplots().fill_between([1, 2], [1, 2], [2, 3])
        save(figure, tmp_path / folder, "x")
    for name in ("x.png", "x.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
