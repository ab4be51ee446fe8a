"""The ladder of learning rates: chosen by training patients or unlabelled frames alone, recorded, and gone on with."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import ssl_zoo
from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid import tuning
from ssl_zoo.grid.criteria import check_criteria
from ssl_zoo.grid.entrants import entrants
from ssl_zoo.grid.experiment import work_through
from ssl_zoo.grid.jobs import STAGES, pending_jobs, tuning_jobs
from ssl_zoo.grid.plan import make_plan
from ssl_zoo.grid.run import run_jobs
from ssl_zoo.grid.work import do_job
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.endings import Interrupted

TUNED = ("pretrain.recipe=tuned", "pretrain.tuning.ladder=[0.5,1]", "pretrain.tuning.share=0.5")


def never():
    return False


def silent(done, line):
    pass


@pytest.fixture(scope="module")
def tuned(prepared_study, tmp_path_factory):
    """A study whose ladder is climbed, judged by the probe."""
    path, study = prepared_study
    run = tmp_path_factory.mktemp("tuned")
    study = dataclasses.replace(study, experiment=load_experiment(path, TUNED), run=run)
    for rung in tuning.all_rungs(study):
        tuning.climb(study, rung, "cpu", silent, never)
    return study


def run_alone(study, jobs, *, failed=None, progress=True):
    """What `run_jobs` does, in this process; it is left what cannot run."""
    blocked = [job for job in jobs if job.needs in (failed or {})]
    for job in jobs:
        if job not in blocked:
            do_job(study, job, "cpu", silent, never)
    return run_jobs(study, blocked, failed=failed, progress=False)


def poisoned(study, rows):
    """The study with other pixels, labels and patients in some rows."""
    images, table = np.array(study.images), study.planes.table.copy()
    images[rows] = 255 - images[rows]
    table.loc[rows, ["label", "patient_id", "cohort"]] = "poison"
    return dataclasses.replace(study, images=images, planes=dataclasses.replace(study.planes, table=table))


def test_the_choice_does_not_change_when_every_other_patient_is_poisoned(tuned):
    train = tuned.splits[0].train
    others = np.setdiff1d(np.arange(len(tuned.images)), train)
    assert len(tuned.splits[0].test)
    assert len(tuned.splits[0].val)
    assert set(tuned.splits[0].test) | set(tuned.splits[0].val) == set(others)
    for rung in tuning.all_rungs(tuned):
        recorded = tuning.result_of(rung)
        assert recorded is not None
        assert tuning.score(poisoned(tuned, others), rung, "cpu") == recorded["score"]


def test_the_poison_would_be_seen_if_a_row_were_read(tuned):
    rung = tuning.all_rungs(tuned)[0]
    spoilt = dataclasses.replace(poisoned(tuned, tuned.splits[0].train), planes=tuned.planes)
    spoilt.images[tuned.splits[0].train[::2]] = 0
    assert tuning.score(spoilt, rung, "cpu") != tuning.score(tuned, rung, "cpu")


def test_by_rankme_no_plane_is_read_at_all(study_of):
    study = study_of(*TUNED, "pretrain.tuning.by=rankme", "planes.protocol=cross_validation")
    blind = dataclasses.replace(study, images=None, planes=None, splits=None)
    rung = tuning.all_rungs(study)[0]
    tuning.climb(study, rung, "cpu", silent, never)
    recorded = tuning.result_of(rung)
    assert recorded is not None
    assert tuning.score(blind, rung, "cpu") == recorded["score"] > 1


def test_a_rung_is_a_factor_on_the_papers_rate_and_a_share_of_the_budget(tuned):
    half, whole = tuning.all_rungs(tuned)
    assert tuning.base_lr(half.training.settings) == pytest.approx(0.5 * tuning.base_lr(whole.training.settings))
    assert half.training.settings.budget == Budget(frames_seen=16)
    assert tuning.part_of(dataclasses.replace(half.training.settings, budget=Budget(seconds=8)), 0.25).seconds == 2
    assert tuning.part_of(dataclasses.replace(half.training.settings, budget=Budget(steps=3)), 0.1).steps == 1


def test_the_chosen_rate_holds_for_every_seed_and_one_is_the_papers(tuned):
    entrant = entrants(tuned.experiment)[0]
    seeds = dataclasses.replace(tuned.experiment.pretrain, seeds=[0, 7])
    study = dataclasses.replace(tuned, experiment=dataclasses.replace(tuned.experiment, pretrain=seeds))
    factor = tuning.choose(study, entrant).factor
    rates = {tuning.base_lr(found.training.settings) for found in make_plan(study).pretrainings}
    assert rates == {factor * 0.3}
    base = tuning.all_rungs(tuned)[1].training.settings
    assert tuning.with_factor(base, 1) == base


def test_the_best_score_is_chosen_and_of_equal_ones_the_papers_rate(tuned, monkeypatch):
    entrant = entrants(tuned.experiment)[0]

    def with_scores(*scores):
        given = dict(zip(entrant.pretrain.tuning.ladder, scores, strict=True))
        errors = {factor: "Diverged" if score is None else None for factor, score in given.items()}
        fake = {factor: {"factor": factor, "score": given[factor], "error": errors[factor]} for factor in given}
        monkeypatch.setattr(tuning, "result_of", lambda rung: fake[rung.factor])
        return tuning.choose(tuned, entrant)

    assert with_scores(0.7, 0.6).factor == 0.5
    assert with_scores(0.6, 0.7).factor == 1
    assert with_scores(0.6, 0.6).factor == 1
    assert with_scores(0.6, None).factor == 0.5
    assert with_scores(None, None).factor is None


def test_the_record_tells_every_score_the_choice_and_the_cost(tuned):
    told = tuning.write_choices(tuned)
    record = json.loads((tuned.run / "tuning" / "simclr.json").read_text())
    assert [rung["factor"] for rung in record["rungs"]] == [0.5, 1]
    assert record["chosen_base_lr"] == pytest.approx(record["base_lr"] * record["chosen_factor"])
    assert record["cost"]["frames_seen"] == 2 * 16
    assert record["cost"]["views_seen"] == 2 * 32
    assert len(told) == 1
    assert told[0].startswith("tuned simclr: base_lr ")


def test_rungs_that_are_done_are_not_done_again(tuned):
    assert tuning_jobs(tuned) == []
    kept = tuning.all_rungs(tuned)[0].result_file
    text = kept.read_text()
    kept.unlink()
    try:
        assert [job.name for job in tuning_jobs(tuned)] == ["tuning simclr x0.5"]
        again = tuning.all_rungs(tuned)[0]
        tuning.climb(tuned, again, "cpu", silent, never)  # the encoder is there: it is scored alone
        assert json.loads(kept.read_text())["score"] == json.loads(text)["score"]
    finally:
        kept.write_text(text)


def test_a_rung_that_is_stopped_goes_on_and_gets_no_result_before(study_of):
    study = study_of(*TUNED, "pretrain.budget.frames_seen=64")
    rung = tuning.all_rungs(study)[0]
    with pytest.raises(Interrupted):
        tuning.climb(study, rung, "cpu", silent, lambda: True)
    assert tuning.result_of(rung) is None
    assert list(rung.training.folder.parent.glob(".work-*/step-*.pt"))
    tuning.climb(study, rung, "cpu", silent, never)
    assert tuning.result_of(rung) is not None


@pytest.mark.parametrize("override", ["pretrain.tuning.by=rankme", "pretrain.tuning.share=1", "pretrain.window_s=0.5"])
def test_a_result_is_not_taken_for_that_of_other_settings(tuned, study_of, override):
    keys = {rung.key for rung in tuning.all_rungs(tuned)}
    assert keys == {rung.key for rung in tuning.all_rungs(study_of(*TUNED))}
    assert not keys & {rung.key for rung in tuning.all_rungs(study_of(*TUNED, override))}


def test_a_result_is_not_taken_for_that_of_other_training_patients(tuned):
    split = tuned.splits[0]
    other = dataclasses.replace(tuned, splits=[dataclasses.replace(split, train=split.train[1:])])
    assert not {rung.key for rung in tuning.all_rungs(tuned)} & {rung.key for rung in tuning.all_rungs(other)}


def test_without_its_rate_an_encoder_waits_and_evaluation_says_so(study_of):
    study = study_of(*TUNED)
    plan = make_plan(study)
    assert plan.pretrainings[0].missing.startswith("its learning rate is not chosen yet (2 of 2 rungs left)")
    with pytest.raises(UserError, match="simclr-s0 is not trained yet: its learning rate is not chosen yet"):
        pending_jobs(study, plan, stages=("evaluate",))


def test_the_probe_needs_classes_that_two_training_patients_show(prepared_study):
    path, study = prepared_study
    one = study.planes.table["patient_id"] == "P00"
    split = dataclasses.replace(study.splits[0], train=np.flatnonzero(one))
    with pytest.raises(UserError, match=r"pretrain\.tuning\.by: 'probe' .* one training patient only"):
        check_criteria(load_experiment(path, TUNED), study.planes, [split])
    check_criteria(load_experiment(path), study.planes, [split])
    check_criteria(load_experiment(path, TUNED), study.planes, study.splits)


SMALL = ("transfer.modes=[linear]", "transfer.fractions=[1.0]", "transfer.seeds=[0]", "pretrain.budget.frames_seen=64")


def test_a_rung_that_diverges_loses_and_the_study_goes_on_with_the_other(study_of):
    study, told = study_of(*TUNED, *SMALL, "pretrain.tuning.ladder=[1,1e30]", "pretrain.tuning.share=1"), []
    outcome = work_through(study, run_alone, stages=STAGES, progress=False, tell=told.append)
    assert outcome.failed == {}
    assert set(ssl_zoo.load_results(outcome.run)["init"]) == {"random", "simclr"}
    record = json.loads((outcome.run / "tuning" / "simclr.json").read_text())
    assert record["chosen_factor"] == 1
    assert "Diverged" in record["rungs"][1]["error"]
    assert "2 short runs to choose learning rates (0 done)" in told[0]
    assert "x1e+30 lost" in told[1]


def test_when_every_rung_diverges_the_method_has_failed_and_the_others_go_on(study_of):
    study = study_of(*TUNED, *SMALL, "pretrain.tuning.ladder=[1e30,1e31]", "pretrain.tuning.share=1")
    outcome = work_through(study, run_alone, stages=STAGES, progress=False, tell=lambda line: None)
    (failure,) = outcome.failed.items()
    assert failure[0] == "simclr (resnet10t) linear 1 fold 0 seed 0"
    assert "every learning rate of its ladder has lost" in failure[1]
    assert set(ssl_zoo.load_results(outcome.run)["init"]) == {"random"}


def test_two_variants_are_tuned_each_for_itself(study_of):
    study = study_of(*TUNED, "pretrain.variants={a: {}, b: {recipe: paper}, c: {tuning: {ladder: [2]}}}")
    assert [(rung.init, rung.factor) for rung in tuning.all_rungs(study)] == [
        ("simclr@a", 0.5),
        ("simclr@a", 1),
        ("simclr@c", 2),
    ]
