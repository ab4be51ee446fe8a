"""One self-contained HTML page per run, for people who decide: the answer first, then the evidence, then the limits."""

from __future__ import annotations

import base64
import platform
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from ssl_zoo.analysis import figures, tables
from ssl_zoo.analysis.answer import headline_fraction, make_answer
from ssl_zoo.analysis.run_folder import Run, read_run
from ssl_zoo.analysis.statistics import BASELINE, Estimates, class_names, estimate, labels_saved, pick
from ssl_zoo.analysis.style import cohort_order, mode_label, mode_order, percent, save
from ssl_zoo.files import fingerprint_file, write_text

PACKAGES = ("ssl_zoo", "torch", "torchvision", "timm", "lightly", "numpy", "scikit-learn", "pandas", "matplotlib")
REPORT = "report.html"


@dataclass(frozen=True)
class Picture:
    """A figure as it sits in the page: a data URI, its size in CSS pixels, title, caption and alternative text."""

    data: str
    width: int
    height: int
    title: str
    caption: str
    alt: str


def write_report(run: Path, *, replicates: int = 2000) -> Path:
    """Write `figures/*.png|svg` and `report.html` into a run folder, from whatever the run holds so far.

    The page needs no network and holds no script. The same run gives the same page.
    Raises UserError when the folder has no `results.csv` or a file in it is broken.
    """
    contents = read_run(Path(run))
    estimates = estimate(contents.results, contents.predictions, replicates=replicates)
    pictures = draw_figures(contents, estimates)
    page = _environment().get_template("report.html.j2").render(**_context(contents, estimates, pictures))
    target = contents.path / REPORT
    write_text(target, page)
    return target


def draw_figures(run: Run, estimates: Estimates) -> dict[str, Picture]:
    """Draw and save every figure that the run has data for; in the order of the page."""
    found: dict[str, Picture] = {}
    table = estimates.table
    cohorts = cohort_order(table["cohort"])

    def add(name: str, figure: Figure | None, title: str, caption: str, *, raster: bool = False) -> None:
        if figure is not None:
            found[name] = _picture(run.path / "figures", name, figure, title, caption, raster)

    store = run.path / "frames"
    if run.store and (store / "frames.npy").is_file() and (store / "index.parquet").is_file():
        caption = "Drawn at random, one scan per row, in order of time. These frames carry no labels."
        add("frames", figures.frame_sheet(store), "Unlabelled scans", caption, raster=True)
    if run.planes is not None:
        classes = class_names(run.predictions) if run.predictions is not None else None
        sheet = figures.plane_sheet(*run.planes, classes=classes)
        add("planes", sheet, "Labelled planes", "Drawn at random, one class per row.", raster=True)
    caption = (
        "Mean over seeds and folds; bands: 95\u00a0% bootstrap interval over test patients."
        " Grey and dotted: untrained networks. The numbers under the fractions count labelled patients."
    )
    add("label_efficiency", figures.label_efficiency(table), "Macro-F1 against labelled fraction", caption)
    for cohort in cohorts:
        if (table["difference"].notna() & (table["cohort"] == cohort)).any():
            caption = (
                "Paired difference to the untrained network of the same backbone on the same patients,"
                " with its 95\u00a0% interval. Above the zero line, pre-training helps."
            )
            add(
                f"gains_{cohort}",
                figures.gains(table, cohort),
                f"What pre-training adds, {cohort} test cohort",
                caption,
            )
    for cohort in cohorts:
        caption = "Bold gains are significant: paired by patient, Holm-corrected in a column, p\u00a0<\u00a00.05."
        add(f"heat_map_{cohort}", figures.heat_map(table, cohort), f"Scores and gains, {cohort} test cohort", caption)
    if run.predictions is not None and class_names(run.predictions):
        for mode in mode_order(table["mode"]):
            rows = pick(run.results, mode=mode, cohort=cohorts[0])
            if len(rows) and rows["cell"].isin(run.predictions["cell"]).any():
                fraction = headline_fraction(rows)
                matrices = figures.confusion_matrices(
                    run.results, run.predictions, mode=mode, fraction=fraction, cohort=cohorts[0]
                )
                title = f"{mode_label(mode).capitalize()} with {percent(fraction)} of the labels"
                add(f"confusion_{mode}", matrices, title, "Per cent of each true class; all seeds and folds together.")
    histories = {e.key: e.history for e in run.encoders if "loss" in e.history and len(e.history)}
    if histories:
        caption = (
            "Each on its own scale: the losses measure different things and cannot be compared. Thick: running mean."
        )
        add("pretraining_loss", figures.loss_curves(histories), "Pre-training loss", caption)
        caption = "Whether features stay spread out while training."
        add("pretraining_monitors", figures.monitor_curves(histories), "Monitors of collapse", caption)
    if any(e.budget for e in run.encoders):
        bars = figures.budget_bars(figures.budget_table({e.key: e.budget for e in run.encoders}))
        add("budgets", bars, "What each pre-training was given and took", "Bars start at zero.")
    return found


def _picture(folder: Path, name: str, figure: Figure, title: str, caption: str, raster: bool) -> Picture:
    png, svg = save(figure, folder, name)
    source, kind = (png, "image/png") if raster else (svg, "image/svg+xml")
    data = base64.b64encode(source.read_bytes()).decode()
    width, height = (round(96 * float(inches)) for inches in figure.get_size_inches())
    return Picture(f"data:{kind};base64,{data}", width, height, title, caption, f"{title}. {caption}")


def _environment() -> jinja2.Environment:
    def load(name: str) -> str:
        return resources.files("ssl_zoo.analysis").joinpath(name).read_text(encoding="utf-8")

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )


def _context(run: Run, estimates: Estimates, pictures: dict[str, Picture]) -> dict[str, Any]:
    table, saved = estimates.table, labels_saved(estimates)
    cohorts, modes = cohort_order(table["cohort"]), mode_order(table["mode"])
    budgets = figures.budget_table({e.key: e.budget for e in run.encoders if e.budget})
    failures = tables.failure_table(run.failures) if run.failures else None
    predictions = run.predictions
    drawn = {name.split("_")[0] for name in pictures}
    contents = [("answer", "Answer"), ("data", "Data"), ("curves", "Label efficiency"), ("heatmap", "Heat map")]
    contents += [("confusion", "Confusion")] if "confusion" in drawn else []
    contents += [("pretraining", "Pre-training")] if "pretraining" in drawn else []
    contents += [("budgets", "Budgets")] if len(budgets) else []
    contents += [("results", "Results")] + ([("failures", "Failed cells")] if failures else [])
    contents += [("limits", "Limits"), ("reproduce", "Reproduce")]
    return {
        "name": run.name,
        "run_path": run.path.name,
        "synthetic": run.synthetic,
        "failures": failures,
        "contents": contents,
        "answer": make_answer(estimates),
        "mode_label": mode_label,
        "backbones": sorted(table["backbone"].unique()),
        "facts": _facts(run),
        "classes": tables.class_table(predictions) if predictions is not None and class_names(predictions) else None,
        "skipped": (run.store or {}).get("skipped", []),
        "figures": pictures,
        "saved": [
            {"cohort": cohort, "table": tables.saved_table(saved, cohort)}
            for cohort in cohorts
            if (saved["cohort"] == cohort).any()
        ],
        "budget": tables.budget_text(budgets) if len(budgets) else None,
        "budget_sentence": tables.budget_sentence(budgets) if len(budgets) else "",
        "scores": [
            {"mode": mode, "cohort": cohort, "table": tables.score_table(table, mode, cohort)}
            for cohort in cohorts
            for mode in modes
            if ((table["mode"] == mode) & (table["cohort"] == cohort)).any()
        ],
        "has_intervals": bool(table["low"].notna().any()),
        "measures": tables.measure_table(run.results, table),
        "limits": _limits(run, estimates),
        "config": run.config_text,
        "fingerprints": _fingerprints(run),
        "versions": tables.Table(["package", "version"], _versions(), 2),
        "own_version": _version("ssl_zoo"),
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


def _limits(run: Run, estimates: Estimates) -> list[str]:
    results, table = run.results, estimates.table
    limits = []
    if run.synthetic:
        limits.append("The images are synthetic. Which method wins on a phantom need not win on real scans.")
    if run.by_image:
        limits.append(
            "The planes carry no patients: each image counts as a patient of its own. Images of one patient may stand"
            " on both sides of a split, and the intervals are then too narrow."
        )
    if run.predictions is not None:
        least = min(rows["patient_id"].nunique() for _, rows in run.predictions.groupby("cohort"))
        limits.append(
            "Intervals resample test patients and hold the trained networks fixed: they do not contain the luck of"
            f" pre-training or of which patients were labelled. The smallest test cohort has {_count(least)} patients"
            + ("; below about 30, percentile intervals tend to be too narrow." if least < 30 else ".")
        )
    else:
        limits.append("There are no saved predictions, so no intervals and no tests of significance.")
    cells = results.groupby(["init", "backbone", "mode", "fraction", "cohort"]).size()
    if cells.min() != cells.max():
        limits.append(
            f"The grid is uneven: points rest on {cells.min()} to {cells.max()} cells. Gains use shared cells only."
        )
    elif cells.max() == 1:
        limits.append("Every point rests on one cell (one seed, one fold); its spread over seeds is not known.")
    if "pretrain_seed" in results:
        seeds = results.loc[results["init"] != BASELINE].groupby("init")["pretrain_seed"].nunique()
        if len(seeds) and seeds.max() <= 1:
            limits.append(
                "Each method was pre-trained once. Another pre-training seed can change the order of close methods."
            )
    if table["cohort"].nunique() == 1:
        limits.append("There is one test cohort, so nothing is known about another site or scanner.")
    limits.append(
        "p-values are corrected over the inits of one setting, not over all settings; read the curves as a whole."
    )
    limits.append("Methods ran with one setting each under the budget stated, not with a search per method.")
    return limits


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
