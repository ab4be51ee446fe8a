"""Does `ssl-zoo predict` keep up with a scanner: 30 frames a second at 224 pixels with a ResNet-18 on two cores?

A scan of 768 x 576 H.264 at 25 frames a second is looked at frame by frame, as the command does once its classifier is
loaded: decoding and scaling, features, probabilities and distances, smoothing, best frames, tables and the timeline.
The weights are random, which costs the same. Then the parts alone: decoding with scaling, and the network.

Measured, in turns: frames per second by the clock, and core seconds per frame, which other programs hardly change.

    python -m experiments.benchmarks.predict              # 2 minutes
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.ingest import RATE, write_scans
from experiments.benchmarks.measure import Mark, load, parser, spread, start, words, write_rows
from ssl_zoo.analysis.scan_findings import Looking, given_scans, write_findings
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, Encoder
from ssl_zoo.scans.reader import open_scan
from ssl_zoo.transfer.classifier import Classifier
from ssl_zoo.transfer.predictor import Predictor, fit_predictor, frames_of, see

BAR = 30.0  # frames per second
PLANES = ("3VT", "3VV", "4CH", "LVOT", "RVOT")


def predictor_of(backbone: str, size: int, device: str, seed: int = 0) -> Predictor:
    """A classifier of random weights, with the temperature and thresholds that noise gives it."""
    rng = np.random.default_rng(seed)
    network = Encoder(build_backbone(backbone, channels=1, size=size), Card(backbone, size, 1, [0.3], [0.2]))
    weight = rng.normal(size=(len(PLANES), network.num_features))
    classifier = Classifier(network, weight, np.zeros(len(PLANES)), PLANES).to(device)
    images = rng.integers(0, 256, (64, size, size), np.uint8)
    labels, rows = rng.permutation(np.arange(64) % len(PLANES)), np.arange(64)
    return fit_predictor(classifier, images, labels, train=rows[:32], validation=rows[32:])


def timed(action: Callable[[], object], frames: int, turns: int, device: str) -> dict[str, Any]:
    """Frames per second and core milliseconds per frame, after one turn that is not counted."""
    rates, core_ms = [], []
    for turn in range(turns + 1):
        began = Mark.now(device)
        action()
        ended = Mark.now(device)
        if turn:
            rates.append(frames / (ended.wall_s - began.wall_s))
            core_ms.append(1000 * (ended.core_s - began.core_s) / frames)
    return {"frames_per_s": spread(rates), "core_ms_per_frame": spread(core_ms)}


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--backbone", default="resnet18", help="any timm model (default: %(default)s)")
    options.add_argument("--size", type=int, default=224, help="pixels (default: %(default)s)")
    options.add_argument("--seconds", type=float, default=12.0, help="of the scan (default: %(default)s)")
    options.add_argument("--turns", type=int, default=5)
    given = options.parse_args(arguments)
    if given.quick:
        given.backbone, given.size, given.seconds, given.turns = "test_resnet", 32, 0.4, 2
    start(given)
    before = load()
    with tempfile.TemporaryDirectory() as folder:
        write_scans(Path(folder) / "scans", scans=1, seconds=given.seconds)
        predictor = predictor_of(given.backbone, given.size, given.device)
        scans, frames = given_scans([Path(folder) / "scans"], None, RATE), round(given.seconds * RATE)
        card = predictor.classifier.encoder.card
        batches = list(frames_of(open_scan(scans[0]["path"]), card, np.arange(frames)))
        ways: dict[str, Callable[[], object]] = {
            "whole": lambda: write_findings(predictor, scans, Path(folder) / "out", Looking(), progress=False),
            "decoding": lambda: list(frames_of(open_scan(scans[0]["path"]), card, np.arange(frames))),
            "network": lambda: [see(predictor, batch) for batch in batches],
        }
        found = {name: timed(way, frames, given.turns, given.device) for name, way in ways.items()}
    bar = BAR if (given.backbone, given.size, given.device) == ("resnet18", 224, "cpu") else None
    case = f"{given.backbone}, {given.size} px"
    row = {"case": case, "load_before": before, "frames": frames, "bar": bar, **found["whole"]}
    row["parts"] = {name: found[name] for name in ("decoding", "network")}
    for name, way in found.items():
        print(
            f"{case}, {name}: {words(way['frames_per_s'], 1)} frames/s; "
            f"{words(way['core_ms_per_frame'], 1)} core ms per frame",
            flush=True,
        )
    write_rows(given, "predict", [row])


if __name__ == "__main__":
    main()
