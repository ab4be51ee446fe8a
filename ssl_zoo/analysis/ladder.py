"""How learning rates were chosen: the ladder of each init, what was picked from it, and what that leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ssl_zoo.analysis.answer import words
from ssl_zoo.analysis.looks import Start, Starts, split_variant, start_order
from ssl_zoo.analysis.style import percent
from ssl_zoo.analysis.tables import Table, plain_number


def tuning_table(records: list[dict[str, Any]], starts: Starts) -> Table:
    """The ladder of each init: the score of every learning rate, the chosen one in bold, and what it cost."""
    factors = sorted({float(rung["factor"]) for record in records for rung in record["rungs"]})
    columns = ["init", "backbone", "judged by", "usual rate", *(f"× {factor:g}" for factor in factors), "chosen rate"]
    columns += ["frames", "time,\u00a0s"]
    by_start = {(str(record["init"]), str(record["backbone"])): record for record in records}
    lines, strong = [], set()
    for row, start in enumerate(start_order(starts, by_start)):
        record = by_start[start]
        rungs = {float(rung["factor"]): rung for rung in record["rungs"]}
        scores = ["–" if f not in rungs else _rung(rungs[f]) for f in factors]
        chosen = record.get("chosen_factor")
        if chosen is not None and float(chosen) in factors:
            strong.add((row, 4 + factors.index(float(chosen))))
        rate = "none left" if record.get("chosen_base_lr") is None else f"{record['chosen_base_lr']:.3g}"
        cost = record.get("cost", {})
        lines.append([starts[start].name, start[1], JUDGED.get(record["by"], record["by"]), f"{record['base_lr']:.3g}"])
        lines[-1] += [*scores, rate, plain_number(cost.get("frames_seen")), plain_number(cost.get("seconds"))]
    return Table(columns, lines, 3, frozenset(strong))


JUDGED = {"probe": "probe on training patients", "rankme": "RankMe of frames"}


def _rung(rung: dict[str, Any]) -> str:
    return f"{rung['score']:.3g}" if rung.get("score") is not None else "lost"


def tuning_sentences(records: list[dict[str, Any]], starts: Starts, pretrained: Sequence[Start]) -> list[str]:
    """How the rates were chosen, what that leaves open, and why rungs were lost."""
    by_start = {(str(record["init"]), str(record["backbone"])): record for record in records}
    shares = sorted({float(record["share"]) for record in records if record.get("share")})
    of = f" of {words([percent(share) for share in shares])} of the budget" if shares else ""
    told = [
        f"The learning rate was picked from a small ladder around the usual one, by short runs{of} on one pre-training"
        " seed. No validation or test patient took part. The frames of these runs come on top of the budgets above."
    ]
    untuned = [start for start in start_order(starts, pretrained) if start not in by_start]
    if untuned:
        names = words([starts[start].label for start in untuned])
        told.append(f"Not tuned, so not treated alike: {names}.")
    ends = []
    for start in start_order(starts, by_start):
        tried = sorted(float(rung["factor"]) for rung in by_start[start]["rungs"] if rung.get("score") is not None)
        every = [float(rung["factor"]) for rung in by_start[start]["rungs"]]
        chosen = by_start[start].get("chosen_factor")
        if chosen is not None and len(tried) > 1 and float(chosen) in (min(every), max(every)):
            ends.append(starts[start].label)
    if ends:
        told.append(f"The best rate stands at an end of the ladder for {words(ends)}: a better one may lie beyond.")
    for start in start_order(starts, by_start):
        for rung in by_start[start]["rungs"]:
            if rung.get("error"):
                why = str(rung["error"]).strip().splitlines()[-1][:300]
                told.append(f"Lost: {starts[start].label} at × {rung['factor']:g} ({why}).")
    return told


def tuned_inits(config: Mapping[str, Any], inits: Sequence[str]) -> list[str]:
    """Those of the inits that the experiment tunes; all where the configuration does not say."""
    pretrain = config.get("pretrain")
    if not isinstance(pretrain, dict):
        return list(inits)
    variants = pretrain.get("variants")
    variants = variants if isinstance(variants, dict) else {}
    found = []
    for init in inits:
        own = variants.get(split_variant(init)[1])
        recipe = own.get("recipe") if isinstance(own, dict) else None
        if (recipe or pretrain.get("recipe")) == "tuned":
            found.append(init)
    return found
