"""A part of the plan: by names of inits, modes and fractions, or what has failed before."""

from __future__ import annotations

import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.plan import Cell, Plan
from ssl_zoo.grid.selection import Selection, select

INITS = [Init("random", "resnet10t"), Init("simclr", "resnet10t", "simclr", 0), Init("moco@near", "resnet10t", "moco")]
CELLS = [
    Cell(init, mode, fraction, 0, seed, f"{init.name} {mode} {fraction:g} {seed}")
    for init in INITS
    for mode in ("linear", "finetune")
    for fraction in (0.1, 0.25, 1.0)
    for seed in (0, 1)
]


def chosen(*only, retry_failed=False, failed=()):
    part = select(Plan([], CELLS), Selection(only, retry_failed), dict.fromkeys(failed, "why"))
    return {cell.key for cell in part.cells}


def keys(**where):
    def value(cell, name):
        return cell.init.name if name == "init" else getattr(cell, name)

    return {cell.key for cell in CELLS if all(value(cell, name) in wanted for name, wanted in where.items())}


@pytest.mark.parametrize(
    ("pattern", "where"),
    [
        ("simclr", {"init": ["simclr"]}),
        ("linear", {"mode": ["linear"]}),
        ("0.1", {"fraction": [0.1]}),
        ("0.10", {"fraction": [0.1]}),
        ("1", {"fraction": [1.0]}),
        ("moco*", {"init": ["moco@near"]}),
        ("*", {}),
        ("simclr/linear/0.1", {"init": ["simclr"], "mode": ["linear"], "fraction": [0.1]}),
        ("simclr/random/finetune", {"init": ["simclr", "random"], "mode": ["finetune"]}),
        ("0.?", {"fraction": [0.1]}),
    ],
)
def test_a_pattern_names_inits_modes_and_fractions(pattern, where):
    assert chosen(pattern) == keys(**where)


def test_several_patterns_add_up():
    assert chosen("simclr/linear", "random/finetune") == keys(init=["simclr"], mode=["linear"]) | keys(
        init=["random"], mode=["finetune"]
    )


def test_a_name_that_is_not_there_is_told_with_the_nearest_one():
    with pytest.raises(UserError, match="unknown init, mode or fraction 'simclar'; did you mean 'simclr'"):
        chosen("linear/simclar")


def test_failed_cells_alone_are_tried_again_also_within_a_pattern():
    failed = ["simclr linear 0.1 0", "random linear 1 1"]
    assert chosen(retry_failed=True, failed=failed) == set(failed)
    assert chosen("simclr", retry_failed=True, failed=failed) == {failed[0]}
    assert chosen(retry_failed=True) == set()
