"""The model card of an exported encoder: what it is, what it has seen, what it scored, what it must not be used for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pandas as pd
import timm

from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.entry import Entry
from ssl_zoo.encoders.export import Exported
from ssl_zoo.encoders.files import Card
from ssl_zoo.encoders.overlaps import DATA_SETS, SEEN, overlap
from ssl_zoo.files import read_json

BASELINE = "random"
MODES = {"linear": "linear probe", "finetune": "fine-tuning"}
ORIGINS = {"imagenet": "ImageNet: natural images, no ultrasound", BASELINE: "none: the weights were drawn by lot"}
NO_LICENCE = (
    "Not stated. The weights come from the data above: whether and how they may be passed on is for its owners to say."
)


def model_card(
    card: Card,
    exported: Exported,
    *,
    init: str = "",
    folder: Path | None = None,
    results: pd.DataFrame | None = None,
    licence: str = "",
    synthetic: bool = False,
) -> str:
    """The card as Markdown.

    `init`: what the run's results call the encoder, where that is not the card's own `init`. `folder`: the encoder's
    folder in a run (for the budget that it spent, and the frame store beside it); `results`: the run's results.csv,
    from which the rows of this encoder and of untrained networks are taken. `licence`: what the user says of it; that
    of a published encoder's weights is said whatever the user says. Patients are counted and not named. What is not
    known is said to be so.
    """
    entry = None if card.method else PUBLISHED.get(card.init.partition("@")[0])
    title = entry.title if entry is not None else f"{card.method or card.init} on {card.backbone}"
    tuned = ", fine-tuned" if card.finetuned else ""
    store = _store(card, folder)
    made_by = f", the {card.role}" if card.method else ""
    seed = f", seed {card.seed}" if card.method or card.init == BASELINE else ""
    sections = [
        f"# {title}{tuned}",
        f"An image encoder: {card.channels} channel(s), {card.size} × {card.size} pixels, to a vector of features. "
        f"File: `{exported.path.name}` ({exported.format}); its features agree with the original's to "
        f"{exported.difference:.0e} (relative).",
        _facts(
            "Network and input",
            {
                "backbone": card.backbone,
                "weights": f"{init or card.init}{made_by}{seed}{tuned and f'{tuned} from {card.init}'}",
                "input": f"values 0..1, less {_values(card.mean)}, divided by {_values(card.std)} (per channel)",
                "images of other shapes": f"{getattr(card, 'fitting', 'letterbox')}, scaled by "
                f"{getattr(card, 'resampling', 'area')}",
                "configuration": card.config_fingerprint or "not recorded",
            },
        ),
        "## How to use it\n\n" + exported.usage,
        _facts("Pre-training data", _published_data(entry) if entry else _data(card, store, synthetic)),
        _facts("Fine-tuning", _finetuning(card)) if tuned else "",
        _facts("Pre-training method and budget", _published_method(entry) if entry else _budget(card, folder)),
        _scores(card, init or card.init, results),
        "## Licence\n\n" + _licence(card, entry, licence),
        "## Limits\n\n" + _limits(card, synthetic, trained_here=bool(store)),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(title: str, facts: dict[str, str]) -> str:
    rows = "\n".join(f"| {name} | {_cell(text)} |" for name, text in facts.items())
    return f"## {title}\n\n| | |\n|---|---|\n{rows}"


def _data(card: Card, store: dict[str, Any], synthetic: bool) -> dict[str, str]:
    if not card.method:
        return {"data": ORIGINS.get(card.init, "none of this study's; see where the weights come from")}
    facts = {"patients": f"{len(card.patients)} (their scans must not be in any test set of this encoder)"}
    if store:
        facts["frames"] = f"{store.get('n_frames')} of {store.get('n_scans')} scans"
        sampler = store.get("sampler")
        facts["sampler"] = str(sampler.get("sampler") if isinstance(sampler, dict) else sampler)
    facts["fingerprint"] = card.data_fingerprint or "not recorded"
    if synthetic and store:
        facts["source"] = "a synthetic phantom; no patient, no clinical evidence"
    return facts


def _finetuning(card: Card) -> dict[str, str]:
    """What an encoder was trained on with labels, after all else."""
    return {
        "labelled planes": ", ".join(card.finetuned),
        "patients": f"{len(card.patients)}, with those of pre-training where they are known (none of them may be in a "
        "test set of this encoder)",
    }


def _published_data(entry: Entry) -> dict[str, str]:
    """What a published encoder has seen, as far as that is published."""
    facts = {"data": entry.pretraining, "data sets": ", ".join(entry.pretraining_data) or "not published"}
    if not entry.data_is_known:
        facts["beware"] = "the list is not published in full, so that more may have been seen"
    seen = [title for source, title in DATA_SETS.items() if overlap(entry.name, source) == SEEN]
    return facts | {
        "test sets seen": f"{', '.join(seen) or 'none known'}; scores on these are no proof of anything new"
    }


def _published_method(entry: Entry) -> dict[str, str]:
    return {
        "paper": entry.paper,
        "weights": entry.weights,
        "budget": "its authors'; it is not that of this study's methods",
        **({"inferred": "; ".join(entry.inferred)} if entry.inferred else {}),
        **({"not known": "; ".join(entry.unknown)} if entry.unknown else {}),
    }


def _licence(card: Card, entry: Entry | None, own: str) -> str:
    """The user's words, and that under which the weights came to him where it is known."""
    if entry is not None:
        what = (
            "They were fine-tuned, so that this file is made from them and no copy: what may be done with it is for "
            "their terms and for the owners of the labelled planes to say."
            if card.finetuned
            else "This file is a copy, under the same terms."
        )
        theirs = f"The weights are those of {entry.title}: {entry.licence}. {what}"
    elif card.init == "imagenet" and not card.method:
        config = timm.get_pretrained_cfg(card.backbone)
        name = f"{config.architecture}.{config.tag}" if config is not None else card.backbone
        given = (config.license if config is not None else "") or "not stated"
        theirs = (
            f"timm gives the licence of its weights {name} as: {given}. A file of another origin may have another, and "
            "ImageNet's own terms allow research without commerce."
        )
    else:
        return own or NO_LICENCE
    return f"{own}\n\n{theirs}" if own else theirs


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


def _scores(card: Card, init: str, results: pd.DataFrame | None) -> str:
    """Macro-F1 of the encoder's cells beside those of the same backbone untrained, by cohort, mode and fraction."""
    if results is None or results.empty:
        return "## Scores\n\nNot measured in this study."
    own = results.loc[(results["init"] == init) & (results["backbone"] == card.backbone)]
    if card.method and "pretrain_seed" in own:
        own = own.loc[own["pretrain_seed"].isna() | (own["pretrain_seed"].astype("Float64") == card.seed)]
    if own.empty:
        return "## Scores\n\nNot measured in this study."
    base = results.loc[(results["init"] == BASELINE) & (results["backbone"] == card.backbone)]
    lines = ["| test cohort | mode | labels | macro-F1 | untrained | cells |", "|---|---|---|---|---|---|"]
    for key, group in own.groupby(["cohort", "mode", "fraction"], sort=True):
        cohort, mode, fraction = cast(tuple[str, str, float], key)
        same = base.loc[(base["cohort"] == cohort) & (base["mode"] == mode) & (base["fraction"] == fraction)]
        untrained = f"{same['f1_macro'].mean():.3f}" if len(same) and init != BASELINE else "–"
        score, words = f"{group['f1_macro'].mean():.3f}", MODES.get(mode, mode)
        lines.append(f"| {cohort} | {words} | {100 * fraction:.3g} % | {score} | {untrained} | {len(group)} |")
    note = (
        "Means over seeds and folds, on images that neither probe nor fine-tuning have seen. The run's report gives "
        "intervals, its audit.json the leaks."
    )
    return "## Scores\n\n" + "\n".join(lines) + f"\n\n{note}"


def _limits(card: Card, synthetic: bool, *, trained_here: bool) -> str:
    lines = ["- Research use. This is no medical device, and its features are no diagnosis."]
    if synthetic:
        verb = "Trained and scored" if trained_here else "Scored"
        lines.append(f"- {verb} on synthetic images: what it scores on them says nothing about patients.")
    lines.append("- Scores hold for the scanners and patients above; measure again on your own before you rely on it.")
    if card.method or card.finetuned:
        seen = " and ".join(["pre-training"] * bool(card.method) + ["fine-tuning"] * bool(card.finetuned))
        lines.append(f"- Test it only on patients whose scans it has not seen in {seen}.")
    return "\n".join(lines)


def _values(values: list[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")
