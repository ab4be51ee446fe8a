"""Cells on frozen features: done together, written one by one, and none of them moved by its neighbours."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import torch

from ssl_zoo.errors import UserError
from ssl_zoo.grid import experiment, probing, work
from ssl_zoo.grid.cells import finished, read_cell
from ssl_zoo.grid.jobs import pending_jobs
from ssl_zoo.grid.plan import Plan, make_plan
from ssl_zoo.pretraining.endings import Interrupted
from ssl_zoo.transfer import probe
from ssl_zoo.transfer.logistic import solve
from ssl_zoo.transfer.probe import fit_probes

KEYS = ("pretrain.methods=[]", "transfer.modes=[linear,knn,prototype]", "transfer.seeds=[0,1,2]")


@pytest.fixture
def frozen_study(study_of, monkeypatch):
    """`(study, cells)`: three frozen modes of an encoder that is the same for all seeds; its features are made up."""
    study = study_of(*KEYS)
    rng = np.random.default_rng(0)
    features = rng.normal(size=(len(study.planes), 24)) + 1.5 * rng.normal(size=(3, 24))[study.planes.labels]
    monkeypatch.setattr(work, "cached_features", lambda *_: features.astype(np.float32))
    plan = make_plan(study)
    cells = [dataclasses.replace(cell, init=dataclasses.replace(cell.init, fingerprint="f")) for cell in plan.cells]
    return study, cells


def do(study, cells, *, stop=lambda: False, name="frozen"):
    work.do_job(study, work.Job(name, 1.0, cells=tuple(cells)), "cpu", lambda done, line: None, stop)


def predictions(study, cells):
    return {cell.key: np.load(study.run / "cells" / f"{cell.key}.npz")["probabilities"] for cell in cells}


def test_all_frozen_cells_of_an_encoder_are_one_job_and_each_has_its_result(study_of, frozen_study):
    study, cells = frozen_study
    (job,) = pending_jobs(study, make_plan(study))
    assert {cell.mode for cell in job.cells} == {"linear", "knn", "prototype"}
    assert len(cells) == len(job.cells) == 3 * 2 * 3
    do(study, cells)
    assert finished(study.run, cells) == ({cell.key for cell in cells}, {})
    notes = {cell.mode: (read_cell(study.run, cell.key) or {})["notes"] for cell in cells}
    assert set(notes["linear"]) == {"lambda", "lambda_by", "converged", "gap"}
    assert notes["linear"]["converged"]
    assert 0 <= notes["linear"]["gap"] < 2e-4
    assert notes["knn"]["metric"] == "cosine"
    assert notes["prototype"]["temperature_by"] == "left-out patients"


def test_a_probe_that_has_not_converged_is_recorded_and_told(frozen_study, monkeypatch):
    study, cells = frozen_study
    lost = {cell.key for cell in cells if cell.mode == "linear" and cell.fraction < 1}
    with monkeypatch.context() as hasty:
        hasty.setattr(probe, "solve", functools.partial(solve, max_iterations=0))
        do(study, [cell for cell in cells if cell.key in lost])
    do(study, [cell for cell in cells if cell.key not in lost])
    notes = {cell.key: (read_cell(study.run, cell.key) or {})["notes"] for cell in cells}
    assert {key for key, found in notes.items() if not found.get("converged", True)} == lost
    assert all(notes[key]["gap"] > 2e-4 for key in lost)
    said: list[str] = []
    monkeypatch.setattr(experiment, "make_plan", lambda study: Plan([], cells))
    outcome = experiment.work_through(
        study, lambda *_, **__: {}, stages=("evaluate",), progress=False, tell=said.append
    )
    assert (outcome.done, outcome.unconverged) == (len(cells), len(lost))
    assert sum("3 cells did not converge" in line for line in said) == 1


def test_what_a_cell_was_computed_on_is_in_its_record_and_not_in_its_key(frozen_study):
    study, cells = frozen_study
    do(study, cells[:1])
    computed = (read_cell(study.run, cells[0].key) or {})["computed"]
    assert (computed["device"], computed["precision"]) == ("cpu", "fp32")
    assert computed["processor"]
    assert computed["versions"]["torch"] == str(torch.__version__)


def test_a_resumed_half_of_a_grid_has_the_bits_of_a_whole_one(frozen_study, tmp_path):
    study, cells = frozen_study
    do(study, cells)
    whole = predictions(study, cells)
    for shares in (cells[::2], cells[::-3], cells[4:5]):
        part = dataclasses.replace(study, run=tmp_path / f"run {len(shares)}")
        do(part, shares)
        assert all((found == whole[key]).all() for key, found in predictions(part, shares).items())


def test_a_stopped_job_keeps_its_cells_and_goes_on_with_the_rest(frozen_study):
    study, cells = frozen_study
    calls = iter(range(100))
    with pytest.raises(Interrupted, match="stopped after 6 of 18"):
        do(study, cells, stop=lambda: next(calls) == 4)
    done, failed = finished(study.run, cells)
    assert (len(done), failed) == (6, {})  # the last batch were three cells
    kept = {path: path.stat().st_mtime_ns for path in (study.run / "cells").glob("*.json")}
    do(study, [cell for cell in cells if cell.key not in done])
    assert len(finished(study.run, cells)[0]) == 18
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())


@pytest.mark.parametrize("together", [False, True])
def test_a_cell_that_fails_is_recorded_and_the_others_go_on(frozen_study, monkeypatch, together):
    study, cells = frozen_study
    if together:  # as on a GPU
        monkeypatch.setattr(probing, "batches", lambda sizes, *_: [list(range(len(sizes)))])

    broken = next(cell for cell in cells if cell.mode == "linear" and cell.fraction < 1 and cell.seed == 1)
    patients = study.planes.patients[probing._rows(study, broken)[0]]

    def fit(subsets, **options):
        if any(np.array_equal(subset.patients, patients) for subset in subsets):
            raise FloatingPointError("broken")
        return fit_probes(subsets, **options)

    monkeypatch.setattr(probing, "fit_probes", fit)
    do(study, cells)
    done, failed = finished(study.run, cells)
    assert failed == {broken.key: "FloatingPointError: broken"}
    assert done == {cell.key for cell in cells} - {broken.key}


def test_cells_with_equal_rows_are_one_probe_and_each_has_its_result(frozen_study, monkeypatch):
    study, cells = frozen_study
    cells = [cell for cell in cells if cell.mode == "linear"]
    fits = []
    monkeypatch.setattr(
        probing, "fit_probes", lambda given, **options: fits.append(given) or fit_probes(given, **options)
    )
    do(study, cells)
    whole = [cell.key for cell in cells if cell.fraction == 1]
    assert (len(cells), len(whole)) == (6, 3)
    assert sorted(len(given) for given in fits) == [1] * 4  # three subsets, and all labels once
    found = predictions(study, cells)
    assert len(found) == 6
    assert all((found[key] == found[whole[0]]).all() for key in whole)


def test_an_encoder_without_features_fails_its_own_cells_only(study_of, monkeypatch):
    study = study_of(*KEYS)  # an untrained network, another one for each seed
    cells = make_plan(study).cells

    def features(study, init, seed, device):
        if seed == 2:
            raise FloatingPointError("the encoder gives NaN")
        return np.random.default_rng(seed).normal(size=(len(study.planes), 8))

    monkeypatch.setattr(work, "cached_features", features)
    do(study, cells)
    assert set(finished(study.run, cells)[1]) == {cell.key for cell in cells if cell.seed == 2}


def test_cells_without_a_subset_fail_alone(frozen_study, monkeypatch):
    study, cells = frozen_study
    draw = probing.nested_subset

    def subset(planes, rows, fraction, seed):
        if (fraction, seed) == (0.5, 1):
            raise UserError("the label fraction 0.5 is too small")
        return draw(planes, rows, fraction, seed)

    monkeypatch.setattr(probing, "nested_subset", subset)
    do(study, cells)
    done, failed = finished(study.run, cells)
    lost = {cell.key for cell in cells if (cell.fraction, cell.seed) == (0.5, 1)}
    assert failed == dict.fromkeys(lost, "UserError: the label fraction 0.5 is too small")
    assert done == {cell.key for cell in cells} - lost


def test_cells_done_together_are_those_done_alone_up_to_rounding(frozen_study, tmp_path, monkeypatch):
    study, cells = frozen_study
    cells = [cell for cell in cells if cell.mode == "linear"]
    do(study, cells)
    monkeypatch.setattr(probing, "batches", lambda sizes, *_: [list(range(len(sizes)))])
    part = dataclasses.replace(study, run=tmp_path / "together")
    do(part, cells)
    alone, together = predictions(study, cells), predictions(part, cells)
    assert all(together[key] == pytest.approx(alone[key], abs=5e-3) for key in alone)


def test_a_setting_moves_the_keys_of_its_own_mode_alone(study_of):
    def keys(*overrides):
        return {
            (cell.mode, cell.fraction, cell.seed): cell.key for cell in make_plan(study_of(*KEYS, *overrides)).cells
        }

    plain, other = keys(), keys("transfer.knn.k=3")
    assert {place[0] for place in plain if plain[place] != other[place]} == {"knn"}
    other = keys("transfer.linear.lambdas=[0.1]")
    assert {place[0] for place in plain if plain[place] != other[place]} == {"linear"}


def test_on_several_threads_the_numbers_are_those_of_one(frozen_study):
    study, cells = frozen_study
    do(study, cells)
    alone = predictions(study, cells)
    for cell in cells:
        (study.run / "cells" / f"{cell.key}.npz").unlink()
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        do(study, cells)
    finally:
        torch.set_num_threads(before)
    together = predictions(study, cells)
    assert all(np.array_equal(alone[key], together[key]) for key in alone)
