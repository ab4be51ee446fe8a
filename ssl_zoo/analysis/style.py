"""The one style of every figure: colours, markers and names of methods, a line style per mode, how a figure is saved.

Colours start from Okabe and Ito (2008) and Paul Tol's muted set, without their yellows, which vanish on white;
a test holds that they stay apart for the common colour-vision deficiencies. Markers repeat what colours say.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ssl_zoo.files import replacing

COLOURS: dict[str, str] = {
    "barlow_twins": "#D55E00",
    "simclr": "#0072B2",
    "moco": "#56B4E9",
    "byol": "#009E73",
    "mae": "#CC79A7",
    "dino": "#E69F00",
    "vicreg": "#332288",
    "autoencoder": "#882255",
    "inpainting_autoencoder": "#999933",
    "imagenet": "#000000",
    "random": "#7A7A7A",
}
MARKERS: dict[str, str] = {
    "barlow_twins": "o",
    "simclr": "s",
    "moco": "D",
    "byol": "^",
    "mae": "P",
    "dino": "v",
    "vicreg": "X",
    "autoencoder": "<",
    "inpainting_autoencoder": ">",
    "imagenet": "*",
    "random": ".",
}
LABELS: dict[str, str] = {
    "barlow_twins": "Barlow Twins",
    "simclr": "SimCLR",
    "moco": "MoCo v2",
    "byol": "BYOL",
    "mae": "MAE",
    "dino": "DINO",
    "vicreg": "VICReg",
    "autoencoder": "Autoencoder",
    "inpainting_autoencoder": "Inpainting AE",
    "imagenet": "ImageNet",
    "random": "random",
}
MODE_LABELS = {
    "linear": "linear probe",
    "finetune": "fine-tuning",
    "knn": "k nearest neighbours",
    "prototype": "class prototypes",
}
MODE_LINES: dict[str, Any] = {
    "linear": "-",
    "finetune": (0, (7, 1.5)),
    "knn": (0, (1, 1)),
    "prototype": (0, (5, 1, 1, 1)),
}
BASELINE_LINE = (0, (2, 2))  # random baselines are grey and dashed in every mode
# For inits without a place of their own, such as published foundation models; in order of appearance.
OTHER_COLOURS = ["#4444FF", "#663300", "#B0128A", "#5F9EA0", "#990033", "#0B6623", "#A5673F", "#8A6FB0"]
# Filled ones only, also below: an edge is drawn white, and vanishes.
OTHER_MARKERS: list[Any] = ["h", "p", "d", "8", (4, 1, 0), (6, 1, 0), (3, 0, 30), (5, 0, 36)]
VARIANT_MARKERS: list[Any] = ["o", "s", "^", "D", "v", "X", "P", "h", "<", ">", "p", (4, 1, 0)]
# Of classes, beside a legend: Tol's bright set, which stays apart for the common colour-vision deficiencies; classes
# beyond start anew.
PLANE_COLOURS = ["#4477AA", "#EE6677", "#228833", "#CCBB44", "#66CCEE", "#AA3377"]
INK, MUTED, RULE = "#1F2933", "#616E7C", "#D5DAE0"

RC: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same letters on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # no ticks stand above a panel; looking for some takes an eighth of the time of drawing
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "figure.dpi": 100,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.07,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.hashsalt": "ssl_zoo",
    "svg.fonttype": "path",
}


def mode_label(mode: str) -> str:
    """A mode in words: "linear probe"."""
    return MODE_LABELS.get(mode, mode)


def mode_title(mode: str) -> str:
    """A mode at the start of a title: "Linear probe"; the k of "k nearest neighbours" stays small."""
    words = mode_label(mode)
    return words if words.startswith("k ") else words[:1].upper() + words[1:]


def panel_title(mode: str, cohort: str, columns: int) -> str:
    """What a panel of one mode and cohort shows, on two lines where it stands among many columns."""
    return f"{mode_title(mode)},{chr(10) if columns > 2 else ' '}{cohort} test cohort"


def mode_order(modes: Iterable[str]) -> list[str]:
    """Known modes first, in the order in which the suite names them."""
    names = list(MODE_LABELS)
    return sorted(set(modes), key=lambda mode: (names.index(mode) if mode in names else len(names), mode))


def cohort_order(cohorts: Iterable[str]) -> list[str]:
    """The internal cohort first."""
    return sorted({str(cohort) for cohort in cohorts}, key=lambda cohort: (cohort != "internal", cohort))


def percent(fraction: float) -> str:
    """A label fraction for people, with a space that does not break: 0.05 is "5 %", 0.125 is "12.5 %"."""
    return f"{100 * fraction:.3g}\u00a0%"


def about(fraction: float) -> str:
    """An estimated fraction to two digits: 0.0969 is "9.7 %", 0.188 is "19 %"."""
    value = 100 * fraction
    return f"{value:.0f}\u00a0%" if value >= 9.95 else f"{value:.2g}\u00a0%"


def number(value: float, *, sign: bool = False) -> str:
    """Two decimals with a real minus; never "−0.00"."""
    text = f"{value:+.2f}" if sign else f"{value:.2f}"
    return text.replace("-0.00", "0.00").replace("+0.00", "0.00").replace("-", "−")


def short(text: str, most: int) -> str:
    """A name in at most so many characters, its middle left out: names of classes often differ at their ends."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 3
    return f"{text[: most - 1 - tail]}…{text[len(text) - tail :]}"


def text_on(colour: Any) -> str:
    """Black or white, whichever reads better on a background colour (relative luminance, WCAG 2)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure in inches with constrained layout; no pyplot, so no window and no global state."""
    return Figure(figsize=(width, height), layout="constrained")


def styled() -> Any:
    """Context in which figures are drawn and saved: `with styled(): ...`."""
    return matplotlib.rc_context(RC)  # type: ignore[arg-type]


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """A block in which Python does not look for garbage: it goes through the webs of objects that figures are, again
    and again, for an eighth of the time of a report. What is left over is collected later.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `folder/name.png` (150 dpi) and `folder/name.svg`; the same figure gives the same bytes."""
    png, svg = Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg"
    with styled():
        figure.set_dpi(150)
        canvas = FigureCanvasAgg(figure)  # before the layout, which then measures texts that drawing need not again
        if (engine := figure.get_layout_engine()) is not None:
            engine.execute(figure)
        figure.set_layout_engine("none")  # laid out once, not again for every format
        # the same bytes as savefig's, which would draw everything twice; weakly packed, which is three times as fast
        with replacing(png) as part:
            canvas.print_png(part, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
        with replacing(svg) as part:
            FigureCanvasSVG(figure).print_svg(part, metadata={"Date": None})
    return png, svg
