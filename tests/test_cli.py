"""The commands that need no study."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ssl_zoo.cli import app, main
from ssl_zoo.methods import METHODS


def test_methods_lists_every_method_from_the_code():
    said = CliRunner().invoke(app, ["methods"]).output
    for name, method in METHODS.items():
        assert f"{name}: " in said
        assert f"{method.recipe.base_lr:g}" in said
        assert method.paper in said


def test_the_table_of_methods_fits_120_columns_and_can_be_cut_down():
    whole = CliRunner().invoke(app, ["methods"]).output
    assert max(map(len, whole.splitlines())) <= 120
    some = CliRunner().invoke(app, ["methods", "vicreg", "dino"]).output
    assert [line.split(":")[0] for line in some.splitlines() if line and not line.startswith(" ")] == ["dino", "vicreg"]
    assert some.split("\n\n")[0] in whole


def test_a_method_that_is_not_there_is_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["ssl-zoo", "methods", "barlow"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "unknown method 'barlow'; did you mean 'barlow_twins'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    ["run", "pretrain", "evaluate", "frames", "views", "phantom", "report", "clean", "ranks", "status", "methods"],
)
def test_every_command_helps_with_an_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"ssl-zoo {command}" in result.output
