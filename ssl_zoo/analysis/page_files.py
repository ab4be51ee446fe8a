"""The page around the words: templates, style, script, and the numbers of figures as CSV inside the file.

The page fetches nothing: its content security policy allows images that are in it, its own style, and one script,
which it names by its hash, so that no text from a table can run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ssl_zoo.analysis.album import Picture

LARGEST_CSV = 600_000  # bytes; a larger one is in `figures/` only


def render(template: str, context: dict[str, Any], pictures: Iterable[Picture], folder: Path) -> str:
    """Fill a template of this package; `folder` holds the CSV files that the pictures name."""
    script = read("page/page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    pictures = list(pictures)
    page = {
        "style": Markup(read("page/style.css")),
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "csv_sources": csv_sources(pictures, folder),
    }
    return _environment().get_template(template).render(**context, **page)


def csv_sources(pictures: Iterable[Picture], folder: Path) -> dict[str, str]:
    """The CSV files that pictures name, each once: stem -> text. Those that are missing or large are left out."""
    paths = {picture.csv: folder / f"{picture.csv}.csv" for picture in pictures if picture.csv}
    return {
        name: path.read_text(encoding="utf-8")
        for name, path in paths.items()
        if path.is_file() and path.stat().st_size <= LARGEST_CSV
    }


def read(name: str) -> str:
    """A file of this package, by its path below `ssl_zoo/analysis`."""
    return resources.files("ssl_zoo.analysis").joinpath(name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(read), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
