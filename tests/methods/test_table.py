"""The table of the methods says what the classes do."""

from __future__ import annotations

import re

from torch import nn

from ssl_zoo.methods import METHODS
from ssl_zoo.methods.table import constructor_defaults, method_table, schedule_text

COLUMNS = ["method", "family", "backbone", "views", "optimiser", "learning rate", "schedule", "head", "constants"]


def test_every_method_has_a_row_of_text_in_every_column():
    table = method_table()
    assert [row["method"] for row in table] == list(METHODS)
    for row in table:
        assert list(row) == [*COLUMNS, "paper"]
        assert all(isinstance(value, str) for value in row.values())
        assert all(row[column] for column in COLUMNS if column != "constants")
        assert re.fullmatch(r"arXiv \d{4}\.\d{5}", row["paper"])


def test_every_argument_of_a_constructor_is_shown_with_its_default():
    for row in method_table():
        shown = row["head"] + row["constants"]
        for key, value in constructor_defaults(METHODS[row["method"]]).items():
            named = f"{key} " in row["constants"]
            assert named or "{" + key + "}" in METHODS[row["method"]].heads
            if isinstance(value, int | str) and not isinstance(value, bool):
                assert str(value) in shown


def test_the_widths_of_a_head_in_the_table_are_those_of_its_layers(tiny):
    for row in method_table():
        chains = re.findall(r"(?:MLP|projector|predictor) ([\dd]+(?:-[\dd]+)+)", row["head"])
        if METHODS[row["method"]].needs != "any":
            assert chains == []
            continue
        method = METHODS[row["method"]](tiny.Flat(48))
        heads = [method.head] if row["method"] == "dino" else [method.projector]
        heads += [method.predictor] if row["method"] == "byol" else []
        assert len(chains) == len(heads)
        for chain, head in zip(chains, heads, strict=True):
            layers = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
            widths = [layers[0].in_features, *(layer.out_features for layer in layers)]
            assert [48 if width == "d" else int(width) for width in chain.split("-")] == widths
        normed = any(isinstance(layer, nn.BatchNorm1d) for head in heads for layer in head.modules())
        assert normed is ("no BatchNorm" not in row["head"])


def test_recipes_are_told_in_words():
    rows = {row["method"]: row for row in method_table()}
    assert rows["barlow_twins"]["optimiser"] == "LARS, momentum 0.9, weight decay 1.5e-06"
    assert rows["barlow_twins"]["learning rate"] == "0.2 * batch / 256, 0.024 of it for biases and norms"
    assert rows["barlow_twins"]["schedule"] == "warm-up 0.1 of the run, cosine to 0.001"
    assert rows["dino"]["optimiser"] == (
        "AdamW, betas 0.9-0.999, weight decay 0.04 to 0.4 by a cosine, gradient clipped to 3"
    )
    assert rows["autoencoder"]["learning rate"] == "0.001"
    assert rows["autoencoder"]["schedule"] == "times 0.5624 every 0.05 of the run"
    assert rows["mae"]["backbone"] == "ViT"
    assert rows["autoencoder"]["backbone"] == "CNN"


def test_the_words_follow_the_recipe():
    from dataclasses import replace

    recipe = METHODS["simclr"].recipe
    assert schedule_text(recipe) == "warm-up 0.1 of the run, cosine to 0"
    assert schedule_text(replace(recipe, warmup=0.0, final_lr=0.5)) == "cosine to 0.5"
