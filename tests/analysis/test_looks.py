from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from ssl_zoo.analysis.looks import has_variants, looks, split_variant, start_order
from ssl_zoo.analysis.style import COLOURS, MARKERS

Seen = Callable[[str, str], np.ndarray]
VARIANTS = ["same_frame", "near", "far", "far_weighted", "near_apart"]
PAIRING = [(f"{method}@{name}", "net", method) for method in ("barlow_twins", "simclr", "moco") for name in VARIANTS]


def test_one_method_keeps_its_colour_whatever_else_is_in_the_figure() -> None:
    alone = looks([("byol", "net", "byol")])
    among = looks([("simclr", "net", "simclr"), ("byol", "net", "byol"), ("usfm", "vit", "")])
    assert alone["byol", "net"] == among["byol", "net"]


def test_the_same_init_on_two_backbones_gets_two_looks_that_name_them() -> None:
    found = looks([("random", "net", ""), ("random", "vit", "")])
    assert found["random", "net"].label == "random · net"
    assert found["random", "net"].name == "random"
    assert found["random", "net"].colour != found["random", "vit"].colour


def test_an_encoder_of_another_name_takes_the_colour_of_its_method() -> None:
    assert looks([("mine", "net", "byol")])["mine", "net"].colour == COLOURS["byol"]


def test_a_variant_is_named_after_its_method_and_itself() -> None:
    found = looks([*PAIRING, ("random", "net", "")], VARIANTS)
    look = found["barlow_twins@far_weighted", "net"]
    assert (look.name, look.family, look.variant) == ("Barlow Twins @far_weighted", "Barlow Twins", "far_weighted")
    assert not found["random", "net"].variant
    assert split_variant("inpainting_autoencoder@near") == ("inpainting_autoencoder", "near")
    assert split_variant("usfm@v2") == ("usfm@v2", "")  # the name of somebody's encoder folder


@pytest.mark.parametrize("vision", ["normal", "protan", "deutan"])
def test_variants_of_one_method_differ_in_lightness_for_every_colour_vision(vision: str, seen_as: Seen) -> None:
    found = looks(PAIRING, VARIANTS)
    for method in ("barlow_twins", "simclr", "moco"):
        light = [seen_as(found[f"{method}@{name}", "net"].colour, vision)[0] for name in VARIANTS]
        assert np.diff(light).min() > 6, (method, light)
        assert max(light) < 78  # not lost on white


def test_variants_keep_the_hue_of_their_method() -> None:
    found = looks([*PAIRING, ("byol", "net", "byol")], VARIANTS)
    assert found["byol", "net"].colour == COLOURS["byol"]
    for name in VARIANTS:
        red, green, blue = (int(found[f"barlow_twins@{name}", "net"].colour[at : at + 2], 16) for at in (1, 3, 5))
        assert red > green > blue  # as in Barlow Twins' own orange


def test_a_variant_has_one_marker_under_all_methods_and_no_two_variants_share_one() -> None:
    found = looks(PAIRING, VARIANTS)
    markers = {
        name: {found[f"{m}@{name}", "net"].marker for m in ("barlow_twins", "simclr", "moco")} for name in VARIANTS
    }
    assert all(len(own) == 1 for own in markers.values())
    assert len(set.union(*markers.values())) == len(VARIANTS)


def test_variants_are_listed_in_the_order_of_the_experiment_and_else_of_the_alphabet() -> None:
    def listed(starts) -> list[str]:
        return [init.split("@")[1] for init, _ in start_order(starts) if init.startswith("moco@")]

    assert listed(looks(reversed(PAIRING), VARIANTS)) == VARIANTS
    assert listed(looks(PAIRING)) == sorted(VARIANTS)
    assert listed(looks(PAIRING, ["far", "gone"])) == ["far", *sorted(set(VARIANTS) - {"far"})]


def test_all_looks_of_a_large_study_differ() -> None:
    found = looks([*PAIRING, *((name, "net", name) for name in COLOURS), *((f"own{i}", "net", "") for i in range(8))])
    shown = [(look.colour, str(look.marker)) for look in found.values()]
    assert len(set(shown)) == len(shown)


def test_every_marker_is_a_filled_one_since_edges_are_white() -> None:
    from matplotlib.markers import MarkerStyle

    from ssl_zoo.analysis.style import OTHER_MARKERS, VARIANT_MARKERS

    for marker in itertools.chain(MARKERS.values(), OTHER_MARKERS, VARIANT_MARKERS):
        assert MarkerStyle(marker).is_filled(), marker


def test_one_variant_of_a_method_needs_no_panels_of_its_own() -> None:
    assert has_variants(looks(PAIRING))
    assert not has_variants(looks([("simclr@near", "net", "simclr"), ("byol", "net", "byol")]))
    assert looks([("simclr@near", "net", "simclr")])["simclr@near", "net"].colour == COLOURS["simclr"]
