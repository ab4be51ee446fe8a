"""Several runs on one page: their answers, scores and curves side by side, and whether their orders agree."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ssl_zoo.analysis import figures
from ssl_zoo.analysis.album import Album
from ssl_zoo.analysis.answer import Answer, make_answer
from ssl_zoo.analysis.contest import headline_fraction
from ssl_zoo.analysis.csv_files import write_csv
from ssl_zoo.analysis.fairness import budget_kind, budgets_differ
from ssl_zoo.analysis.latex import write_latex
from ssl_zoo.analysis.looks import Start, Starts, start_order, starts_in
from ssl_zoo.analysis.page_files import render
from ssl_zoo.analysis.rank_report import agreement_sentence, moves_table
from ssl_zoo.analysis.rank_runs import compare_runs
from ssl_zoo.analysis.ranks import Ranking, rank_inits
from ssl_zoo.analysis.reproduce import version
from ssl_zoo.analysis.run_folder import Run, read_run, run_looks
from ssl_zoo.analysis.score_tables import NONE, gain_in_words
from ssl_zoo.analysis.statistics import Estimates, estimate, pick
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order, mode_title, no_collections, percent
from ssl_zoo.analysis.tables import Table, in_brackets
from ssl_zoo.errors import UserError
from ssl_zoo.files import fingerprint_file, write_text


@dataclass(frozen=True, eq=False)
class _Entry:
    """One run of the page."""

    name: str  # its folder's; the whole path where two are called the same
    run: Run
    estimates: Estimates
    starts: Starts
    answer: Answer
    ranking: Ranking | None


def write_comparison(runs: Sequence[Path], target: Path | None = None, *, replicates: int = 2000) -> Path:
    """Write one self-contained page that sets runs side by side; its figures and tables go into a folder beside it.

    `target`: the page, by default `report-<run>-<run>.html` beside the first run folder. Raises UserError for fewer
    than two runs, one that is named twice, and a folder that is no run.
    """
    paths = [Path(run) for run in runs]
    if len(paths) < 2:
        raise UserError("a comparison takes at least two run folders")
    again = [path for path, count in Counter(path.resolve() for path in paths).items() if count > 1]
    if again:
        raise UserError(f"{again[0]}: named twice; a comparison takes different runs")
    target = target or paths[0].parent / f"report-{'-'.join(path.resolve().name for path in paths)}.html"
    with no_collections():
        return _write(paths, target, replicates)


def _write(paths: Sequence[Path], target: Path, replicates: int) -> Path:
    entries = [_read(path, name, replicates) for path, name in zip(paths, _names(paths), strict=True)]
    album = Album(target.with_suffix("").with_name(f"{target.stem}_figures"))
    for place, entry in enumerate(entries):
        caption = (
            "Macro-F1 against the labelled fraction; bands: 95\u00a0% interval over test patients. Grey and dotted:"
            " networks without pre-training. Scales may differ between runs."
        )
        by_image = entry.run.by_image
        caption += " By image: the planes name no patients; where this says patients, read images." * by_image
        stem = f"curves_{place + 1}"
        table = entry.estimates.table.assign(unit="image" if by_image else "patient")
        write_csv(album.folder / f"{stem}.csv", table)
        album.add(stem, figures.label_efficiency(entry.estimates.table, entry.starts), entry.name, caption, csv=stem)
    album.fit()
    scores = _score_tables(entries)
    by_image = ", ".join(entry.name for entry in entries if entry.run.by_image)
    paper = {f"scores_{item['mode']}_{item['cohort']}": item["table"] for item in scores}
    write_latex(album.folder, paper, unit="image" if by_image else "patient")
    context = {
        "names": [entry.name for entry in entries],
        "entries": entries,
        "synthetic": [entry.name for entry in entries if entry.run.synthetic],
        "by_image": by_image,
        "overview": _overview(entries),
        "same_patients": _same_patients(entries),
        "scores": scores,
        "curves": list(album.pictures.values()),
        "agreements": _agreements(entries),
        "mode_title": mode_title,
        "own_version": version("ssl_zoo"),
        "folder": album.folder.name,
    }
    write_text(target, render("page/comparison.html.j2", context, album.pictures.values(), album.folder))
    return target


def _names(paths: Sequence[Path]) -> list[str]:
    short = [path.resolve().name for path in paths]
    return [str(path) if short.count(name) > 1 else name for path, name in zip(paths, short, strict=True)]


def _read(path: Path, name: str, replicates: int) -> _Entry:
    run = read_run(path)
    estimates, starts = estimate(run.results, run.predictions, replicates=replicates), run_looks(run)
    budgets = figures.budget_table({e.key: e.budget for e in run.encoders if e.budget}, starts)
    unequal = not budgets.empty and bool(budgets_differ(budgets, budget_kind(run.config)))
    return _Entry(name, run, estimates, starts, make_answer(estimates, starts, unequal=unequal), rank_inits(estimates))


def _overview(entries: Sequence[_Entry]) -> Table:
    """What each run is: its data and its size, and the fingerprint of its results."""
    lines = []
    for entry in entries:
        table = entry.estimates.table
        tested = {
            cohort: pick(table, cohort=cohort)["n_test_patients"].max() for cohort in cohort_order(table["cohort"])
        }
        patients = ", ".join(f"{count:.0f} {cohort}" for cohort, count in tested.items())
        lines.append(
            [
                entry.name,
                str(len(starts_in(table))),
                ", ".join(mode_label(mode) for mode in mode_order(table["mode"])),
                ", ".join(percent(fraction) for fraction in sorted(set(table["fraction"]))),
                patients,
                fingerprint_file(entry.run.path / "results.csv"),
            ]
        )
    return Table(["run", "inits", "modes", "labels", "test patients", "results.csv"], lines, 6)


def _same_patients(entries: Sequence[_Entry]) -> bool:
    """Whether all runs tested the same patients in the first cohort, so that their scores can be set side by side."""
    tested = []
    for entry in entries:
        if entry.run.predictions is None:
            return False
        rows = pick(entry.run.predictions, cohort=cohort_order(entry.estimates.table["cohort"])[0])
        tested.append(frozenset(rows["patient_id"].astype(str).unique()))
    return len(set(tested)) == 1


def _score_tables(entries: Sequence[_Entry]) -> list[dict[str, Any]]:
    """For each mode and cohort that two runs share: inits by runs, score and gain at the fraction of the answer."""
    looks: dict[Start, Any] = {}
    for entry in entries:
        for start, look in entry.starts.items():
            looks.setdefault(start, look)
    found = []
    both = pd.concat([entry.estimates.table.assign(_run=place) for place, entry in enumerate(entries)])
    for cohort in cohort_order(both["cohort"]):
        for mode in mode_order(both["mode"]):
            own = pick(both, cohort=cohort, mode=mode)
            shared = [set(rows["fraction"]) for _, rows in own.groupby("_run")]
            common = set.intersection(*shared) if len(shared) > 1 else set()
            if not common:
                continue
            fraction = headline_fraction(own.loc[own["fraction"].isin(common)])
            points = pick(own, fraction=fraction)
            runs = [place for place in range(len(entries)) if (points["_run"] == place).any()]
            lines = []
            for start in start_order(looks, starts_in(points)):
                line = [looks[start].name, start[1]]
                for place in runs:
                    point = pick(points, init=start[0], backbone=start[1], _run=place).to_dict("records")
                    score = (
                        in_brackets(f"{point[0]['f1_macro']:.2f}", point[0]["low"], point[0]["high"]) if point else NONE
                    )
                    line += [score, gain_in_words(point[0]) if point else NONE]
                lines.append(line)
            columns = [words for place in runs for words in (entries[place].name, f"gain, {entries[place].name}")]
            table = Table(["init", "backbone", *columns], lines, 2)
            found.append({"mode": mode, "cohort": cohort, "fraction": percent(fraction), "table": table})
    return found


def _agreements(entries: Sequence[_Entry]) -> list[dict[str, Any]]:
    found = []
    for one, other in itertools.combinations(entries, 2):
        title = f"{one.name} and {other.name}"
        agreed = None if one.ranking is None or other.ranking is None else compare_runs(one.ranking, other.ranking)
        if agreed is None:
            told = "Fewer than two inits, or no setting, in common: their orders cannot be compared."
            found.append({"title": title, "sentence": told, "table": None})
        else:
            table = moves_table(one.name, other.name, agreed, one.starts)
            found.append({"title": title, "sentence": f"{agreement_sentence(agreed)}.", "table": table})
    return found
