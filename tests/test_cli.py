"""The command line: help, examples, completion, JSON for scripts, errors; and the commands that need no study."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from ssl_zoo.cli import app, main
from ssl_zoo.cli.app import as_plain, replying
from ssl_zoo.encoders.overlaps import overlap
from ssl_zoo.encoders.published import PUBLISHED
from ssl_zoo.methods import METHODS
from ssl_zoo.planes.audit import NOTE, Finding
from ssl_zoo.planes.sources import SOURCES as PLANE_SOURCES

ROOT = Path(__file__).resolve().parents[1]
GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands  # pyright: ignore[reportAttributeAccessIssue]


def ended(monkeypatch, capsys, *arguments):
    """What `ssl-zoo ARGUMENTS` leaves behind: exit status, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["ssl-zoo", *map(str, arguments)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code, *capsys.readouterr()


def examples_of(command):
    """The arguments of each example in a command's help, without what the shell pipes on."""
    found = re.findall(r"Example: (ssl-zoo .+?)(?:\n\s*\n|\Z)", command.help or "", flags=re.DOTALL)
    return [shlex.split(" ".join(text.split("|")[0].split()))[1:] for text in found]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_helps_with_an_example_that_it_would_take(name):
    said = CliRunner().invoke(app, [name, "--help"])
    assert said.exit_code == 0
    assert f"Example: ssl-zoo {name}" in said.output
    for called, *arguments in examples_of(COMMANDS[name]):
        assert called == name
        COMMANDS[name].make_context(name, arguments)  # raises for an option or a number of arguments it does not know


def test_the_examples_name_experiments_that_are_here():
    named = {word for command in COMMANDS.values() for words in examples_of(command) for word in words}
    files = {word for word in named if word.startswith("experiments/")}
    assert "experiments/demo.yaml" in files
    assert [file for file in sorted(files) if not (ROOT / file).is_file()] == []


def test_help_lists_every_command_in_a_sentence():
    said = CliRunner().invoke(app, ["--help"]).output
    assert all(re.search(rf"^  {name} +[A-Z]", said, flags=re.MULTILINE) for name in COMMANDS)


def test_the_shell_completes_commands_and_options():
    def completed(words):
        asked = {"_SSL_ZOO_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        return CliRunner().invoke(app, [], env=asked, prog_name="ssl-zoo").output.split()

    assert completed("ssl-zoo re") == ["report"]
    assert "--json" in completed("ssl-zoo status --j")


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


def test_methods_as_json_are_the_same_rows():
    rows = json.loads(CliRunner().invoke(app, ["methods", "--json", "byol", "vicreg"]).stdout)
    assert [row["method"] for row in rows] == ["byol", "vicreg"]
    assert "arXiv 2006.07733" in rows[0]["paper"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["methods", "barlow"], "unknown method 'barlow'; did you mean 'barlow_twins'"),
        (["encoders", "usff"], "unknown encoder 'usff'; did you mean 'usfm'"),
        (["sources", "echonet"], "unknown source 'echonet'; did you mean 'echonet_dynamic'"),
        (["run", "nowhere.yaml"], "nowhere.yaml: no such experiment file"),
        (["run", "wrong.yaml"], "wrong.yaml: unknown key 'pretrain.metods'; did you mean 'pretrain.methods'?"),
        (["run", "right.yaml", "pretrain.methods=[barlow]", "--dry-run"], "did you mean 'barlow_twins'"),
        (["run", "right.yaml", "frames.sampler=uniforn", "--dry-run"], "did you mean 'uniform'"),
        (["run", "right.yaml", "pretrain.batch_size=many"], "pretrain.batch_size"),
        (["status", "."], ".: not a run folder"),
        (["predict", ".", "scan.mp4"], ".: neither a run folder nor a cell of one"),
        (["report", "nowhere"], "nowhere: no such run folder"),
        (["ranks", "nowhere", "--json"], "nowhere: no such run folder"),
        (["report", "a", "b", "--out", "."], "--out .: this is a folder; name the page, as in comparison.html"),
        (["reprot"], "No such command 'reprot'. Did you mean 'report'"),
        (["run", "right.yaml", "--quite"], "No such option: --quite (Possible options: --quiet)"),
    ],
)
def test_wrong_use_is_one_sentence_with_the_nearest_name_and_status_2(monkeypatch, capsys, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("right.yaml").write_text("name: right\n")
    Path("wrong.yaml").write_text("name: wrong\npretrain: {metods: [byol]}\n")
    status, out, err = ended(monkeypatch, capsys, *arguments)
    assert status == 2
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


def test_a_file_where_a_folder_should_go_is_one_sentence(monkeypatch, capsys, tmp_path):
    (tmp_path / "taken").write_text("mine")
    status, _, err = ended(monkeypatch, capsys, "phantom", tmp_path / "taken" / "cohort", "--scans", 1)
    assert status == 2
    assert "taken" in err
    assert "Traceback" not in err


def test_encoders_and_sources_as_json_are_what_is_known_of_them():
    rows = json.loads(CliRunner().invoke(app, ["encoders", "--json"]).stdout)
    assert [row["name"] for row in rows] == list(PUBLISHED)
    (usf_mae,) = json.loads(CliRunner().invoke(app, ["encoders", "usf_mae", "--json"]).stdout)
    assert usf_mae == next(row for row in rows if row["name"] == "usf_mae")
    assert usf_mae["test_sets"]["fetal_planes_db"] == overlap("usf_mae", "fetal_planes_db")
    (african,) = json.loads(CliRunner().invoke(app, ["sources", "african", "--json"]).stdout)
    assert (african["name"], african["gives"], african["total"]) == (
        "african",
        "planes",
        PLANE_SOURCES["african"].facts.total,
    )


def test_with_json_only_the_result_is_on_stdout(capsys):
    with replying(as_json=True) as reply:
        print("chatter")
        reply({"score": 0.5})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"score": 0.5}
    assert err == "chatter\n"
    with replying(as_json=False) as reply:
        print("chatter")
        reply({"score": 0.5})
    assert capsys.readouterr() == ("chatter\n", "")


def test_a_command_that_fails_has_written_no_json(capsys):
    with pytest.raises(ValueError, match="broken"), replying(as_json=True):
        raise ValueError("broken")
    assert capsys.readouterr().out == ""


def test_results_become_plain_values():
    table = pd.DataFrame({"init": ["byol"], "low": [np.nan], "n": [3]})
    finding = Finding("patient", NOTE, "P1 is on two sides", ("P1",))
    told = as_plain({"path": Path("runs/a"), "table": table, "numbers": np.arange(2), "found": [finding], 1: np.inf})
    assert json.loads(json.dumps(told, allow_nan=False)) == {
        "path": "runs/a",
        "table": [{"init": "byol", "low": None, "n": 3}],
        "numbers": [0, 1],
        "found": [{"kind": "patient", "severity": NOTE, "sentence": "P1 is on two sides", "names": ["P1"]}],
        "1": None,
    }
