"""How fast scans become a frame store, against plain loops over decord, PyAV and OpenCV; and what a store is good for.

Ingest: every frame of 768 x 576 H.264 scans, grey, scaled by area averaging to fit 224 x 224, by two processes. Ours
lists the packets of each scan, decodes, letterboxes, counts grey levels and gathers one file of all scans, as
`ssl-zoo frames` does. A plain loop decodes, scales and writes the frames of each scan to a file; it knows neither how
many frames there are nor when they were taken. The loops run in turns, in processes that are running already.

Pairs: two frames of one scan at most 0.2 s apart, drawn at random, from the store and by seeking with decord, whose
readers stay open.

    python -m experiments.benchmarks.ingest               # 6 minutes
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import pandas as pd
from av.video.reformatter import VideoReformatter
from scipy.ndimage import gaussian_filter

from experiments.benchmarks.measure import Mark, load, parser, spread, start, words, write_rows
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.ingest import IngestSettings, ingest
from ssl_zoo.scans.parts import finished
from ssl_zoo.scans.plans import make_plans
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.scaling import fit_box
from ssl_zoo.scans.store import FRAMES
from ssl_zoo.scans.table import Scans, read_scans
from ssl_zoo.scans.workers import Mapper, processes

WIDTH, HEIGHT, RATE = 768, 576, 25
SIZE, WINDOW_S = 224, 0.2
BUFFER = 1 << 20  # bytes written at a time, by all ways
BAR, PAIRS_BAR = 0.95, 50.0
EVERY = SamplerSettings("stride", every=1)
ALIKE = 4.0  # mean grey levels between two ways' frames; decord scales otherwise


def write_scans(folder: Path, *, scans: int, seconds: float, seed: int = 0) -> Scans:
    """Sectors of speckle that drift and flicker, H.264 with ffmpeg's default settings."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    down, right = np.mgrid[:HEIGHT, :WIDTH]
    depth, angle = np.hypot(down + 40, right - WIDTH / 2), np.arctan2(right - WIDTH / 2, down + 40)
    sector = (depth > 90) & (depth < 560) & (np.abs(angle) < 0.65)
    shape = (2 * HEIGHT, 2 * WIDTH)
    speckle = gaussian_filter(np.hypot(*rng.normal(size=(2, *shape))), (0.8, 1.4))
    tissue = gaussian_filter(rng.normal(size=shape), 25)
    tissue = 70 * speckle * (1 + 0.6 * tissue / tissue.std())
    flicker = rng.normal(size=(8, HEIGHT, WIDTH)) * 4
    for scan in range(scans):
        with av.open(str(folder / f"{scan}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=RATE)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            for number in range(round(seconds * RATE)):
                y, x = round(60 + 50 * np.sin(number / 9 + scan)), round(80 + 70 * np.cos(number / 13 + scan))
                image = (tissue[y : y + HEIGHT, x : x + WIDTH] + flicker[number % 8]) * sector
                frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), "gray")
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
            container.mux(stream.encode())
    return read_scans(folder)


class Square:
    """Writes images into a file, each in the middle of a black square, as they lie in a store."""

    def __init__(self, raw: IO[bytes], box: tuple[int, int]) -> None:
        self.raw, self.count = raw, 0
        self.pixels = np.zeros((SIZE, SIZE), np.uint8)
        top, left = (SIZE - box[1]) // 2, (SIZE - box[0]) // 2
        self.inner = self.pixels[top : top + box[1], left : left + box[0]]

    def write(self, image: np.ndarray) -> None:
        self.inner[:] = image
        self.raw.write(self.pixels.data)
        self.count += 1


def by_pyav(path: Path, out: Path, box: tuple[int, int]) -> int:
    """As PyAV's documentation does it, with one scaler for all frames and one thread, which is faster."""
    scaler = VideoReformatter()
    with av.open(str(path)) as container, open(out, "wb", BUFFER) as raw:
        square = Square(raw, box)
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            square.write(scaler.reformat(frame, *box, "gray", interpolation="AREA", threads=1).to_ndarray())
    return square.count


def by_opencv(path: Path, out: Path, box: tuple[int, int]) -> int:
    import cv2

    cv2.setNumThreads(1)
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    with open(out, "wb", BUFFER) as raw:
        square = Square(raw, box)
        while True:
            there, frame = video.read()
            if not there:
                return square.count
            grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            square.write(cv2.resize(grey, box, interpolation=cv2.INTER_AREA))


def by_decord(path: Path, out: Path, box: tuple[int, int]) -> int:
    import cv2
    from decord import VideoReader

    video = VideoReader(str(path), width=box[0], height=box[1], num_threads=1)  # it scales while it decodes
    with open(out, "wb", BUFFER) as raw:
        square = Square(raw, box)
        for index in range(len(video)):
            square.write(cv2.cvtColor(video[index].asnumpy(), cv2.COLOR_RGB2GRAY))
    return square.count


LOOPS: dict[str, Callable[[Path, Path, tuple[int, int]], int]] = {
    "PyAV": by_pyav,
    "OpenCV": by_opencv,
    "decord": by_decord,
}


def plain(loop: str, scans: Scans, folder: Path, mapper: Mapper) -> int:
    """All frames of all scans by a plain loop; returns how many."""
    return sum(mapper(partial(_plain, loop=loop, folder=folder), list(scans.table["path"]), _lost))


def _plain(path: Path, loop: str, folder: Path) -> int:
    return LOOPS[loop](path, folder / f"{path.stem}.raw", fit_box(WIDTH, HEIGHT, SIZE))


def _lost(task: Any, reason: str) -> int:
    raise RuntimeError(f"{task}: {reason}")


def ours(scans: Scans, folder: Path, mapper: Mapper) -> int:
    """All frames of all scans by `build_store`'s own steps, in processes that are running already."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    plans, _ = make_plans(scans, EVERY, mapper, progress=False)
    settings = IngestSettings(EVERY, SIZE, 1)
    finished(folder, plans, settings.frame_bytes)
    results = list(ingest(plans, folder, mapper, settings=settings, progress=False))
    assert all(np.array_equal(plan.indices, result.indices) for plan, result in results)  # so there is nothing to pack
    return sum(len(result.indices) for _, result in results)


def frames_alike(scans: Scans, store: np.ndarray, folder: Path) -> dict[str, float]:
    """Mean grey levels between the first scan's frames in the store and those of each loop."""
    path, found = scans.table["path"].iloc[0], {}
    for loop in LOOPS:
        count = _plain(path, loop, folder)
        theirs = np.fromfile(folder / f"{path.stem}.raw", np.uint8).reshape(count, SIZE, SIZE)
        apart = np.abs(theirs.astype(np.int16) - store[:count]).mean()
        if apart > ALIKE:
            raise SystemExit(f"{loop}'s frames are {apart:.1f} grey levels from ours: not the same frames")
        found[loop] = round(float(apart), 2)
    return found


def compare_ingest(scans: Scans, *, seconds: float, turns: int, workers: int) -> dict[str, Any]:
    """Seconds of each way, in turns; the ratio is the fastest loop's time, in that turn, to ours."""
    with tempfile.TemporaryDirectory() as name, processes(workers, len(scans)) as mapper:
        folder = Path(name)
        ways: dict[str, Callable[[], int]] = {loop: partial(plain, loop, scans, folder, mapper) for loop in LOOPS}
        ways = {"ours": partial(ours, scans, folder / "ours", mapper), **ways}
        before, counts = load(), set()
        took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for turn in range(turns + 1):  # the first one warms processes and files up
            for way in [*ways][turn % len(ways) :] + [*ways][: turn % len(ways)]:
                began = Mark.now("cpu")
                counts.add(ways[way]())
                ended = Mark.now("cpu")
                took[way].append((ended.wall_s - began.wall_s, ended.core_s - began.core_s))
        alike = frames_alike(scans, _stored(folder, counts.pop()), folder)
    assert not counts, f"the ways count frames differently: {counts}"
    times, core_s = (pd.DataFrame({way: [t[k] for t in took[way][1:]] for way in ways}) for k in (0, 1))
    n_frames = round(len(scans) * seconds * RATE)
    fastest = times[[*LOOPS]].median().idxmin()
    return {
        "case": f"ingest, scans of {seconds:g} s",
        "ratio": spread((times[fastest] / times["ours"]).tolist()),
        "core_ratio": spread((core_s[fastest] / core_s["ours"]).tolist()),
        "fastest_loop": fastest,
        "frames_per_s": {way: round(n_frames / float(times[way].median()), 1) for way in ways},
        "grey_levels_apart": alike,
        "workers": workers,
        "bar": BAR,
        "load_before": before,
    }


def _stored(folder: Path, n_frames: int) -> np.ndarray:
    return np.memmap(folder / "ours/store" / FRAMES, np.uint8, "r", 128, (n_frames, SIZE, SIZE))


def compare_pairs(scans: Scans, *, pairs: int, turns: int) -> dict[str, Any]:
    """Pairs a second from the store, and by seeking in the videos; each turn draws anew."""
    from decord import VideoReader

    with tempfile.TemporaryDirectory() as name:
        store = build_store(scans, Path(name) / "store", sampler=EVERY, size=SIZE, progress=False)
        sampler, rng, before = PairSampler(store.index, "temporal", WINDOW_S), np.random.default_rng(0), load()
        box = fit_box(WIDTH, HEIGHT, SIZE)
        videos = {
            scan_id: VideoReader(str(path), width=box[0], height=box[1], num_threads=1)
            for scan_id, path in zip(scans.table["scan_id"], scans.table["path"], strict=True)
        }
        scan_of, frame_of = store.index["scan_id"].to_numpy(), store.index["frame"].to_numpy()

        def from_store(anchors: np.ndarray, partners: np.ndarray) -> None:
            store.batch(anchors), store.batch(partners)

        def by_seeking(anchors: np.ndarray, partners: np.ndarray) -> None:
            for anchor, partner in zip(anchors, partners, strict=True):
                wanted = [int(frame_of[anchor]), int(frame_of[partner])]
                videos[scan_of[anchor]].get_batch(wanted).asnumpy()

        ratios, rates = [], {"store": [], "decord": []}
        for _ in range(turns):
            fast = _pairs_per_s(from_store, sampler, rng, len(store), 64 * pairs)
            slow = _pairs_per_s(by_seeking, sampler, rng, len(store), pairs)
            ratios.append(fast / slow)
            rates["store"].append(fast)
            rates["decord"].append(slow)
    return {
        "case": "random pairs",
        "ratio": spread(ratios),
        "pairs_per_s": {way: round(float(np.median(rate)), 1) for way, rate in rates.items()},
        "bar": PAIRS_BAR,
        "load_before": before,
    }


def _pairs_per_s(
    read: Callable[[np.ndarray, np.ndarray], None], sampler: PairSampler, rng: np.random.Generator, n: int, pairs: int
) -> float:
    began = time.perf_counter()
    for _ in range(max(1, pairs // 64)):
        anchors = rng.integers(0, n, min(64, pairs))
        read(anchors, sampler.pairs(anchors, rng))
    return max(1, pairs // 64) * min(64, pairs) / (time.perf_counter() - began)


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, nargs="+", default=[20.0, 4.0], help="of a scan (default: 20 4)")
    options.add_argument("--turns", type=int, default=8, help="(default: %(default)s)")
    options.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    given = options.parse_args(arguments)
    if given.quick:
        given.seconds, given.turns = [0.4], 2
    start(given)
    rows = []
    for seconds in given.seconds:
        with tempfile.TemporaryDirectory() as folder:
            n_scans = 2 if given.quick else max(4, round(80 / seconds))
            scans = write_scans(Path(folder) / "scans", scans=n_scans, seconds=seconds)
            rows.append(compare_ingest(scans, seconds=seconds, turns=given.turns, workers=given.workers))
            _tell_ingest(rows[-1])
            if seconds == given.seconds[0]:
                rows.append(compare_pairs(scans, pairs=2 if given.quick else 32, turns=given.turns))
                print(f"pairs from the store: {words(rows[-1]['ratio'])} times seeking with decord (bar {PAIRS_BAR:g})")
    write_rows(given, "ingest", rows)


def _tell_ingest(row: dict[str, Any]) -> None:
    print(
        f"{row['case']}: {words(row['ratio'])} of the fastest plain loop ({row['fastest_loop']}; bar {row['bar']}), "
        f"in core seconds {words(row['core_ratio'])}; "
        f"frames/s {row['frames_per_s']}",
        flush=True,
    )


if __name__ == "__main__":
    main()
