"""Every cell is planned once, under a key that changes with whatever decides its numbers, and with nothing else."""

from __future__ import annotations

import pytest

from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid.jobs import pending_jobs
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.study import prepare


@pytest.fixture
def plan_of(experiment):
    def plan(*overrides):
        return make_plan(prepare(load_experiment(experiment, overrides), progress=False))

    return plan


def keys(plan, **where):
    return {cell.key for cell in plan.cells if all(getattr(cell, name) == value for name, value in where.items())}


def test_the_plan_is_the_product_of_inits_modes_fractions_folds_and_seeds(plan_of):
    plan = plan_of("planes.protocol=cross_validation", "planes.folds=2")
    # 2 inits x 2 folds x (2 fractions x 2 seeds by probe + 2 fractions x 1 seed by fine-tuning)
    assert len(plan.cells) == len(keys(plan)) == 2 * 2 * 6
    assert [pretraining.init.folder for pretraining in plan.pretrainings] == ["simclr-s0"]


def test_fine_tuning_may_stay_on_some_folds_and_its_cells_keep_their_keys(plan_of):
    folds = ["planes.protocol=cross_validation", "planes.folds=2"]
    whole, part = plan_of(*folds), plan_of(*folds, "transfer.finetune.folds=[1]")
    assert keys(part, mode="linear") == keys(whole, mode="linear")
    assert keys(part, mode="finetune") == keys(whole, mode="finetune", fold=1)
    with pytest.raises(UserError, match=r"transfer.finetune.folds: 2 is no fold"):
        plan_of(*folds, "transfer.finetune.folds=[2]")


def test_random_runs_once_for_each_backbone_in_use(plan_of):
    plan = plan_of("pretrain.methods=[simclr,mae]", "transfer.inits=[]")
    baselines = {cell.init.backbone for cell in plan.cells if cell.init.name == "random"}
    assert baselines == {"resnet10t", "vit_micro_patch8"}


@pytest.mark.parametrize(
    ("override", "linear_changes", "finetune_changes"),
    [
        ("transfer.finetune.steps=4", False, True),
        ("transfer.finetune.lr=0.01", False, True),
        ("transfer.linear.lambdas=[0.1,1]", True, False),
        ("planes.seed=1", True, True),
        ("frames.size=40", True, True),
        ("compute.precision=fp32", True, True),
    ],
)
def test_a_key_changes_with_what_decides_the_numbers(plan_of, override, linear_changes, finetune_changes):
    before, after = plan_of(), plan_of(override)
    for mode, changes in (("linear", linear_changes), ("finetune", finetune_changes)):
        assert (keys(before, mode=mode) != keys(after, mode=mode)) == changes, mode


@pytest.mark.parametrize("override", ["title=other", "compute.workers=1", "compute.checkpoint_every_s=5"])
def test_a_key_does_not_change_with_what_decides_nothing(plan_of, override):
    assert keys(plan_of()) == keys(plan_of(override))


def test_more_fractions_and_seeds_add_cells_and_keep_the_others(plan_of):
    few, many = plan_of(), plan_of("transfer.fractions=[0.5,0.75,1.0]", "transfer.seeds=[0,1,2]")
    assert keys(few) < keys(many)


@pytest.mark.parametrize("override", ["pretrain.window_s=0.5", "pretrain.seeds=[1]", "frames.per_scan=4"])
def test_a_changed_pretraining_changes_its_cells_and_not_those_of_random(plan_of, override):
    before, after = plan_of(), plan_of(override, "pretrain.batch_size=16")

    def of(plan, init):
        return {cell.key for cell in plan.cells if cell.init.name == init}

    assert not of(before, "simclr") & of(after, "simclr")
    if "frames" not in override:  # other frames give other pixel statistics, with which untrained networks are fed
        assert of(before, "random") == of(after, "random")


def test_every_job_has_a_name_of_its_own(experiment):
    changes = ["planes.protocol=cross_validation", "planes.folds=2", "pretrain.seeds=[0,1]"]
    study = prepare(load_experiment(experiment, changes), progress=False)
    names = [job.name for job in pending_jobs(study, make_plan(study))]
    assert len(names) == len(set(names))


def test_cells_wait_for_their_pretraining_and_probes_of_one_encoder_go_together(experiment):
    study = prepare(load_experiment(experiment), progress=False)
    jobs = pending_jobs(study, make_plan(study))
    assert sum(job.training is not None for job in jobs) == 1
    waiting = [job for job in jobs if job.needs == "simclr-s0"]
    assert sorted(len(job.cells) for job in waiting) == [1, 1, 4]
    assert sum(len(job.cells) for job in jobs) == 12
