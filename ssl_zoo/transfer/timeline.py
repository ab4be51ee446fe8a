"""From the probabilities of single frames to what a scan shows: smoothed in time, plane by plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ssl_zoo.transfer.calibration import TINY

REACH = 4.0  # of the kernel, in its standard deviations
CHUNK = 4096  # frames smoothed at a time


@dataclass(frozen=True)
class Finding:
    """One plane in one scan: the frame that shows it best, and for how long it is seen.

    `frame` is None where no frame shows the plane. `confidence`: the smoothed probability of that frame, 0 to 1.
    `seconds`: of all frames that show it; `longest_s`: of the longest run of them. `found`: the run is long enough.
    """

    plane: str
    frame: int | None
    confidence: float
    seconds: float
    longest_s: float
    found: bool


def smooth(probabilities: np.ndarray, times: np.ndarray, sigma_s: float) -> np.ndarray:
    """Probabilities `[N, K]` averaged over neighbours in time with a Gaussian kernel, whatever the frame rate.

    The logarithms are averaged, as for independent looks at one thing: a frame cannot be carried by one sure neighbour
    alone. `times` `[N]` ascend, in seconds; `sigma_s` 0 leaves all as it is.
    """
    if sigma_s <= 0 or len(times) < 2:
        return probabilities.copy()
    logs = np.log(np.maximum(probabilities, TINY))
    result = np.empty_like(logs)
    for start in range(0, len(times), CHUNK):
        own = times[start : start + CHUNK]
        first = int(np.searchsorted(times, own[0] - REACH * sigma_s))
        last = int(np.searchsorted(times, own[-1] + REACH * sigma_s, side="right"))
        weights = np.exp(-0.5 * ((own[:, None] - times[None, first:last]) / sigma_s) ** 2)  # [n, m]
        result[start : start + CHUNK] = weights @ logs[first:last] / weights.sum(1, keepdims=True)
    return softmax(result, axis=1)


def findings(
    probabilities: np.ndarray,
    accepted: np.ndarray,
    times: np.ndarray,
    planes: tuple[str, ...] | list[str],
    *,
    least_s: float = 0.2,
) -> list[Finding]:
    """What the scan shows of each plane.

    `probabilities` `[N, K]` smoothed, `accepted` bool `[N]`: frames that show any plane at all, `times` `[N]` seconds.
    A plane is found where a run of accepted frames that are most likely it lasts at least `least_s`; in a scan of one
    frame, which lasts no time, where that frame is one.
    """
    lasts = durations(times)
    predicted = probabilities.argmax(1)
    result = []
    for k, plane in enumerate(planes):
        shown = accepted & (predicted == k)
        runs = [float(lasts[start:end].sum()) for start, end in runs_of(shown)]
        best = int(np.where(shown, probabilities[:, k], -1.0).argmax()) if shown.any() else None
        confidence = float(probabilities[best, k]) if best is not None else 0.0
        found = long_enough(runs, times, least_s)
        result.append(Finding(plane, best, confidence, float(sum(runs)), max(runs, default=0.0), found))
    return result


def long_enough(runs: list[float], times: np.ndarray, least_s: float) -> bool:
    """Whether one of the runs, of so many seconds each, lasts `least_s`; a scan of one frame lasts no time."""
    return bool(runs) and (len(times) == 1 or max(runs) >= least_s - 1e-9)


def durations(times: np.ndarray) -> np.ndarray:
    """For how long each frame is shown, seconds `[N]`; the last one as long as is usual in the scan."""
    if len(times) < 2:
        return np.zeros(len(times))
    steps = np.diff(times)
    return np.append(steps, np.median(steps))


def runs_of(shown: np.ndarray) -> list[tuple[int, int]]:
    """The runs of True in a bool `[N]`, as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], shown.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
