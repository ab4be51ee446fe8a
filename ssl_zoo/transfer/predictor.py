"""A classifier over whole scans: what each frame shows, how sure that is, and which frames show no plane at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from ssl_zoo.encoders.files import Card
from ssl_zoo.encoders.fitting import Fit
from ssl_zoo.scans.base import ScanReader
from ssl_zoo.scans.sector_cut import fitted_frames
from ssl_zoo.transfer.abstention import Abstainer, fit_abstainer
from ssl_zoo.transfer.calibration import at_temperature, fit_temperature
from ssl_zoo.transfer.classifier import Classifier
from ssl_zoo.transfer.features import images_at_once, to_batch
from ssl_zoo.transfer.timeline import Finding, findings, smooth

BATCH = 16  # frames looked at at a time; more take longer a frame, as their maps leave the processor's caches
FEWEST = 20  # validation images; of fewer, the edge of what is usual cannot be told


@dataclass(frozen=True, eq=False)
class Predictor:
    """A classifier with its temperature, and its thresholds for frames that show none of its planes.

    With fewer than `FEWEST` validation images the temperature is 1 and `abstainer` None: every frame then counts as one
    of the planes. `sector`: what becomes of what lies beside the ultrasound sector, as for the planes it learned from.
    """

    classifier: Classifier
    temperature: float = 1.0
    abstainer: Abstainer | None = None
    n_validation: int = 0
    sector: str = "keep"


@dataclass(frozen=True, eq=False)
class ScanPrediction:
    """One scan, frame by frame and plane by plane.

    `frames` int `[N]` and `times` `[N]` (seconds): the frames looked at; `probabilities` `[N, K]` at the predictor's
    temperature, `smoothed` `[N, K]` over time; `accepted` bool `[N]`: shows one of the planes.
    """

    frames: np.ndarray
    times: np.ndarray
    probabilities: np.ndarray
    smoothed: np.ndarray
    accepted: np.ndarray
    planes: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def predicted(self) -> np.ndarray:
        """The plane of each frame, or "none", str `[N]`."""
        names = np.array([*self.planes, "none"], dtype=object)
        return names[np.where(self.accepted, self.smoothed.argmax(1), len(self.planes))]

    @property
    def missing(self) -> list[str]:
        """The planes that the scan does not show for long enough."""
        return [finding.plane for finding in self.findings if not finding.found]

    def table(self) -> pd.DataFrame:
        """One row per frame: `frame, time_s, predicted, confidence, accepted, p_<plane>...` (smoothed)."""
        columns = {
            "frame": self.frames,
            "time_s": self.times.round(4),
            "predicted": self.predicted,
            "confidence": self.smoothed.max(1).round(4),
            "accepted": self.accepted,
        }
        return pd.DataFrame(columns | {f"p_{p}": self.smoothed[:, k].round(4) for k, p in enumerate(self.planes)})


def fit_predictor(
    classifier: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    train: np.ndarray,
    validation: np.ndarray,
    keep: float = 0.95,
    sector: str = "keep",
) -> Predictor:
    """Set temperature and thresholds on validation patients, who took no part in training.

    `images` uint8 `[N, H, W]` or `[N, H, W, 3]`, `labels` int `[N]`; `train` and `validation` are rows of them.
    `keep`: the share of validation images that the thresholds leave, at least. `sector`: how the images were cut. The
    classifier's weights are laid out channels last, in which a convolution takes a fifth less time on a CPU.
    """
    classifier.encoder.backbone.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if len(validation) < FEWEST:
        return Predictor(classifier, n_validation=len(validation), sector=sector)
    at_once = images_at_once(classifier.encoder, BATCH)
    features = [
        np.concatenate([_features(classifier, batch) for batch in _in_batches(images, rows, at_once)])
        for rows in (train, validation)
    ]
    probabilities = _probabilities(classifier, features[1])
    temperature = fit_temperature(probabilities, labels[validation])
    confidence = at_temperature(probabilities, temperature).max(1)
    abstainer = fit_abstainer(features[0], labels[train], validation=features[1], confidence=confidence, keep=keep)
    return Predictor(classifier, temperature, abstainer, len(validation), sector)


def predict_scan(
    predictor: Predictor, scan: ScanReader, *, every: int = 1, smooth_s: float = 0.15, least_s: float = 0.2
) -> ScanPrediction:
    """Look at every `every`-th frame of a scan. Memory does not grow with the scan but for its probabilities.

    `smooth_s`: standard deviation of the smoothing over time, seconds. `least_s`: how long a plane must be seen.
    Raises UnreadableScan where the file turns out to be damaged.
    """
    wanted = np.arange(0, len(scan), every)
    encoder = predictor.classifier.encoder
    batches = frames_of(scan, encoder.card, wanted, predictor.sector, images_at_once(encoder, BATCH))
    seen = [see(predictor, batch) for batch in batches]
    probabilities, distances = zip(*seen, strict=True)
    raw = at_temperature(np.concatenate(probabilities), predictor.temperature)
    times = scan.times[wanted]
    smoothed = smooth(raw, times, smooth_s)
    accepted = np.ones(len(wanted), bool)
    if predictor.abstainer is not None:
        accepted = predictor.abstainer.accepts_at(np.concatenate(distances), smoothed.max(1))
    planes = predictor.classifier.classes
    found = findings(smoothed, accepted, times, planes, least_s=least_s)
    return ScanPrediction(wanted, times, raw, smoothed, accepted, planes, tuple(found))


def frames_of(
    scan: ScanReader, card: Card, wanted: np.ndarray, sector: str = "keep", at_once: int = BATCH
) -> Iterator[np.ndarray]:
    """Batches of the wanted frames as the encoder of a card wants them, uint8 `[B, H, W]` or `[B, H, W, 3]`."""
    # Frames are scaled while they are decoded, as planes are; what wants another filter is fitted by the encoder.
    fit = card.fit if card.fit.resampling == "area" else None
    return _batches((image for _, image in fitted_frames(scan, wanted, card.channels, fit, sector)), fit, at_once)


def see(predictor: Predictor, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A batch of frames: probabilities `[B, K]` before scaling, and distances `[B]` to the planes (0 without any)."""
    features = _features(predictor.classifier, batch)
    probabilities = _probabilities(predictor.classifier, features)
    distances = np.zeros(len(batch)) if predictor.abstainer is None else predictor.abstainer.distances(features)
    return probabilities, distances


def _batches(frames: Iterator[np.ndarray], fit: Fit | None, at_once: int) -> Iterator[np.ndarray]:
    """Batches of `at_once` frames, uint8 `[B, H, W]` or `[B, H, W, 3]`; with `fit`, each in its black square."""
    batch: list[np.ndarray] = []
    for frame in frames:
        batch.append(frame if fit is None else _in_square(frame, fit))
        if len(batch) == at_once:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _in_square(frame: np.ndarray, fit: Fit) -> np.ndarray:
    height, width = frame.shape[:2]
    square = np.zeros((fit.size, fit.size, *frame.shape[2:]), np.uint8)
    top, left = fit.corner(width, height)
    square[top : top + height, left : left + width] = frame
    return square


def _in_batches(images: np.ndarray, rows: np.ndarray, at_once: int) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), at_once):
        yield images[rows[start : start + at_once]]


@torch.no_grad()
def _features(classifier: Classifier, batch: np.ndarray) -> np.ndarray:
    return classifier.encoder(to_batch(batch, classifier.device)).float().cpu().numpy()  # [B, D]


@torch.no_grad()
def _probabilities(classifier: Classifier, features: np.ndarray) -> np.ndarray:
    logits = classifier.head(torch.from_numpy(features).to(classifier.device))
    return torch.softmax(logits, 1).cpu().numpy()
