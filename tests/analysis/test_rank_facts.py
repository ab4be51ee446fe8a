from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from typer.testing import CliRunner

from ssl_zoo.analysis.rank_facts import rank_facts
from ssl_zoo.analysis.rank_report import factor_table, ranks_report
from ssl_zoo.analysis.ranks import agreement_table
from ssl_zoo.analysis.report import write_report
from ssl_zoo.analysis.run_folder import read_results_and_predictions
from ssl_zoo.analysis.tables import as_text
from ssl_zoo.cli import app


def test_ranks_as_json_hold_every_run_and_how_each_two_agree(fake_run: Callable[..., Path], tmp_path: Path) -> None:
    settings = {"fractions": (0.05, 1.0), "seeds": (0,), "modes": ("linear",), "pretraining": False, "patients": 12}
    skill = {"random": 0.0, "simclr": 0.4, "byol": 0.8, "moco": 1.5}
    turned = {"random": 0.0, "simclr": 1.5, "byol": 0.8, "moco": 0.4}
    runs = [fake_run(tmp_path, name=name, skill=of, **settings) for name, of in (("one", skill), ("other", turned))]

    result = CliRunner().invoke(app, ["ranks", *map(str, runs), "--json"])
    assert result.exit_code == 0, result.output + repr(result.exception)
    told = json.loads(result.stdout)
    assert [entry["run"] for entry in told["runs"]] == list(map(str, runs))
    ranked = {run["run"]: [row["init"] for row in run["ranks"]] for run in told["runs"]}
    assert ranked == {str(runs[0]): ["moco", "byol", "simclr"], str(runs[1]): ["simclr", "byol", "moco"]}
    assert len(told["runs"][0]["settings"]) == 2 * 3  # fractions x inits
    (pair,) = told["pairs"]
    assert pair["agreement"]["tau"] == -1.0
    assert (pair["agreement"]["inits"], pair["agreement"]["settings"]) == (3, 2)


def test_values_words_and_files_tell_the_same_agreement_of_a_run_with_folds(
    fake_run: Callable[..., Path], tmp_path: Path
) -> None:
    skill = {"random": 0.0, "simclr": 0.5, "byol": 0.55, "moco": 0.6, "vicreg": 0.5}
    settings = {"fractions": (0.05, 1.0), "seeds": (0, 1), "modes": ("linear",), "patients": 10, "folds": 5}
    run = fake_run(tmp_path, skill=skill, pretraining=False, **settings)
    told = rank_facts([run], replicates=20)["runs"][0]["agreement"]
    write_report(run, replicates=20)
    written = pd.read_csv(run / "figures" / "rank_agreement.csv").drop(columns="unit")
    pd.testing.assert_frame_equal(told, written, rtol=1e-5)
    assert as_text(factor_table(told)).replace("\u00a0", " ") in ranks_report([run], replicates=20)
    averaged = agreement_table(read_results_and_predictions(run)[0])  # folds that are not pooled give other orders
    assert not averaged["tau"].equals(told["tau"])
