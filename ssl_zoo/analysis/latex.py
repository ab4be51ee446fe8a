"""Tables for a paper: LaTeX with booktabs, every character of the data escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ssl_zoo.analysis.tables import BY_IMAGE, Table
from ssl_zoo.files import write_text

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"\textquotedbl{}",
    "\u00a0": "~",
    "\u202f": r"\,",
    "\u2212": "$-$",
    "\u2013": "--",
    "\u2264": r"$\leq$",
    "\u00d7": r"$\times$",
    "\u2019": "'",
}


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands: `a_b & 5 %` is `a\\_b \\& 5 \\%`; line breaks become spaces."""
    return "".join(_SPECIAL.get(letter, letter) for letter in re.sub(r"\s*[\r\n]+\s*", " ", text))


def latex_table(table: Table, note: str = "") -> str:
    """A `tabular` with booktabs rules, to be `\\input` into a `table`; numbers to the right, strong cells in bold.

    `note`: a sentence below the table.
    """
    align = "l" * min(table.numeric, len(table.columns)) + "r" * max(len(table.columns) - table.numeric, 0)
    lines = ["% needs \\usepackage{booktabs}", f"\\begin{{tabular}}{{{align}}}", "\\toprule"]
    lines += [_row([escape(name) for name in table.columns]), "\\midrule"]
    for place, row in enumerate(table.rows):
        cells = [
            f"\\textbf{{{escape(cell)}}}" if (place, column) in table.strong else escape(cell)
            for column, cell in enumerate(row)
        ]
        lines.append(_row(cells))
    below = [f"\\multicolumn{{{len(table.columns)}}}{{l}}{{\\footnotesize {escape(note)}}} \\\\"] if note else []
    return "\n".join([*lines, "\\bottomrule", *below, "\\end{tabular}", ""])


def _row(cells: list[str]) -> str:
    first = f"{{}}{cells[0]}" if cells[0].startswith("[") else cells[0]  # after \\, a [ would be taken for a length
    return " & ".join([first, *cells[1:]]) + r" \\"


def write_latex(folder: Path, tables: Mapping[str, Table], *, unit: str) -> list[Path]:
    """Write each table as `<name>.tex`; where the `unit` of the planes is "image", a line below each says so."""
    note = f"{BY_IMAGE[:1].upper()}{BY_IMAGE[1:]}." if unit == "image" else ""
    paths = []
    for name, table in tables.items():
        path = Path(folder) / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.tex"
        write_text(path, latex_table(table, note))
        paths.append(path)
    return paths
