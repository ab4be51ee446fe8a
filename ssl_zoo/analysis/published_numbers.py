"""Our numbers beside those that a paper states: what was measured here under the same name, and what differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import interval
from ssl_zoo.analysis.counts import Floats, measures_of_counts
from ssl_zoo.analysis.looks import Starts
from ssl_zoo.analysis.pooling import SettingCells, cells_by_setting
from ssl_zoo.analysis.published_differences import data_sentences, settings_sentences, weights_sentences
from ssl_zoo.analysis.run_folder import Run, run_looks
from ssl_zoo.analysis.statistics import START
from ssl_zoo.analysis.style import mode_label, percent
from ssl_zoo.analysis.tables import Table
from ssl_zoo.grid.published_numbers import OTHER_METHODS, PUBLISHED_FILE, PublishedNumber, Who, read_published

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision_macro": "macro precision",
    "recall_macro": "macro recall",
    "f1_macro": "macro-F1",
    "precision_weighted": "weighted precision",
    "recall_weighted": "weighted recall",
    "f1_weighted": "weighted F1",
    "auroc_macro": "macro AUROC",
}
WITHOUT_COUNTS = "auroc_macro"  # a mean over cells, which has no interval
NONE = "–"
NOT_RUN = "not in this run"


@dataclass(frozen=True)
class Ours:
    """Our counterpart of a published number: a score, or the difference to another init, with its 95 % interval.

    `other`: that init in words. `relative`: the difference over the other's score. NaN where there is none.
    """

    value: float
    low: float
    high: float
    other: str = ""
    relative: float = float("nan")


def published_section(run: Run, *, replicates: int = 2000) -> tuple[list[str], Table] | None:
    """Sentences and a table that set a run beside the published numbers; None where the run folder has none of them.

    Raises UserError when the run's `published.csv` is broken.
    """
    path = run.path / PUBLISHED_FILE
    if not path.is_file():
        return None
    numbers = read_published(path)
    starts = run_looks(run)
    settings = _settings(run, numbers, replicates)
    ours = [_ours(settings, number, starts) for number in numbers]
    lines = [_line(number, found) for number, found in zip(numbers, ours, strict=True)]
    columns = ["init", "mode", "labels", "test cohort", "measure", "published", "ours (95\u00a0% interval)", "source"]
    said = [*_overview(numbers, ours), *data_sentences(run), *weights_sentences(run, starts), *settings_sentences(run)]
    return said, Table(columns, lines, 5)


def _settings(
    run: Run, numbers: Sequence[PublishedNumber], replicates: int
) -> dict[tuple[str, str, float], SettingCells]:
    """The cells of each setting (cohort, mode, fraction) that a published number speaks of."""
    results = run.results
    wanted = np.zeros(len(results), bool)
    for number in numbers:
        wanted |= (
            (results["cohort"] == number.cohort)
            & (results["mode"] == number.mode)
            & np.isclose(results["fraction"], number.fraction)
        ).to_numpy()
    found = {}
    if wanted.any():
        for cells in cells_by_setting(results.loc[wanted], run.predictions, replicates=replicates, seed=0):
            first = cells.rows.iloc[0]
            found[str(first["cohort"]), str(first["mode"]), float(first["fraction"])] = cells
    return found


def _ours(settings: dict[tuple[str, str, float], SettingCells], number: PublishedNumber, starts: Starts) -> Ours | None:
    """What was measured here for a published number; None where the run does not have it, or has it twice."""
    cells = next(
        (
            cells
            for (cohort, mode, fraction), cells in settings.items()
            if (cohort, mode) == (number.cohort, number.mode) and np.isclose(fraction, number.fraction)
        ),
        None,
    )
    own = None if cells is None else _cells_of(cells, number.who)
    if cells is None or own is None:
        return None
    if number.relative_to is None:
        values = _values(cells, own, number.measure)
        return Ours(float(values[0]), *interval(values[1:], cells.n_patients(own)))
    rivals = _rivals(cells, own, number.relative_to)
    gaps = [(_gap(cells, own, other, number.measure), other) for other in rivals]
    gaps = [(gap, other) for gap, other in gaps if np.isfinite(gap[0][0])]
    if not gaps:
        return None
    (gap, base), other = min(gaps, key=lambda found: found[0][0][0])  # the best of the others leaves the least
    first = cells.rows.iloc[other[0]]
    name = starts[str(first["init"]), str(first["backbone"])].label
    relative = float(gap[0] / base[0]) if base[0] else float("nan")
    n_patients = min(cells.n_patients(own), cells.n_patients(other))
    return Ours(float(gap[0]), *interval(gap[1:], n_patients), name, relative)


def _cells_of(cells: SettingCells, who: Who, like: str = "") -> list[int] | None:
    """The cells of an init as a table of published numbers names it; None where there is not just one such init.

    A name also stands for the same encoder at another input size (`ultrasam` for `ultrasam@224`), and a backbone for
    the same one with a tag of its weights. Where several backbones are left, the one that is `like` is meant.
    """
    groups = {
        (str(init), str(backbone)): rows.tolist()
        for (init, backbone), rows in cells.rows.groupby(START, sort=True).indices.items()  # type: ignore[misc]
    }
    found = {start: rows for start, rows in groups.items() if start[0] == who.init}
    found = found or {start: rows for start, rows in groups.items() if start[0].partition("@")[0] == who.init}
    if who.backbone:
        found = {start: rows for start, rows in found.items() if who.backbone in (start[1], start[1].split(".")[0])}
    if len(found) > 1:
        found = {start: rows for start, rows in found.items() if start[1] == like}
    return next(iter(found.values())) if len(found) == 1 else None


def _rivals(cells: SettingCells, own: list[int], other: Who) -> list[list[int]]:
    """The cells of the inits that a difference may be to: the named one, or each pre-trained with another method."""
    if other.init != OTHER_METHODS:
        found = _cells_of(cells, other, str(cells.rows["backbone"].iloc[own[0]]))
        return [] if found is None else [found]
    method = cells.rows["method"].fillna("").astype(str)
    groups = [rows.tolist() for rows in cells.rows.groupby(START, sort=True).indices.values()]
    return [rows for rows in groups if method[rows[0]] not in ("", method[own[0]])]


def _gap(cells: SettingCells, own: list[int], other: list[int], measure: str) -> tuple[Floats, Floats]:
    """A measure of some cells less that of others, and that of the others `[1 + R]`; on the folds and seeds of both."""
    ours, theirs = cells.shared(own, other)
    if not ours:
        return np.full(1, np.nan), np.full(1, np.nan)
    base = _values(cells, theirs, measure)
    return _values(cells, ours, measure) - base, base


def _values(cells: SettingCells, own: list[int], measure: str) -> Floats:
    """A measure `[1 + R]`: of the sample, then of every resample of its patients (NaN where it cannot be resampled)."""
    if measure == WITHOUT_COUNTS or not cells.predicted[own].all():
        point = float(cells.rows[measure].iloc[own].mean()) if measure in cells.rows else float("nan")
        return np.concatenate([[point], np.full(cells.replicates, np.nan)])
    units = np.stack([measures_of_counts(cells.totals(unit))[measure] for unit in cells.units(own)])  # [units, 1 + R]
    scored = ~np.isnan(units)  # a unit none of whose patients was drawn has no score
    return np.where(scored.any(0), np.where(scored, units, 0).sum(0) / np.maximum(scored.sum(0), 1), np.nan)


def _line(number: PublishedNumber, ours: Ours | None) -> list[str]:
    measure, published = NAMES[number.measure], f"{number.value:.4f}"
    if number.relative_to is not None:
        whom = f"the best of the {OTHER_METHODS}" if number.relative_to.init == OTHER_METHODS else number.relative_to
        measure, published = f"{measure} over {whom}", _signed(number.value, 4)
    where = [str(number.who), mode_label(number.mode), percent(number.fraction), number.cohort, measure]
    return [*where, published, NOT_RUN if ours is None else _in_words(number, ours), number.source]


def _in_words(number: PublishedNumber, ours: Ours) -> str:
    """ "0.906 (0.881–0.930)", or "+0.02 (−0.01 to +0.05; +2.5 % of that of BYOL)"."""
    if number.relative_to is None:
        limits = f" ({ours.low:.3f}–{ours.high:.3f})" if np.isfinite(ours.low) else ""
        return f"{ours.value:.3f}{limits}" if np.isfinite(ours.value) else NONE
    limits = f"{_signed(ours.low)} to {_signed(ours.high)}; " if np.isfinite(ours.low) else ""
    share = f"{_signed(100 * ours.relative, 1)}\u00a0% of that of " if np.isfinite(ours.relative) else "over "
    return f"{_signed(ours.value)} ({limits}{share}{ours.other})"


def _signed(value: float, digits: int = 3) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _overview(numbers: Sequence[PublishedNumber], ours: Sequence[Ours | None]) -> list[str]:
    """How many of the published numbers have a counterpart, and how many of those lie inside our intervals."""
    there = [(number, found) for number, found in zip(numbers, ours, strict=True) if found is not None]
    said = [
        f"{len(there)} of the {len(numbers)} published numbers have a counterpart in this run. Ours are means over"
        " cells with 95\u00a0% intervals over test patients; differences are paired by patient."
    ]
    judged = [(number, found) for number, found in there if number.relative_to is None and np.isfinite(found.low)]
    if judged:
        inside = sum(found.low <= number.value <= found.high for number, found in judged)
        said.append(
            f"Of {len(judged)} published scores, {inside} {'lies' if inside == 1 else 'lie'} inside our interval. It"
            " says how ours would vary with other test patients, and nothing of how the paper's would."
        )
    if any(number.relative_to is not None for number in numbers):
        said.append(
            "A difference is in points of the score: +0.02 is two in a hundred. In brackets stands the same as a share"
            " of the other's score, since papers often leave open which of the two they give."
        )
    return said


def published_frame(run: Run, *, replicates: int = 2000) -> pd.DataFrame | None:
    """The section's numbers as a table for further work: the rows of `published.csv` with `ours`, `low`, `high`."""
    path = run.path / PUBLISHED_FILE
    if not path.is_file():
        return None
    numbers, starts = read_published(path), run_looks(run)
    settings = _settings(run, numbers, replicates)
    nothing = Ours(float("nan"), float("nan"), float("nan"))
    found = [_ours(settings, number, starts) or nothing for number in numbers]
    columns = {"ours": "value", "low": "low", "high": "high", "over": "other", "relative": "relative"}
    frame = pd.read_csv(path, dtype={"init": str}, keep_default_na=False)
    return frame.assign(**{name: [getattr(one, key) for one in found] for name, key in columns.items()})
