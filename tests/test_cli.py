"""The commands that need no study."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ssl_zoo.cli import app
from ssl_zoo.methods import METHODS


def test_methods_lists_every_method_from_the_code():
    said = CliRunner().invoke(app, ["methods"]).output
    for name, method in METHODS.items():
        assert name in said
        assert f"{method.recipe.base_lr:g}" in said


@pytest.mark.parametrize("command", ["run", "pretrain", "evaluate", "frames", "phantom", "report", "status", "methods"])
def test_every_command_helps_with_an_example(command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"ssl-zoo {command}" in result.output
