"""The commands that tell what there is: methods."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from ssl_zoo.cli.app import AsJson, app, replying
from ssl_zoo.errors import unknown


@app.command()
def methods(
    names: Annotated[list[str] | None, typer.Argument(metavar="[METHOD]...", help="Only these; all without.")] = None,
    as_json: AsJson = False,
) -> None:
    """What each method sees, how it is optimised and built, read off its code.

    Example: ssl-zoo methods barlow_twins vicreg

    Example: ssl-zoo methods --json
    """
    from ssl_zoo.methods import METHODS
    from ssl_zoo.methods.table import method_table

    for name in names or []:
        if name not in METHODS:
            raise unknown("method", name, METHODS)
    rows = [row for row in method_table() if not names or row["method"] in names]
    with replying(as_json) as reply:
        reply(rows)
    if not as_json:
        print("\n\n".join(_block(row) for row in rows))


def _block(row: dict[str, str]) -> str:
    facts = dict(row)
    head = f"{facts.pop('method')}: {facts.pop('family')}, {facts.pop('paper')}"
    return "\n".join([head, *(fact(label, text) for label, text in facts.items() if text)])


def fact(label: str, text: str) -> str:
    """A line of a block, and as many below it as the text takes in 120 columns."""
    indent = 18
    return textwrap.fill(f"  {label:<{indent - 2}}{text}", 120, subsequent_indent=" " * indent, break_long_words=False)
