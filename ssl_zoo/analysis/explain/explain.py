"""Explanations of a run: a sheet per class and classifier, a table, and a figure for each technique."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssl_zoo.analysis.explain.cams import check_techniques
from ssl_zoo.analysis.explain.cases import choose_cases
from ssl_zoo.analysis.explain.figure import maps_figure
from ssl_zoo.analysis.explain.measure import Seen, look_into
from ssl_zoo.analysis.explain.sheets import draw_sheet
from ssl_zoo.analysis.explain.summary import maps_table, summarise
from ssl_zoo.analysis.explain.truth import truth_folder
from ssl_zoo.analysis.looks import Look
from ssl_zoo.analysis.looks import looks as looks_of
from ssl_zoo.analysis.style import mode_label, percent, save
from ssl_zoo.analysis.tables import as_text
from ssl_zoo.config import variants_of
from ssl_zoo.errors import UserError
from ssl_zoo.files import write_text
from ssl_zoo.grid.classifiers import classifier_of, named
from ssl_zoo.grid.plan import Cell
from ssl_zoo.grid.study import Study

FOLDER = Path("figures") / "explain"  # in the run folder


@dataclass(frozen=True)
class Explained:
    """What was written, and the table of what the maps are worth, one row per classifier and technique."""

    folder: Path
    sheets: list[Path]
    figures: list[Path]
    summary: pd.DataFrame
    text: str


def explain(
    study: Study,
    cells: Sequence[Cell],
    *,
    techniques: Sequence[str] = ("grad_cam",),
    per_class: int = 8,
    shown: int = 3,
    cohort: str = "internal",
    layer: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    out: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    step: Callable[[], object] = lambda: None,
) -> Explained:
    """Look into the classifiers of `cells` on test images of one cohort; write into `out`, without it into
    `figures/explain/` of the run, where the report finds it.

    `per_class` images of each class, drawn blindly, are measured on, the same ones for all cells of a fold; up to
    `shown` right and as many wrong cases of each class are drawn. On the phantom the maps are also held to the truth.
    `measures.csv` has a row per image, `summary.csv` one per classifier and technique.

    Raises UserError for unknown techniques, layers and cohorts and where pytorch-grad-cam is not installed.
    """
    names = list(dict.fromkeys(techniques))
    check_techniques(names)
    for key, value, least in (("images per class", per_class, 1), ("shown cases", shown, 0)):
        if value < least:
            raise UserError(f"explain: {key} cannot be {value}; at least {least}")
    if not cells:
        raise UserError("explain: no cell to look into")
    folder, truth = out or study.run / FOLDER, truth_folder(study)
    if truth is None and study.experiment.planes.source == "phantom":
        tell(
            "the phantom's folder is not here, so maps cannot be held to the truth; run this where `data` is"
            if study.planes.sector == "keep"
            else "the planes are cut to the sector, so maps cannot be held to the truth (planes.sector)"
        )
    starts = [(cell.init.name, cell.init.backbone, cell.init.method) for cell in cells]
    looks = looks_of(starts, [name for name in variants_of(study.experiment.pretrain) if name])
    records, sheets = [], []
    for cell, name in zip(cells, _folders(cells), strict=True):
        cases = choose_cases(study, cell, cohort=cohort, per_class=per_class, shown=shown, seed=seed)
        classifier = classifier_of(study, cell, device, tell=tell)
        seen, measured, place = look_into(
            study, cell.init, classifier, cases, techniques=names, layer=layer, truth=truth, seed=seed, step=step
        )
        tell(f"{named(cell)}: maps of {place.grid[0]} x {place.grid[1]} places from {place.name}")
        about = {"init": cell.init.name, "backbone": cell.init.backbone, "mode": cell.mode, "cell": cell.key}
        records += [about | record for record in measured]
        look, grid = looks[cell.init.name, cell.init.backbone], f"{place.grid[0]} × {place.grid[1]}"
        sheets += _draw_sheets(folder / name, study, cell, look, seen, f"{place.name}, {grid} places")
    measures = pd.DataFrame(records)
    summary = summarise(measures)
    write_text(folder / "measures.csv", measures.to_csv(index=False))
    write_text(folder / "summary.csv", summary.to_csv(index=False))
    figures = [path for name in names for path in save(maps_figure(summary, name, looks), folder, f"maps_{name}")]
    return Explained(folder, sheets, figures, summary, as_text(maps_table(summary, looks)))


def _draw_sheets(folder: Path, study: Study, cell: Cell, look: Look, seen: list[Seen], place: str) -> list[Path]:
    classes, table = study.planes.classes, study.planes.table
    patients = {case.row: str(table["patient_id"].iloc[case.row]) for case in seen}
    what = f"{look.name} on {look.backbone}, {mode_label(cell.mode)}, {percent(cell.fraction)} of the labels"
    note = f"Maps of {place}.\nShuffled weights: the same network after forgetting all it learned."
    if any(case.target is not None for case in seen):
        note += "\nBlue lines: the structures that define the plane."
    drawn = []
    for label, name in enumerate(classes):
        own = [case for case in seen if case.label == label]
        if not own:
            continue
        right = [case for case in own if case.predicted == label]
        wrong = [case for case in own if case.predicted != label]
        safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
        drawn.append(
            draw_sheet(folder / f"{label + 1}_{safe}.png", f"{name}: {what}", note, right, wrong, classes, patients)
        )
    return drawn


def _folders(cells: Sequence[Cell]) -> list[str]:
    """A folder's name for each cell: what people call it, and its key only where that would not tell."""
    names = [f"{cell.init.name}-{cell.init.backbone}-{cell.mode}" for cell in cells]
    return [
        name if names.count(name) == 1 else f"{name}-{cell.key[:8]}" for name, cell in zip(names, cells, strict=True)
    ]
