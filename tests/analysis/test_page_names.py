"""Names of classes may be long: no figure of the page gives up its layout for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.style import save, short

LONG = "Fetal abdomen, transverse, at the umbilical vein (standard)"


def test_matrices_of_classes_with_long_names_are_laid_out_and_name_every_class(
    fake_cells: Callable[..., tuple[pd.DataFrame, pd.DataFrame]], cut_off: Callable[[Figure], list[str]], tmp_path: Path
) -> None:
    skill = {"random": 0.0, "byol": 0.9, "simclr": 0.8, "moco": 0.6}
    results, predictions = fake_cells(
        skill=skill,
        classes=("4CH", LONG, f"{LONG[:-1]} 2)"),
        fractions=(1.0,),
        seeds=(0,),
        modes=("linear",),
        patients=8,
    )
    figure = figures.confusion_matrices(results, predictions, mode="linear", fraction=1.0, cohort="internal")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save(figure, tmp_path, "confusion")
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    columns = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert columns == ["1", "2", "3"]
    assert [row.rpartition("  ")[2] for row in rows] == columns
    assert len(set(rows)) == 3
    assert not cut_off(figure)
    assert all(axis.get_position().width > 0.1 for axis in figure.axes if axis.get_visible())


def test_a_short_name_keeps_both_ends_and_its_length() -> None:
    assert short("4CH", 24) == "4CH"
    assert short(LONG, 24) == "Fetal abdomen, t…andard)"
    assert all(len(short(LONG, most)) == most for most in (8, 11, 24))
