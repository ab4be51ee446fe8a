"""The command-line application, the arguments that several commands take, and results as JSON for scripts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Compare self-supervised pre-training on ultrasound scans: how many labels does each method save?\n\n"
    "Example: ssl-zoo run experiments/demo.yaml\n\nExample: ssl-zoo status runs/demo --json",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ExperimentFile = Annotated[Path, typer.Argument(help="An experiment file, for example experiments/demo.yaml.")]
RunFolder = Annotated[Path, typer.Argument(help="A run folder, for example runs/demo.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.SUB=VALUE]...", help="Keys to change.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no chatter: only the result, and errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as one JSON value on stdout, all else on stderr.")]


@app.callback()
def _options(debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False) -> None:
    """`--debug` is read in `main`, which catches the errors."""


@contextlib.contextmanager
def replying(as_json: bool) -> Iterator[Callable[[Any], None]]:
    """Hand a command the way to give its result to scripts: `with replying(as_json) as reply: ... reply(result)`.

    With `--json`, what the command prints meanwhile goes to stderr and `reply` writes its argument to stdout as one
    JSON value; without, `reply` does nothing. A command that fails has written nothing to stdout.
    """
    if not as_json:
        yield lambda result: None
        return
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield lambda result: print(json.dumps(as_plain(result), ensure_ascii=False, indent=2), file=stdout, flush=True)


def as_plain(value: Any) -> Any:
    """A value as JSON can hold it: paths and keys as text, tables as a list of rows, NaN and infinity as null.

    Mappings, sequences, sets, dataclasses, numpy's numbers and arrays and pandas' tables are gone through.
    """
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(entry) for entry in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if rows := getattr(value, "to_dict", None):  # a table of pandas, which is not imported for commands that need none
        return [as_plain(row) for row in rows("records")]
    if plain := getattr(value, "tolist", None):  # of numpy
        return as_plain(plain())
    return None if isinstance(value, float) and not math.isfinite(value) else value
