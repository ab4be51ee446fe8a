"""What a variant changes, whatever the method: its macro-F1 against the first variant of the study, paired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.analysis.bootstrap import bootstrap_p, holm, interval
from ssl_zoo.analysis.looks import Start, Starts, has_variants
from ssl_zoo.analysis.statistics import Estimates, pick
from ssl_zoo.analysis.style import number, percent
from ssl_zoo.analysis.tables import Table


@dataclass(frozen=True)
class Pairs:
    """The methods that have run in a variant and in the first one: (with this variant, with the first one)."""

    variant: str
    first: str
    starts: list[tuple[Start, Start]]


def variant_pairs(starts: Starts) -> list[Pairs]:
    """Every variant but the first, in the order of the experiment; empty for a study without variants."""
    if not has_variants(starts):
        return []
    by_variant: dict[str, dict[tuple[str, str], Start]] = {}
    for start, look in sorted(starts.items(), key=lambda item: item[1].place):
        if look.variant:
            by_variant.setdefault(look.variant, {})[look.family, look.backbone] = start
    first, *others = by_variant
    return [
        Pairs(name, first, [(by_variant[name][key], by_variant[first][key]) for key in shared])
        for name in others
        if (shared := sorted(by_variant[name].keys() & by_variant[first].keys()))
    ]


def variant_effects(estimates: Estimates, starts: Starts) -> pd.DataFrame:
    """Per variant, mode, fraction and cohort: the mean over methods of its macro-F1 less that of the first variant.

    Columns: variant, first, mode, fraction, cohort, methods (how many have both), difference, low, high (95 % interval
    over patients, paired by patient), p_holm (over the variants of one mode, fraction and cohort).
    """
    rows = []
    table = estimates.table
    for keys, group in table.groupby(["mode", "fraction", "cohort"], sort=False):
        place = dict(zip(_starts(group), group.index, strict=True))
        found = []
        for pairs in variant_pairs(starts):
            both = [(place[one], place[other]) for one, other in pairs.starts if one in place and other in place]
            gaps = [estimates.gap(one, other) for one, other in both]
            gaps = [gap for gap in gaps if np.isfinite(gap.difference)]  # without those that share no cell
            if not gaps:
                continue
            samples = np.stack([gap.samples for gap in gaps]).mean(0)
            patients = min(gap.n_patients for gap in gaps)
            low, high = interval(samples, patients)
            found.append(
                dict(zip(("mode", "fraction", "cohort"), keys, strict=True))  # type: ignore[call-overload]
                | {"variant": pairs.variant, "first": pairs.first, "methods": len(gaps)}
                | {"difference": float(np.mean([gap.difference for gap in gaps])), "low": low, "high": high}
                | {"p_value": bootstrap_p(samples, patients)}
            )
        for row, p in zip(found, holm([row.pop("p_value") for row in found]), strict=True):
            rows.append(row | {"p_holm": float(p)})
    columns = ["variant", "first", "mode", "fraction", "cohort", "methods", "difference", "low", "high", "p_holm"]
    return pd.DataFrame(rows, columns=columns)


def _starts(table: pd.DataFrame) -> list[Start]:
    return list(zip(table["init"].astype(str), table["backbone"].astype(str), strict=True))


def effect_table(effects: pd.DataFrame, mode: str, cohort: str) -> Table:
    """A row per variant, a column per fraction: the difference to the first variant; significant ones are strong."""
    rows = pick(effects, mode=mode, cohort=cohort)
    fractions = sorted(set(rows["fraction"]))
    lines, strong = [], set()
    for index, variant in enumerate(dict.fromkeys(rows["variant"])):
        own = pick(rows, variant=variant)
        line = [f"{variant} − {own['first'].iloc[0]}", str(own["methods"].max())]
        for column, fraction in enumerate(fractions, 2):
            point = pick(own, fraction=fraction).to_dict("records")
            if not point:
                line.append("–")
                continue
            low, high = point[0]["low"], point[0]["high"]
            limits = f" ({number(low, sign=True)} to {number(high, sign=True)})" if np.isfinite(low) else ""
            line.append(f"{number(point[0]['difference'], sign=True)}{limits}")
            if point[0]["p_holm"] < 0.05:
                strong.add((index, column))
        lines.append(line)
    return Table(["variants", "methods", *(percent(f) for f in fractions)], lines, 1, frozenset(strong))
