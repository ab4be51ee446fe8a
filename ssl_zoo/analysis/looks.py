"""How each init appears: its name in words, colour and marker, and the order in which inits are listed.

A method has a colour and a marker of its own. Variants of one method (`simclr@near`, `simclr@far`) share its hue and
differ in shade and marker; a variant has the same shade and the same marker under every method, so that it is found
again in the panel of another one. Shades differ in lightness, which every colour vision sees.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex, to_rgb

from ssl_zoo.analysis.statistics import BASELINE
from ssl_zoo.analysis.style import (
    BASELINE_LINE,
    COLOURS,
    LABELS,
    MARKERS,
    MODE_LINES,
    OTHER_COLOURS,
    OTHER_MARKERS,
    VARIANT_MARKERS,
)

SHADES = (28.0, 70.0)  # CIE lightness L*, 0..100, of the first and the last variant

PretrainingKey = tuple[str, str, str, int]  # init, backbone, method, seed of one pre-training
Start = tuple[str, str]  # init and backbone, which a downstream run starts from


@dataclass(frozen=True)
class Look:
    """How one init on one backbone appears.

    `name`: the init in words, "SimCLR" or "SimCLR @near". `family`: "SimCLR", what variants of one method have in
    common. `variant`: "near", or "". `place`: that of the variant in the experiment. `shared`: whether an init of this
    name occurs on another backbone too.
    """

    colour: str
    marker: Any
    name: str
    family: str
    backbone: str
    variant: str = ""
    place: int = 0
    shared: bool = False
    baseline: bool = False

    @property
    def label(self) -> str:
        """The name, with the backbone where the name alone would not tell."""
        return f"{self.name} · {self.backbone}" if self.shared else self.name

    def line(self, mode: str) -> Any:
        """The matplotlib line style for a mode."""
        return BASELINE_LINE if self.baseline else MODE_LINES.get(mode, "-")


Starts = dict[Start, Look]


def looks(starts: Iterable[tuple[str, str, str]], variants: Sequence[str] = ()) -> Starts:
    """A Look for every (init, backbone, method), all different, the same whatever order they come in.

    `variants`: the order of the variants, where the experiment gives one; those that it does not name come after, in
    the order of the alphabet.
    """
    unique = sorted({(str(init), str(backbone), _text(method)) for init, backbone, method in starts})
    backbones = {init: sorted({b for i, b, _ in unique if i == init}) for init, _, _ in unique}
    others = [init for init in backbones if _known(init, unique) is None]
    parts = {init: split_variant(init, method) for init, _, method in unique}
    present = {variant for _, variant in parts.values() if variant}
    order = [*dict.fromkeys(v for v in variants if v in present), *sorted(present - set(variants))]
    found: Starts = {}
    used: dict[tuple[str, str], int] = {}
    for init, backbone, _ in unique:
        family, variant = parts[init]
        known = _known(init, unique)
        if known is None:
            index = others.index(init)
            colour, marker = OTHER_COLOURS[index % len(OTHER_COLOURS)], OTHER_MARKERS[index % len(OTHER_MARKERS)]
        else:
            colour, marker = COLOURS[known], MARKERS[known]
        place = order.index(variant) if variant else 0
        if variant and len(order) > 1:
            colour, marker = shade(colour, place, len(order)), VARIANT_MARKERS[place % len(VARIANT_MARKERS)]
        repeat = used.get((colour, variant), 0)
        used[colour, variant] = repeat + 1
        if repeat:  # the same method again, on another backbone or with other settings
            colour, marker = _darker(colour, repeat), OTHER_MARKERS[(repeat - 1) % len(OTHER_MARKERS)]
        words = LABELS.get(family, family)
        found[init, backbone] = Look(
            colour,
            marker,
            name=f"{words} @{variant}" if variant else words,
            family=words,
            backbone=backbone,
            variant=variant,
            place=place,
            shared=len(backbones[init]) > 1,
            baseline=init == BASELINE,
        )
    return found


def looks_of(table: pd.DataFrame, variants: Sequence[str] = ()) -> Starts:
    """The look of every init and backbone in a table with these columns, and `method` where there is one."""
    method = table["method"] if "method" in table else pd.Series("", index=table.index)
    return looks(zip(table["init"], table["backbone"], method, strict=True), variants)


def start_order(starts: Starts, only: Iterable[Start] | None = None) -> list[Start]:
    """Backbone by backbone, its untrained baseline last; variants together, in the order of the experiment."""

    def key(start: Start) -> tuple[object, ...]:
        look = starts[start]
        return start[1], look.baseline, look.family.lower(), look.place, look.label.lower()

    return sorted(starts if only is None else set(only) & starts.keys(), key=key)


def starts_in(table: pd.DataFrame) -> list[Start]:
    """The inits and backbones of a table, each once."""
    return list(dict.fromkeys(zip(table["init"].astype(str), table["backbone"].astype(str), strict=True)))


def has_variants(starts: Starts) -> bool:
    """Whether some method has several variants, so that figures need a panel for each method."""
    seen = [(look.family, look.backbone) for look in starts.values() if look.variant]
    return len(set(seen)) < len(seen)


def split_variant(init: str, method: str = "") -> tuple[str, str]:
    """("simclr", "near") for `simclr@near`, ("simclr", "") for `simclr`; other names with an @ are left whole."""
    first, at, variant = init.partition("@")
    return (first, variant) if at and variant and (first == method or first in LABELS) else (init, "")


def shade(colour: str, place: int, count: int) -> str:
    """The hue of a colour in the lightness of the variant at `place` of `count`: the first is the darkest."""
    target = float(np.linspace(*SHADES, count)[place])
    hue, _, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    low, high = 0.0, 1.0
    for _ in range(20):  # lightness in HLS grows with L*, but not evenly
        middle = (low + high) / 2
        low, high = (
            (middle, high) if _lightness(colorsys.hls_to_rgb(hue, middle, saturation)) < target else (low, middle)
        )
    return to_hex(colorsys.hls_to_rgb(hue, high, saturation))


def _lightness(rgb: tuple[float, float, float]) -> float:
    """CIE L* of an sRGB colour, 0 (black) to 100 (white)."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def _known(init: str, unique: list[tuple[str, str, str]]) -> str | None:
    """The name under which an init has a colour: its own, or its method's."""
    names = [init, split_variant(init)[0], *(method for i, _, method in unique if i == init)]
    return next((name for name in names if name in COLOURS), None)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _darker(colour: str, steps: int) -> str:
    hue, light, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    return to_hex(colorsys.hls_to_rgb(hue, max(0.12, light * 0.62**steps), saturation))
