"""The model card of an exported encoder: what it is, what it has seen, what it scored, what it must not be used for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pandas as pd

from ssl_zoo.encoders.export import Exported
from ssl_zoo.encoders.files import Card
from ssl_zoo.files import read_json

BASELINE = "random"
MODES = {"linear": "linear probe", "finetune": "fine-tuning"}
NO_LICENCE = (
    "Not stated. The weights come from the data above: whether and how they may be passed on is for its owners to say."
)


def model_card(
    card: Card,
    exported: Exported,
    *,
    folder: Path | None = None,
    results: pd.DataFrame | None = None,
    licence: str = "",
    synthetic: bool = False,
) -> str:
    """The card as Markdown.

    `folder`: the encoder's folder in a run (for the budget that it spent, and the frame store beside it); `results`:
    the run's results.csv, from which the rows of this encoder and of untrained networks are taken. Patients are counted
    and not named. What is not known is said to be so.
    """
    title = f"{card.method or card.init} on {card.backbone}"
    sections = [
        f"# {title}",
        f"An image encoder: {card.channels} channel(s), {card.size} × {card.size} pixels, to a vector of features. "
        f"File: `{exported.path.name}` ({exported.format}); its features agree with the original's to "
        f"{exported.difference:.0e} (relative).",
        _facts(
            "Network and input",
            {
                "backbone": card.backbone,
                "weights": f"{card.init}{f', the {card.role}' if card.method else ''}, seed {card.seed}",
                "input": f"values 0..1, less {_values(card.mean)}, divided by {_values(card.std)} (per channel)",
                "images of other shapes": f"{getattr(card, 'fitting', 'letterbox')}, scaled by "
                f"{getattr(card, 'resampling', 'area')}",
                "configuration": card.config_fingerprint or "not recorded",
            },
        ),
        "## How to use it\n\n" + exported.usage,
        _facts("Pre-training data", _data(card, folder, synthetic)),
        _facts("Pre-training method and budget", _budget(card, folder)),
        _scores(card, results),
        "## Licence\n\n" + (licence or NO_LICENCE),
        "## Limits\n\n" + _limits(card, synthetic),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(title: str, facts: dict[str, str]) -> str:
    rows = "\n".join(f"| {name} | {_cell(text)} |" for name, text in facts.items())
    return f"## {title}\n\n| | |\n|---|---|\n{rows}"


def _data(card: Card, folder: Path | None, synthetic: bool) -> dict[str, str]:
    if not card.method:
        return {"data": "none of this study's; see where the weights come from"}
    facts = {"patients": f"{len(card.patients)} (their scans must not be in any test set of this encoder)"}
    store = _store(card, folder)
    if store:
        facts["frames"] = f"{store.get('n_frames')} of {store.get('n_scans')} scans"
        sampler = store.get("sampler")
        facts["sampler"] = str(sampler.get("sampler") if isinstance(sampler, dict) else sampler)
    facts["fingerprint"] = card.data_fingerprint or "not recorded"
    if synthetic:
        facts["source"] = "a synthetic phantom; no patient, no clinical evidence"
    return facts


def _store(card: Card, folder: Path | None) -> dict[str, Any]:
    """The description of the frame store in whose frames the encoder was trained; empty where it cannot be told."""
    run = folder.resolve().parent.parent if folder is not None else None
    for path in sorted(run.glob("frames*/store.json")) if run is not None else []:
        told = read_json(path)
        if told.get("fingerprint") == card.data_fingerprint:
            return told
    return {}


def _budget(card: Card, folder: Path | None) -> dict[str, str]:
    facts = {"method": card.method or "none"}
    path = folder / "budget.json" if folder is not None else None
    if path is None or not path.is_file():
        return facts | {"budget": "not recorded"}
    told = read_json(path)
    names = {
        "frames_seen": "frames seen",
        "views_seen": "views seen",
        "steps": "optimiser steps",
        "batch_size": "batch size",
        "seconds": "seconds of training",
        "devices": "devices",
    }
    facts |= {words: f"{told[name]:,}".replace(",", " ") for name, words in names.items() if told.get(name) is not None}
    if told.get("collapsed_at_step") is not None:
        facts["collapse"] = f"its representation collapsed at step {told['collapsed_at_step']}"
    return facts


def _scores(card: Card, results: pd.DataFrame | None) -> str:
    """Macro-F1 of the encoder's cells beside those of the same backbone untrained, by cohort, mode and fraction."""
    if results is None or results.empty:
        return "## Scores\n\nNot measured in this study."
    own = results.loc[(results["init"] == card.init) & (results["backbone"] == card.backbone)]
    if card.method and "pretrain_seed" in own:
        own = own.loc[own["pretrain_seed"].isna() | (own["pretrain_seed"].astype("Float64") == card.seed)]
    if own.empty:
        return "## Scores\n\nNot measured in this study."
    base = results.loc[(results["init"] == BASELINE) & (results["backbone"] == card.backbone)]
    lines = ["| test cohort | mode | labels | macro-F1 | untrained | cells |", "|---|---|---|---|---|---|"]
    for key, group in own.groupby(["cohort", "mode", "fraction"], sort=True):
        cohort, mode, fraction = cast(tuple[str, str, float], key)
        same = base.loc[(base["cohort"] == cohort) & (base["mode"] == mode) & (base["fraction"] == fraction)]
        untrained = f"{same['f1_macro'].mean():.3f}" if len(same) and card.init != BASELINE else "–"
        score, words = f"{group['f1_macro'].mean():.3f}", MODES.get(mode, mode)
        lines.append(f"| {cohort} | {words} | {100 * fraction:.3g} % | {score} | {untrained} | {len(group)} |")
    note = "Means over seeds and folds; patients of the test cohorts were in no training. Intervals are in the report."
    return "## Scores\n\n" + "\n".join(lines) + f"\n\n{note}"


def _limits(card: Card, synthetic: bool) -> str:
    lines = ["- Research use. This is no medical device, and its features are no diagnosis."]
    if synthetic:
        lines.append("- Trained on synthetic images: what it scores on them says nothing about patients.")
    lines.append("- Scores hold for the scanners and patients above; measure again on your own before you rely on it.")
    if card.method:
        lines.append("- Test it only on patients whose scans it has not seen in pre-training.")
    return "\n".join(lines)


def _values(values: list[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
