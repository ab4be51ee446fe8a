"""The time that is left is measured where cells like it are finished, and else grows with what there is to compute."""

from __future__ import annotations

import dataclasses

import pytest

from ssl_zoo.encoders.fitting import Fit
from ssl_zoo.grid.estimate import estimate
from ssl_zoo.grid.inits import Init
from ssl_zoo.grid.jobs import PASSES_PER_SECOND, cost_of_cell, cost_of_cells, cost_of_features, passes_of, pending_jobs
from ssl_zoo.grid.ledger import Entry
from ssl_zoo.grid.plan import Cell, Plan, make_plan

KEYS = ("pretrain.methods=[]", "transfer.modes=[linear,finetune]", "transfer.fractions=[0.5,1.0]")


def cell(init, mode, fraction=1.0, seed=0):
    return Cell(init, mode, fraction, 0, seed, f"{init.name}{init.backbone}{mode}{fraction}{seed}")


SMALL = Init("random", "resnet10t")
LARGE = Init("given", "resnet18", fingerprint="f")
WIDE = dataclasses.replace(LARGE, name="wide", fit=Fit(128))


def left_of(study, cells, seconds):
    """The estimate of a plan in which some cells (key -> seconds) are finished."""
    return estimate(study, Plan([], cells), {key: Entry(value, None) for key, value in seconds.items()})


def test_an_image_costs_more_for_a_deeper_network_and_as_the_square_of_its_size():
    assert passes_of("resnet10t", 64) == pytest.approx(1, rel=0.05)
    assert passes_of("resnet18", 128) == pytest.approx(4 * passes_of("resnet18", 64), rel=0.05)
    deep, shallow = passes_of("vit_tiny_patch8", 64), passes_of("vit_micro_patch8", 64)  # 12 blocks and 6
    assert deep == pytest.approx(2 * shallow, rel=0.1)


def test_without_finished_cells_time_grows_with_size_and_depth_and_is_a_guess(study_of):
    study = study_of(*KEYS)
    left = left_of(study, [cell(init, "finetune") for init in (SMALL, LARGE, WIDE)], {})
    assert not left.is_measured
    small, large, wide = (left.cells[init, "finetune"] for init in (SMALL, LARGE, WIDE))
    size = study.experiment.frames.size
    assert large / small == pytest.approx(passes_of("resnet18", size) / passes_of("resnet10t", size))
    assert wide / large == pytest.approx((128 / size) ** 2, rel=0.15)


def test_a_choice_of_learning_rates_trains_once_more_for_each_of_them(study_of):
    one, three = (
        cost_of_cell(study_of(*KEYS, "transfer.finetune.steps=200", *keys), SMALL, "finetune")
        for keys in ((), ("transfer.finetune.lr_choices=[1e-2,1e-3,1e-4]",))
    )
    assert 3.3 < three / one <= 4


def test_features_are_reckoned_once_for_all_frozen_cells_that_share_them(study_of):
    study = study_of(*KEYS)
    pass_s = cost_of_features(study, LARGE) / PASSES_PER_SECOND
    grid = [(mode, fraction, seed) for mode in ("linear", "knn") for fraction in (0.5, 1.0) for seed in (0, 1)]
    cells = [cell(LARGE, *point) for point in grid]
    alone = sum(cost_of_cell(study, LARGE, each.mode) for each in cells) / PASSES_PER_SECOND
    assert left_of(study, cells, {}).total == pytest.approx(alone + pass_s)
    assert cost_of_cells(study, cells) == pytest.approx((alone + pass_s) * PASSES_PER_SECOND)
    assert left_of(study, cells, {cells[0].key: 7.0, cells[4].key: 7.0}).total == pytest.approx(6 * 7.0)
    untrained = [cell(SMALL, "linear", seed=seed) for seed in (0, 1)]  # other weights for each seed
    both = left_of(study, untrained, {}).total - 2 * cost_of_cell(study, SMALL, "linear") / PASSES_PER_SECOND
    assert both == pytest.approx(2 * cost_of_features(study, SMALL) / PASSES_PER_SECOND)


def test_cells_of_the_same_kind_take_as_long_as_those_that_are_finished(study_of):
    study = study_of(*KEYS)
    cells = [cell(LARGE, "finetune", fraction, seed) for fraction in (0.5, 1.0) for seed in (0, 1)]
    left = left_of(study, cells, {cells[0].key: 10.0})
    assert left.is_measured
    assert left.total == 3 * 10.0  # the other fraction for want of better
    left = left_of(study, cells, {cells[0].key: 10.0, cells[2].key: 20.0})
    assert left.total == 10.0 + 20.0


def test_another_networks_cells_are_scaled_by_what_there_is_to_compute(study_of):
    study = study_of(*KEYS)
    cells = [cell(SMALL, "finetune"), cell(LARGE, "finetune"), cell(WIDE, "finetune")]
    left = left_of(study, cells, {cells[0].key: 5.0})
    assert left.is_measured
    for init in (LARGE, WIDE):
        share = cost_of_cell(study, init, "finetune") / cost_of_cell(study, SMALL, "finetune")
        assert left.cells[init, "finetune"] == pytest.approx(5.0 * share)


def test_jobs_cost_what_their_cells_do(study_of):
    study = study_of(*KEYS)
    plan = make_plan(study)
    jobs = pending_jobs(study, plan)
    assert sum(len(job.cells) for job in jobs) == len(plan.cells)
    assert sum(job.cost for job in jobs) == pytest.approx(PASSES_PER_SECOND * estimate(study, plan, {}).total)
