"""One self-contained HTML page per run, for people who decide: the answer first, then the evidence, then the limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from ssl_zoo.analysis import fairness, figures, ladder, score_tables, tables
from ssl_zoo.analysis.album import Album, Picture
from ssl_zoo.analysis.answer import headline_fraction, make_answer, words
from ssl_zoo.analysis.counts import class_names
from ssl_zoo.analysis.data_tables import data_at_a_glance
from ssl_zoo.analysis.findings import Findings, find
from ssl_zoo.analysis.frame_truth import truth_table
from ssl_zoo.analysis.friedman import friedman_sentences
from ssl_zoo.analysis.latex import write_latex
from ssl_zoo.analysis.limits import limits_of
from ssl_zoo.analysis.looks import Starts, has_variants, starts_in
from ssl_zoo.analysis.measures import ABSENT
from ssl_zoo.analysis.page_files import render
from ssl_zoo.analysis.pictures import draw_figures
from ssl_zoo.analysis.rank_report import factor_table, place_table, rank_sentences, settings_in_words, write_rank_files
from ssl_zoo.analysis.ranks import Ranking, agreement_table
from ssl_zoo.analysis.reproduce import fingerprints, machines, version, versions
from ssl_zoo.analysis.run_folder import Run, read_run, run_looks
from ssl_zoo.analysis.score_files import write_score_files
from ssl_zoo.analysis.score_pictures import folds_in_words
from ssl_zoo.analysis.sheet_pictures import EXPLAIN, TIMELINES, add_sheets
from ssl_zoo.analysis.statistics import Estimates, pick
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order, mode_title, no_collections, percent
from ssl_zoo.analysis.variants import effect_table, variant_effects
from ssl_zoo.files import write_text

REPORT, PUBLISHED = "report.html", "published.csv"


def write_report(run: Path, *, replicates: int = 2000) -> Path:
    """Write `figures/*.png|svg|csv` and `report.html` into a run folder, from whatever the run holds so far.

    The page needs no network. The same run gives the same page.
    Raises UserError when the folder has no `results.csv` or a file in it is broken.
    """
    with no_collections():
        return _write_report(Path(run), replicates)


def _write_report(run: Path, replicates: int) -> Path:
    contents = read_run(run)
    found, starts = find(contents.results, contents.predictions, replicates=replicates), run_looks(contents)
    folder = contents.path / "figures"
    unit = "image" if contents.by_image else "patient"
    album = Album(folder, unit)
    pictures = dict(draw_figures(album, contents, found, starts))
    left_out = add_sheets(album)
    write_rank_files(folder, contents.results, found.estimates, contents.predictions, unit=unit)
    write_score_files(folder, found.estimates, found.areas, found.saved, found.measures, unit=unit)
    context = _context(contents, found, starts, pictures)
    context |= {"sheets": _sheets(album), "sheets_left": left_out}
    context["truths"] = truth_table(folder / TIMELINES)
    context["published"] = _published(contents, replicates)
    context["contents"] = [entry for entry in context["contents"] if _there(entry[0], context)]
    write_latex(folder, dict(_paper_tables(context)), unit=unit)
    page = render("report.html.j2", context, album.pictures.values(), folder)
    target = contents.path / REPORT
    write_text(target, page)
    return target


def _context(run: Run, found: Findings, starts: Starts, pictures: dict[str, Picture]) -> dict[str, Any]:
    estimates, ranking, saved = found.estimates, found.ranking, found.saved
    table = estimates.table
    cohorts, modes = cohort_order(table["cohort"]), mode_order(table["mode"])
    panels = [
        (mode, cohort)
        for cohort in cohorts
        for mode in modes
        if ((table["mode"] == mode) & (table["cohort"] == cohort)).any()
    ]
    failures = tables.failure_table(run.records.failures) if run.records.failures else None
    predictions = run.predictions
    fair = _fairness(run, table, starts)
    absent = _absent(found.measures)
    drawn = {name.split("_")[0] for name in pictures}
    contents = [
        ("answer", "Answer", True),
        ("data", "Data", True),
        ("curves", "Label efficiency", True),
        ("size", "Size and diversity", "size" in drawn),
        ("heatmap", "Heat map", True),
        ("pairwise", "Pairs", "pairwise" in drawn),
        ("ranks", "Ranks", ranking is not None),
        ("calibration", "Calibration", "calibration" in drawn),
        ("budgets", "Budgets", fair["budget"] is not None),
        ("confusion", "Confusion", "confusion" in drawn),
        ("atlas", "Features", "atlas" in drawn),
        ("explain", "Explanations", True),
        ("timelines", "Scans over time", True),
        ("pretraining", "Pre-training", "pretraining" in drawn),
        ("results", "Results", True),
        ("published", "Published numbers", True),
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
        "mode_title": mode_title,
        "modes": modes,
        "by_image": run.by_image,
        "pooled": bool(table["pooled"].any()),
        "folds_in_words": folds_in_words(table),
        "backbones": sorted(table["backbone"].unique()),
        "several_cohorts": len(cohorts) > 1,
        "variants": has_variants(starts),
        "facts": _facts(run),
        "classes": tables.class_table(predictions) if predictions is not None and class_names(predictions) else None,
        "skipped": (run.store or {}).get("skipped", []),
        "figures": pictures,
        "saved": [
            {"cohort": cohort, "table": score_tables.saved_table(saved, cohort, starts)}
            for cohort in cohorts
            if (saved["cohort"] == cohort).any()
        ],
        "areas": [
            {"cohort": cohort, "table": score_tables.area_table(found.areas, cohort, starts)}
            for cohort in cohorts
            if (found.areas.table["cohort"] == cohort).any()
        ],
        "without_area": words(
            list(dict.fromkeys(starts[init, backbone].label for init, backbone, *_ in found.areas.left_out))
        ),
        "effects": _effects(estimates, starts, panels),
        "ranks": _ranks(run, found, ranking, starts),
        **fair,
        "scores": [
            {"mode": mode, "cohort": cohort, "table": tables.score_table(table, mode, cohort, starts)}
            for mode, cohort in panels
        ],
        "has_intervals": bool(table["low"].notna().any()),
        "measures": score_tables.measure_table(found.measures, table, starts),
        "class_scores": _class_scores(found, panels, starts),
        "absent": absent,
        "limits": limits_of(
            run, table, budgets_differ=fair["unequal"], tuned=fair["tuning"] is not None, absent=absent
        ),
        "config": run.config_text,
        "glance": data_at_a_glance(run.path),
        "fingerprints": fingerprints(run),
        "machines": machines(run),
        "versions": versions(run),
        "own_version": version("ssl_zoo"),
    }


def _sheets(album: Album) -> dict[str, list[Picture]]:
    """The pictures of `add_sheets`, by kind."""
    return {
        kind: [picture for name, picture in album.pictures.items() if name.startswith(f"{kind}_")]
        for kind in (EXPLAIN, TIMELINES)
    }


def _published(run: Run, replicates: int) -> tuple[list[str], tables.Table] | None:
    """`published_numbers.published_section`, which is loaded only where it has something to say: it brings torch."""
    if not (run.path / PUBLISHED).is_file():
        return None
    from ssl_zoo.analysis.published_numbers import published_section

    return published_section(run, replicates=replicates)


def _there(section: str, context: dict[str, Any]) -> bool:
    """Whether a section that depends on what others left in the run folder has anything to show."""
    if section in context["sheets"]:
        return bool(context["sheets"][section] or context["sheets_left"].get(section))
    return section != "published" or context["published"] is not None


def _paper_tables(context: dict[str, Any]) -> list[tuple[str, tables.Table]]:
    """The tables that a paper may want, by the names of their files."""
    found = [(f"scores_{item['mode']}_{item['cohort']}", item["table"]) for item in context["scores"]]
    found += [(f"labels_saved_{item['cohort']}", item["table"]) for item in context["saved"]]
    found += [(f"areas_{item['cohort']}", item["table"]) for item in context["areas"]]
    found += [("ranks", context["ranks"]["places"])] if context["ranks"] else []
    found += [("budgets", context["budget"])] if context["budget"] else []
    return found


def _effects(estimates: Estimates, starts: Starts, panels: list[tuple[str, str]]) -> list[dict[str, Any]]:
    effects = variant_effects(estimates, starts)
    return [
        {"mode": mode, "cohort": cohort, "table": effect_table(effects, mode, cohort)}
        for mode, cohort in panels
        if len(pick(effects, mode=mode, cohort=cohort))
    ]


def _absent(measures: pd.DataFrame) -> dict[str, list[str]]:
    """By cohort, the classes of which it holds no test image; cohorts with all of them are left out."""
    missing = measures.groupby("cohort", sort=False)["classes_missing"].first()
    return {str(cohort): names.split(ABSENT) for cohort, names in missing.to_dict().items() if names}


def _class_scores(found: Findings, panels: list[tuple[str, str]], starts: Starts) -> list[dict[str, Any]]:
    """F1 class by class, with the fraction the answer speaks of and with the most labels."""
    tables_of = []
    for mode, cohort in panels:
        own = pick(found.measures, mode=mode, cohort=cohort)
        for fraction in sorted({headline_fraction(own), float(own["fraction"].max())}):
            table = score_tables.class_f1_table(found.measures, mode, fraction, cohort, starts)
            if table is not None:
                tables_of.append({"mode": mode, "cohort": cohort, "fraction": percent(fraction), "table": table})
    return tables_of


def _ranks(run: Run, found: Findings, ranking: Ranking | None, starts: Starts) -> dict[str, Any] | None:
    if ranking is None:
        return None
    return {
        "friedman": [] if found.friedman is None else friedman_sentences(found.friedman, ranking, starts),
        "sentences": rank_sentences(ranking, starts),
        "settings": settings_in_words(ranking),
        "cohort": ranking.cohort,
        "places": place_table(ranking, starts),
        "factors": factor_table(agreement_table(run.results, run.predictions)),
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
    tuned = ladder.tuned_inits(run.config, [record["init"] for record in run.tuning])
    records = [record for record in run.tuning if record["init"] in tuned]
    none = budgets.empty
    return {
        "budget": None if none else fairness.fairness_table(table, budgets, starts, records),
        "budget_sentences": [] if none else fairness.budget_sentences(judged, kind, starts, elsewhere),
        "unequal": None if none else fairness.budgets_differ(judged, kind),
        "collapsed": fairness.collapsed_names(budgets, starts),
        "tuning": ladder.tuning_table(records, starts) if records else None,
        "tuning_sentences": ladder.tuning_sentences(records, starts, starts_in(budgets)) if records else [],
    }


def _facts(run: Run) -> list[tuple[str, str]]:
    results, facts = run.results, []
    if run.store:
        for label, key in (("scans", "n_scans"), ("frames", "n_frames")):
            if key in run.store:
                facts.append((f"unlabelled {label}", _count(run.store[key])))
        if run.store.get("patients"):
            facts.append(("patients scanned", _count(len(run.store["patients"]))))
    unit = "images" if run.by_image else "patients"
    facts.append((f"{unit} labelled for training, at most", _count(results["n_train_patients"].max())))
    if run.predictions is not None:
        for cohort in cohort_order(run.predictions["cohort"]):
            rows = pick(run.predictions, cohort=cohort)
            facts.append((f"test {unit}, {cohort}", _count(rows["patient_id"].nunique())))
        facts.append(("classes", _count(len(class_names(run.predictions)))))
    facts.append(("downstream cells", _count(results["cell"].nunique())))
    return facts


def _count(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u202f")
