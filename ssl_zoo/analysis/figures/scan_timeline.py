"""One scan over time: which plane each frame shows, how sure that is, and where the best frames are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssl_zoo.analysis.style import INK, MUTED, PLANE_COLOURS, RULE, about, new_figure, styled
from ssl_zoo.transfer.predictor import ScanPrediction

NONE = "#E3E7EB"


def scan_timeline(
    prediction: ScanPrediction, name: str, pictures: Sequence[np.ndarray | None], truth: pd.Series | None = None
) -> Figure:
    """Best frames above, the probability of every plane below, and bands of what is shown (and of the truth).

    `pictures`: for each plane its best frame, uint8 `[H, W]` or `[H, W, 3]`, or None. `truth`: the plane of each frame
    looked at, "none" where there is none.
    """
    planes, times = prediction.planes, prediction.times
    colours = [PLANE_COLOURS[k % len(PLANE_COLOURS)] for k in range(len(planes))]
    shape = next((picture.shape for picture in pictures if picture is not None), (1, 1))
    with styled():
        figure = new_figure(max(7.0, 1.45 * len(planes)), 4.6 if truth is None else 4.9)
        bands = 1 if truth is None else 2
        grid = figure.add_gridspec(2 + bands, len(planes), height_ratios=[2.1, 2.2, *[0.28] * bands])
        for k, (finding, picture) in enumerate(zip(prediction.findings, pictures, strict=True)):
            axis = figure.add_subplot(grid[0, k])
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(False)
            if picture is None:
                axis.set_box_aspect(shape[0] / shape[1])
                axis.text(0.5, 0.5, "not seen", ha="center", va="center", color=MUTED, transform=axis.transAxes)
            else:
                axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
            for spine in axis.spines.values():
                spine.set(visible=True, color=colours[k] if finding.found else RULE, linewidth=2)
            axis.set_title(finding.plane, loc="center")
            axis.set_xlabel(_caption(prediction, k), fontsize=7.5, color=INK if finding.found else MUTED)
        curves = figure.add_subplot(grid[1, :])
        for k, plane in enumerate(planes):
            curves.plot(times, prediction.smoothed[:, k], color=colours[k], label=plane, linewidth=1.5)
            finding = prediction.findings[k]
            if finding.frame is not None:
                curves.plot(times[finding.frame], finding.confidence, "o", color=colours[k], mec="white", clip_on=False)
        curves.set(ylim=(0, 1.03), ylabel="probability", xlim=_span(times))
        curves.tick_params(labelbottom=False)
        predicted = prediction.predicted
        rows = [("shown", predicted)] if truth is None else [("shown", predicted), ("truth", truth.to_numpy())]
        for row, (label, shown) in enumerate(rows):
            axis = figure.add_subplot(grid[2 + row, :], sharex=curves)
            _band(axis, shown, times, dict(zip(planes, colours, strict=True)))
            axis.set_ylabel(label, rotation=0, ha="right", va="center")
            axis.tick_params(labelbottom=row == len(rows) - 1)
        axis.set_xlabel("time, s (grey: none of the planes)")
        missing = ", ".join(prediction.missing) or "none"
        figure.suptitle(f"{name}: planes not found: {missing}", x=0.01, ha="left", fontsize=10, fontweight="bold")
    return figure


def _caption(prediction: ScanPrediction, k: int) -> str:
    finding = prediction.findings[k]
    if finding.frame is None:
        return "no frame"
    at = prediction.times[finding.frame]
    return f"at {at:.2f} s, {about(finding.confidence)} sure\nseen for {finding.seconds:.2f} s"


def _span(times: np.ndarray) -> tuple[float, float]:
    return (0.0, float(times[-1]) + (float(np.median(np.diff(times))) if len(times) > 1 else 1.0))


def _band(axis, shown: np.ndarray, times: np.ndarray, colours: dict[str, str]) -> None:
    """A strip whose colour says what is shown when."""
    ends = np.append(times[1:], _span(times)[1])
    start = 0
    for k in range(1, len(shown) + 1):
        if k == len(shown) or shown[k] != shown[start]:
            width = ends[k - 1] - times[start]
            axis.barh(0, width, left=times[start], height=1, color=colours.get(shown[start], NONE))
            start = k
    axis.set(ylim=(-0.5, 0.5), yticks=[])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
