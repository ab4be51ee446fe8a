"""CSV files for people, who open them in spreadsheets: words from tables of users never become formulas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ssl_zoo.files import as_text, write_text


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV, numbers to six digits; words and column names that open like a formula get a ' before them."""
    words = table.select_dtypes(exclude="number").columns
    safe = table.assign(**{str(name): [as_text(value) for value in table[name]] for name in words})
    return safe.rename(columns=as_text).to_csv(index=False, float_format="%.6g")


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write `csv_text` of a table, whole or not at all."""
    write_text(path, csv_text(table))
    return path
