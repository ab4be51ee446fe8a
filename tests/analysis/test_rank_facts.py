from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

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
