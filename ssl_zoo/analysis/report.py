"""One self-contained HTML page per run, for people who decide: the answer first, then the evidence, then the limits."""

from __future__ import annotations

import platform
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from ssl_zoo.analysis import fairness, figures, tables
from ssl_zoo.analysis.answer import make_answer
from ssl_zoo.analysis.limits import limits_of
from ssl_zoo.analysis.looks import Starts, has_variants, starts_in
from ssl_zoo.analysis.pictures import Picture, draw_figures
from ssl_zoo.analysis.rank_report import factor_table, place_table, rank_sentences, settings_in_words, write_rank_files
from ssl_zoo.analysis.ranks import Ranking, rank_inits
from ssl_zoo.analysis.run_folder import Run, read_run, run_looks
from ssl_zoo.analysis.statistics import Estimates, class_names, estimate, labels_saved, pick
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order
from ssl_zoo.analysis.variants import effect_table, variant_effects
from ssl_zoo.files import fingerprint_file, write_text

PACKAGES = ("ssl_zoo", "torch", "torchvision", "timm", "lightly", "numpy", "scikit-learn", "pandas", "matplotlib")
REPORT = "report.html"


def write_report(run: Path, *, replicates: int = 2000) -> Path:
    """Write `figures/*.png|svg|csv` and `report.html` into a run folder, from whatever the run holds so far.

    The page needs no network and holds no script. The same run gives the same page.
    Raises UserError when the folder has no `results.csv` or a file in it is broken.
    """
    contents = read_run(Path(run))
    estimates = estimate(contents.results, contents.predictions, replicates=replicates)
    starts, ranking = run_looks(contents), rank_inits(estimates)
    pictures = draw_figures(contents, estimates, ranking, starts)
    write_rank_files(contents.path / "figures", contents.results, estimates)
    context = _context(contents, estimates, ranking, starts, pictures)
    page = _environment().get_template("report.html.j2").render(**context)
    target = contents.path / REPORT
    write_text(target, page)
    return target


def _environment() -> jinja2.Environment:
    def load(name: str) -> str:
        return resources.files("ssl_zoo.analysis").joinpath(name).read_text(encoding="utf-8")

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )


def _context(
    run: Run, estimates: Estimates, ranking: Ranking | None, starts: Starts, pictures: dict[str, Picture]
) -> dict[str, Any]:
    table, saved = estimates.table, labels_saved(estimates)
    cohorts, modes = cohort_order(table["cohort"]), mode_order(table["mode"])
    panels = [
        (mode, cohort)
        for cohort in cohorts
        for mode in modes
        if ((table["mode"] == mode) & (table["cohort"] == cohort)).any()
    ]
    failures = tables.failure_table(run.failures) if run.failures else None
    predictions = run.predictions
    fair = _fairness(run, table, starts)
    drawn = {name.split("_")[0] for name in pictures}
    contents = [
        ("answer", "Answer", True),
        ("data", "Data", True),
        ("curves", "Label efficiency", True),
        ("size", "Size and diversity", "size" in drawn),
        ("heatmap", "Heat map", True),
        ("ranks", "Ranks", ranking is not None),
        ("budgets", "Budgets", fair["budget"] is not None),
        ("confusion", "Confusion", "confusion" in drawn),
        ("pretraining", "Pre-training", "pretraining" in drawn),
        ("results", "Results", True),
        ("failures", "Failed cells", failures is not None),
        ("limits", "Limits", True),
        ("reproduce", "Reproduce", True),
    ]
    return {
        "name": run.name,
        "title": str(run.config.get("title") or ""),
        "run_path": run.path.name,
        "synthetic": run.synthetic,
        "failures": failures,
        "contents": [(key, words) for key, words, there in contents if there],
        "answer": make_answer(estimates, starts, unequal=bool(fair["unequal"])),
        "mode_label": mode_label,
        "backbones": sorted(table["backbone"].unique()),
        "several_cohorts": len(cohorts) > 1,
        "variants": has_variants(starts),
        "facts": _facts(run),
        "classes": tables.class_table(predictions) if predictions is not None and class_names(predictions) else None,
        "skipped": (run.store or {}).get("skipped", []),
        "figures": pictures,
        "saved": [
            {"cohort": cohort, "table": tables.saved_table(saved, cohort, starts)}
            for cohort in cohorts
            if (saved["cohort"] == cohort).any()
        ],
        "effects": _effects(estimates, starts, panels),
        "ranks": _ranks(run, ranking, starts),
        **fair,
        "scores": [
            {"mode": mode, "cohort": cohort, "table": tables.score_table(table, mode, cohort, starts)}
            for mode, cohort in panels
        ],
        "has_intervals": bool(table["low"].notna().any()),
        "measures": tables.measure_table(run.results, table, starts),
        "limits": limits_of(run, table, budgets_differ=fair["unequal"], tuned=fair["tuning"] is not None),
        "config": run.config_text,
        "fingerprints": _fingerprints(run),
        "versions": tables.Table(["package", "version"], _versions(), 2),
        "own_version": _version("ssl_zoo"),
    }


def _effects(estimates: Estimates, starts: Starts, panels: list[tuple[str, str]]) -> list[dict[str, Any]]:
    effects = variant_effects(estimates, starts)
    return [
        {"mode": mode, "cohort": cohort, "table": effect_table(effects, mode, cohort)}
        for mode, cohort in panels
        if len(pick(effects, mode=mode, cohort=cohort))
    ]


def _ranks(run: Run, ranking: Ranking | None, starts: Starts) -> dict[str, Any] | None:
    if ranking is None:
        return None
    return {
        "sentences": rank_sentences(ranking, starts),
        "settings": settings_in_words(ranking),
        "cohort": ranking.cohort,
        "places": place_table(ranking, starts),
        "factors": factor_table(run.results),
        "sure": len(ranking.samples) > 0,
    }


def _fairness(run: Run, table: pd.DataFrame, starts: Starts) -> dict[str, Any]:
    """Budgets and learning rates: tables, sentences, and whether the race was even."""
    budgets = figures.budget_table({e.key: e.budget for e in run.encoders if e.budget}, starts)
    scored = set(starts_in(table))
    judged = budgets.loc[[start in scored for start in zip(budgets["init"], budgets["backbone"], strict=True)]]
    judged = judged if len(judged) else budgets  # nothing is evaluated yet
    kind = fairness.budget_kind(run.config)
    elsewhere = fairness.pretrained_elsewhere(table, budgets)
    tuned = fairness.tuned_inits(run.config, [record["init"] for record in run.tuning])
    records = [record for record in run.tuning if record["init"] in tuned]
    none = budgets.empty
    return {
        "budget": None if none else fairness.fairness_table(table, budgets, starts, records),
        "budget_sentences": [] if none else fairness.budget_sentences(judged, kind, starts, elsewhere),
        "unequal": None if none else fairness.budgets_differ(judged, kind),
        "collapsed": fairness.collapsed_names(budgets, starts),
        "tuning": fairness.tuning_table(records, starts) if records else None,
        "tuning_sentences": fairness.tuning_sentences(records, starts, starts_in(budgets)) if records else [],
    }


def _facts(run: Run) -> list[tuple[str, str]]:
    results, facts = run.results, []
    if run.store:
        for label, key in (("scans", "n_scans"), ("frames", "n_frames")):
            if key in run.store:
                facts.append((f"unlabelled {label}", _count(run.store[key])))
        if run.store.get("patients"):
            facts.append(("patients scanned", _count(len(run.store["patients"]))))
    facts.append(("patients labelled for training, at most", _count(results["n_train_patients"].max())))
    if run.predictions is not None:
        for cohort in cohort_order(run.predictions["cohort"]):
            rows = pick(run.predictions, cohort=cohort)
            facts.append((f"test patients, {cohort}", _count(rows["patient_id"].nunique())))
        facts.append(("classes", _count(len(class_names(run.predictions)))))
    facts.append(("downstream cells", _count(results["cell"].nunique())))
    return facts


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f")


def _fingerprints(run: Run) -> tables.Table:
    rows = [["results.csv", fingerprint_file(run.path / "results.csv")]]
    if (run.path / "experiment.yaml").is_file():
        rows.append(["experiment.yaml", fingerprint_file(run.path / "experiment.yaml")])
    for label, key in (("frame store", "fingerprint"), ("scans", "source")):
        if run.store and run.store.get(key):
            rows.append([label, str(run.store[key])])
    for encoder in run.encoders:
        parts = [f"{name} {encoder.card[key]}" for name, key in _CARD if encoder.card.get(key)]
        if parts:
            rows.append([f"encoder {encoder.name}", ", ".join(parts)])
    return tables.Table(["what", "fingerprint"], rows, 2)


_CARD = (("configuration", "config_fingerprint"), ("data", "data_fingerprint"))


def _versions() -> list[list[str]]:
    return [["Python", platform.python_version()], *([name, _version(name)] for name in PACKAGES)]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
