"""Entrants: every method in every variant is an init of its own, and runs under the settings that its keys say."""

from __future__ import annotations

import pytest

from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid.entrants import backbones, entrants, pretrain_settings
from ssl_zoo.grid.jobs import pending_jobs
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.settings import check_names
from ssl_zoo.grid.study import prepare
from ssl_zoo.pretraining.budget import Budget

VARIANTS = "pretrain.variants={same: {pairing: same_frame}, near: {window_s: 0.1, methods: [moco]}}"


def settings_of(experiment, *overrides):
    loaded = load_experiment(experiment, overrides)
    return {entrant.name: pretrain_settings(loaded, entrant, seed=0) for entrant in entrants(loaded)}


def test_without_variants_an_entrant_is_a_method(experiment):
    assert list(settings_of(experiment, "pretrain.methods=[byol,simclr]")) == ["byol", "simclr"]


def test_every_variant_is_an_init_with_settings_of_its_own(experiment):
    found = settings_of(experiment, VARIANTS)
    assert list(found) == ["simclr@same", "moco@near"]
    assert (found["simclr@same"].pairing, found["moco@near"].pairing) == ("same_frame", "temporal")
    assert (found["simclr@same"].window_s, found["moco@near"].window_s) == (0.2, 0.1)
    assert found["simclr@same"].budget == found["moco@near"].budget


def test_variants_are_planned_as_inits_that_share_the_cells_and_the_baseline(study_of):
    study = study_of(VARIANTS)
    plan = make_plan(study)
    assert {cell.init.name for cell in plan.cells} == {"random", "simclr@same", "moco@near"}
    assert len(plan.cells) == 3 * 6
    assert [pretraining.init.folder for pretraining in plan.pretrainings] == ["simclr@same-s0", "moco@near-s0"]
    assert len({pretraining.init.fingerprint for pretraining in plan.pretrainings}) == 2
    assert len({job.name for job in pending_jobs(study, plan)}) == len(pending_jobs(study, plan))


def test_a_variant_of_another_backbone_brings_its_own_baseline(experiment):
    loaded = load_experiment(experiment, ["pretrain.variants={a: {}, b: {backbone: resnet18}}"])
    assert backbones(loaded) == ["resnet10t", "resnet18"]


@pytest.mark.parametrize(
    ("inits", "expected"),
    [
        ("[]", ["resnet10t"]),  # nothing else is there to evaluate
        ("[random]", ["resnet10t"]),
        ("[imagenet]", ["resnet10t"]),
        ("[random,usf_mae:/file.pt]", ["resnet10t"]),
        ("[usf_mae:/file.pt]", []),  # no network of the study is one of these
        ("[imagenet@resnet18]", []),  # it names its own
    ],
)
def test_without_methods_the_default_backbone_is_used_only_where_an_init_stands_for_it(experiment, inits, expected):
    loaded = load_experiment(experiment, ["pretrain.methods=[]", f"transfer.inits={inits}"])
    assert backbones(loaded) == expected
    with_method = load_experiment(experiment, ["pretrain.methods=[mae]", f"transfer.inits={inits}"])
    assert backbones(with_method) == [with_method.pretrain.vit]


def test_a_methods_own_budget_and_batch_leave_the_others_alone(experiment):
    budgets = "pretrain.budgets={moco: {steps: 3, batch_size: 4}}"
    found = settings_of(experiment, "pretrain.methods=[simclr,moco]", budgets)
    assert (found["simclr"].budget, found["simclr"].batch_size) == (Budget(frames_seen=32), 16)
    assert (found["moco"].budget, found["moco"].batch_size) == (Budget(steps=3), 4)


def test_a_batch_of_its_own_leaves_a_method_under_the_common_budget(experiment):
    found = settings_of(experiment, "pretrain.methods=[simclr,moco]", "pretrain.budgets={moco: {batch_size: 4}}")
    assert (found["moco"].budget, found["moco"].batch_size) == (found["simclr"].budget, 4)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("pretrain.pair_weighting=linar", r"pretrain\.pair_weighting: .*did you mean 'linear'"),
        ("pretrain.budgets={mocco: {steps: 3}}", r"pretrain\.budgets: unknown method 'mocco'; did you mean 'moco'"),
        ("pretrain.variants={a: {methods: [mocco]}}", r"pretrain\.variants\.a\.methods: .*did you mean 'moco'"),
        ("pretrain.variants={a: {pairing: near}}", r"pretrain\.variants\.a\.pairing: unknown pairing 'near'"),
        ("pretrain.variants={a: {views: {crop: 1}}}", r"pretrain\.variants\.a\.views: .*crop"),
        ("pretrain.accumulate=2", r"pretrain\.accumulate: .*simclr"),
        ("compute.devices=3", r"pretrain\.batch_size: 16 images do not divide into 3 processes"),
        ("compute.num_nodes=2", r"compute\.num_nodes: .*torchrun or srun"),
    ],
)
def test_what_does_not_fit_is_named_before_any_work(experiment, override, words):
    with pytest.raises(UserError, match=words):
        check_names(load_experiment(experiment, [override, "compute.device=cpu"]))


STORES = "pretrain.variants={all: {}, few: {frames: {per_scan: 2}}}"


def test_a_variant_with_frames_of_its_own_is_trained_on_a_store_of_its_own(experiment):
    study = prepare(load_experiment(experiment, [STORES]), progress=False)
    assert list(study.stores) == ["frames", "frames@few"]
    assert len(study.stores["frames@few"]) < len(study.stores["frames"])
    trainings = {p.init.name: p.training for p in make_plan(study).pretrainings}
    assert {name: training.store for name, training in trainings.items()} == {
        "simclr@all": "frames",
        "simclr@few": "frames@few",
    }
    assert trainings["simclr@all"].settings == trainings["simclr@few"].settings
    assert trainings["simclr@all"].fingerprint(study) != trainings["simclr@few"].fingerprint(study)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("pretrain.frames={per_scan: 2}", r"pretrain\.frames: only a variant has frames of its own"),
        ("pretrain.variants={a: {frames: {per_scn: 2}}}", r"variants\.a\.frames\.per_scn'; did you mean .*per_scan"),
        ("pretrain.variants={a: {frames: {per_scan: many}}}", r"variants\.a\.frames\.per_scan: .*many"),
        ("pretrain.variants={a: {frames: {size: 64}}}", r"variants\.a\.frames\.size: all variants share 'size'"),
        ("pretrain.variants={a: {frames: {per_scan: 0}}}", r"variants\.a\.frames\.per_scan: must be at least 1"),
        ("frames.cleaning.sector=cut", r"unknown frames\.cleaning\.sector 'cut'"),
        ("pretrain.variants={a: {frames: {sampler: unifrm}}}", r"variants\.a\.frames\.sampler: .*'uniform'"),
        (
            "pretrain.variants={a: {frames: {sampler: stride, every: 2, every_s: 0.1}}}",
            r"variants\.a\.frames\.every .*variants\.a\.frames\.every_s",
        ),
    ],
)
def test_frames_of_a_variant_that_cannot_be_are_named(experiment, override, words):
    with pytest.raises(UserError, match=words):
        check_names(load_experiment(experiment, [override, "compute.device=cpu"]))
