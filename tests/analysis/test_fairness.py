from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.fairness import (
    budget_kind,
    budget_sentences,
    budgets_differ,
    fairness_table,
    pretrained_elsewhere,
)
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.statistics import estimate
from ssl_zoo.analysis.tables import plain_number


def _budgets(**frames: float | None) -> pd.DataFrame:
    rows = {
        (name, "net", name, 0): {"frames_seen": f, "steps": f and f / 10, "seconds": 60.0, "batch_size": 10}
        for name, f in frames.items()
    }
    return figures.budget_table(rows)


def _told(table: pd.DataFrame, kind: str = "frames_seen") -> str:
    return " ".join(budget_sentences(table, kind, looks_of(table))).replace("\u202f", " ")


def test_equal_budgets_are_called_equal_with_their_number() -> None:
    table = _budgets(byol=40000, mae=40000)
    assert budgets_differ(table, "frames_seen") is False
    assert "All 2 pre-trainings had the same budget: 40 000 frames seen." in _told(table)


def test_unequal_budgets_are_named_plainly_group_by_group() -> None:
    table = _budgets(simclr=384, byol=384, moco=768, vicreg=38400, barlow_twins=38400)
    text = _told(table)
    assert budgets_differ(table, "frames_seen") is True
    assert text.startswith("The inits did not have the same budget.")
    assert (
        "Barlow Twins and VICReg had 38 400 frames seen; MoCo v2 had 768 frames seen; BYOL and SimCLR had 384" in text
    )
    assert "100 times the smallest" in text
    assert "do not read the order" in text


def test_what_the_budget_counts_decides_what_has_to_be_equal() -> None:
    table = _budgets(byol=500, mae=40000)
    assert budgets_differ(table, "seconds") is False
    assert (
        "the same budget: 60 seconds. In that time they came differently far: frames seen from 500 to 40 000"
        in _told(table, "seconds")
    )
    assert budget_kind({"pretrain": {"budget": {"frames_seen": None, "steps": None, "seconds": 60}}}) == "seconds"
    assert budget_kind({"pretrain": {"budget": {"steps": 100}}}) == "steps"
    assert budget_kind({}) == "frames_seen"


def test_a_batch_more_or_less_is_no_other_budget_but_five_per_cent_are() -> None:
    assert budgets_differ(_budgets(byol=40000, mae=40128), "frames_seen") is False
    assert budgets_differ(_budgets(byol=40000, mae=42000), "frames_seen") is True


def test_equal_frames_in_different_batches_say_that_steps_differ() -> None:
    rows = {
        (name, "net", name, 0): {"frames_seen": 12800, "steps": 12800 / batch, "batch_size": batch}
        for name, batch in (("byol", 64), ("simclr", 32))
    }
    assert "differ in optimiser steps from 200 to 400, since batches differ" in _told(figures.budget_table(rows))


def test_an_encoder_without_a_record_does_not_count_as_equal() -> None:
    table = _budgets(byol=40000, mae=None)
    assert budgets_differ(table, "frames_seen") is None
    assert "equal budgets are not shown" in _told(table)


def test_weights_from_elsewhere_had_another_budget(
    fake_cells: Callable[..., tuple[pd.DataFrame, pd.DataFrame]],
) -> None:
    settings = {"fractions": (1.0,), "seeds": (0,), "modes": ("linear",), "cohorts": ("internal",)}
    points = estimate(*fake_cells(skill={"random": 0.0, "byol": 0.5, "imagenet": 0.4}, **settings), replicates=20).table
    budgets = figures.budget_table({("byol", "resnet10t", "byol", 0): {"frames_seen": 100}})
    assert pretrained_elsewhere(points, budgets) == [("imagenet", "resnet10t")]
    told = budget_sentences(budgets, "frames_seen", looks_of(points), [("imagenet", "resnet10t")])
    assert "ImageNet was pre-trained elsewhere, with other images and a budget of its own" in told[1]


def test_scores_stand_beside_budgets_of_every_init(whole: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    points = estimate(*whole, replicates=20).table
    rows = {
        ("byol", "resnet10t", "byol", seed): {"frames_seen": 384, "steps": 38, "seconds": 1.5 + seed, "batch_size": 10}
        | {"collapsed_at_step": 20 if seed else None, "share_without_neighbour": 0.25}
        for seed in (0, 1)
    }
    table = fairness_table(points, figures.budget_table(rows), looks_of(points), [])
    assert [column.replace("\u00a0", " ") for column in table.columns] == [
        "init",
        "backbone",
        "linear probe, 5 %",
        "fine-tuning, 5 %",
        "frames seen",
        "batch",
        "optimiser steps",
        "time, s",
        "seeds",
        "without neighbour",
        "collapsed at step",
    ]
    byol = next(line for line in table.rows if line[0] == "BYOL")
    score = points.query("init == 'byol' and mode == 'linear' and fraction == 0.05 and cohort == 'internal'").iloc[0]
    assert byol[2] == f"{score['f1_macro']:.2f} ({score['difference']:+.2f})"
    assert [cell.replace("\u00a0", " ") for cell in byol[4:]] == ["384", "10", "38", "2", "2", "25 %", "20"]
    random = next(line for line in table.rows if line[0] == "random")
    assert random[4] == "–"
    assert "(" not in random[2]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (float("nan"), "–"), (1.94, "1.9"), (3.0, "3"), (12345.6, "12\u202f346")]
)
def test_counts_read_well(value: float | None, text: str) -> None:
    assert plain_number(value) == text
