from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ssl_zoo.analysis.style import COLOURS, MARKERS, about, looks, new_figure, percent, save, styled, text_on

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def _lab(colour: str, vision: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    f = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", sorted(VISION))
def test_the_colours_of_any_two_methods_stay_apart_for_colour_blind_readers(vision: str) -> None:
    near = {
        (one, two): np.linalg.norm(_lab(COLOURS[one], vision) - _lab(COLOURS[two], vision))
        for one, two in itertools.combinations(COLOURS, 2)
    }
    assert min(near.values()) > 10, min(near.items(), key=lambda item: item[1])


def test_every_method_has_a_marker_of_its_own() -> None:
    assert COLOURS.keys() == MARKERS.keys()
    assert len(set(MARKERS.values())) == len(MARKERS)


def test_one_method_keeps_its_colour_whatever_else_is_in_the_figure() -> None:
    alone = looks([("byol", "net", "byol")])
    among = looks([("simclr", "net", "simclr"), ("byol", "net", "byol"), ("usfm", "vit", "")])
    assert alone["byol", "net"] == among["byol", "net"]


def test_the_same_init_on_two_backbones_gets_two_looks_that_name_them() -> None:
    found = looks([("random", "net", ""), ("random", "vit", "")])
    assert found["random", "net"].label == "random · net"
    assert found["random", "net"].colour != found["random", "vit"].colour


def test_an_encoder_of_another_name_takes_the_colour_of_its_method() -> None:
    assert looks([("mine", "net", "byol")])["mine", "net"].colour == COLOURS["byol"]


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
