from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ssl_zoo.analysis.ladder import tuned_inits, tuning_sentences, tuning_table
from ssl_zoo.analysis.looks import looks_of
from ssl_zoo.analysis.run_folder import read_run
from ssl_zoo.errors import UserError


def _record(init: str, by: str = "probe", chosen: float | None = 1.0, lost: float | None = None) -> dict[str, object]:
    rungs = [
        {"factor": f, "base_lr": 0.1 * f, "by": by, "score": None if f == lost else 0.4 + f / 100, "budget": {}}
        | {"error": "Diverged: the loss is nan" if f == lost else None}
        for f in (0.3, 1.0, 3.0)
    ]
    rate = None if chosen is None else 0.1 * chosen
    record = {"init": init, "method": init, "backbone": "net", "by": by, "share": 0.25, "base_lr": 0.1, "rungs": rungs}
    return record | {"chosen_factor": chosen, "chosen_base_lr": rate, "cost": {"frames_seen": 9600, "seconds": 30.0}}


def test_a_ladder_shows_every_score_the_choice_what_was_lost_and_what_it_cost() -> None:
    records = [_record("simclr", chosen=3.0), _record("byol", chosen=1.0, lost=3.0)]
    starts = looks_of(pd.DataFrame({"init": ["simclr", "byol", "mae"], "backbone": "net"}))
    table = tuning_table(records, starts)
    assert table.columns[4:7] == ["× 0.3", "× 1", "× 3"]
    byol, simclr = table.rows
    assert (byol[0], byol[4:8]) == ("BYOL", ["0.403", "0.41", "lost", "0.1"])
    assert simclr[-2:] == ["9\u202f600", "30"]
    assert table.strong == {(0, 5), (1, 6)}
    text = " ".join(tuning_sentences(records, starts, list(starts))).replace("\u00a0", " ")
    assert "short runs of 25 % of the budget" in text
    assert "Not tuned, so not treated alike: MAE." in text
    assert "at an end of the ladder for SimCLR: a better one may lie beyond" in text
    assert "Lost: BYOL at × 3 (Diverged: the loss is nan)." in text


def test_a_method_whose_every_rate_was_lost_has_none() -> None:
    table = tuning_table([_record("byol", chosen=None)], looks_of(pd.DataFrame({"init": ["byol"], "backbone": "net"})))
    assert "none left" in table.rows[0]
    assert not table.strong


def test_only_ladders_that_the_experiment_still_asks_for_are_shown() -> None:
    inits = ["simclr@a", "simclr@b"]
    config = {"pretrain": {"recipe": "paper", "variants": {"a": {"recipe": "tuned"}, "b": {}}}}
    assert tuned_inits(config, inits) == ["simclr@a"]
    assert tuned_inits({"pretrain": {"recipe": "tuned"}}, ["byol"]) == ["byol"]
    assert tuned_inits({"pretrain": {"recipe": "paper"}}, ["byol"]) == []
    assert tuned_inits({}, ["byol"]) == ["byol"]


def test_a_broken_record_of_tuning_is_named(fake_run: Callable[..., Path], tmp_path: Path) -> None:
    settings = {"fractions": (1.0,), "seeds": (0,), "modes": ("linear",), "cohorts": ("internal",)}
    run = fake_run(tmp_path, skill={"random": 0.0, "byol": 0.5}, **settings)
    (run / "tuning" / "byol").mkdir(parents=True)
    (run / "tuning" / "byol.json").write_text(json.dumps(_record("byol")))
    assert [record["init"] for record in read_run(run).tuning] == ["byol"]
    (run / "tuning" / "byol.json").write_text(json.dumps({"init": "byol"}))
    with pytest.raises(UserError, match=r"byol\.json: no record of a learning rate \(it has no 'backbone'\)"):
        read_run(run)
