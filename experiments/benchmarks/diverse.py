"""How long does the sampler `diverse` take to choose among the frames of a large cohort, and in how much memory?

Descriptors of 1,000 made-up scans of 200 frames lie in a file, and 10,000 of the 200,000 frames are chosen over all
scans together, in a process of its own. Two cohorts: `scans`, whose frames drift away from their scan's first view, as
in a video; and `noise`, in which no frame is like any other, so that nothing can be left out of the comparison. Then,
per process, how long it takes to describe as many frames of 64 x 64 pixels. Reading the videos is left out.

Measured: seconds by the clock, and the largest resident memory of the process (MiB), mapped file pages included.

    python -m experiments.benchmarks.diverse
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.measure import load, parser, start, write_rows
from experiments.benchmarks.stores import sector_pictures
from ssl_zoo.scans.candidates import Candidates
from ssl_zoo.scans.descriptors import DIMENSIONS, describe_all
from ssl_zoo.scans.samplers import SamplerSettings, sample

BAR_S, BAR_MIB = 600, 4 * 1024
SCANS, PER_SCAN, KEPT = 1000, 200, 10_000
DIRECTIONS = 40  # in which views differ, the first ones most
STEP = 0.1  # of a frame, as a share of what lies between scans
COHORTS = ("scans", "noise")
STATUS = Path("/proc/self/status")


def write_descriptors(path: Path, cohort: str, scans: int, per_scan: int, seed: int = 0) -> None:
    """int8 `[scans x per_scan, DIMENSIONS]`, scan by scan: they are never in memory whole."""
    rng = np.random.default_rng(seed)
    mapped = np.lib.format.open_memmap(path, "w+", np.int8, (scans * per_scan, DIMENSIONS))
    views = np.linalg.qr(rng.normal(size=(DIMENSIONS, DIRECTIONS)))[0].T / np.sqrt(np.arange(DIRECTIONS) + 1)[:, None]
    for scan in range(scans):
        drift = np.cumsum(STEP * rng.normal(size=(per_scan, DIRECTIONS)), axis=0)
        points = (rng.normal(size=DIRECTIONS) + drift) @ views
        if cohort == "noise":
            points = rng.normal(size=(per_scan, DIMENSIONS))
        points *= 180 / np.linalg.norm(points, axis=1, keepdims=True)
        mapped[scan * per_scan : (scan + 1) * per_scan] = np.rint(points).clip(-127, 127)
    mapped.flush()


def choose(path: Path, scans: int, per_scan: int, kept: int) -> dict[str, float]:
    """Choose in this process."""
    descriptors = np.load(path, mmap_mode="r")
    times = [np.arange(per_scan) / 25] * scans
    cohort = Candidates.of([f"scan{number}" for number in range(scans)], times)
    cohort = Candidates(cohort.scan_ids, cohort.starts, cohort.times, np.arange(len(cohort)), descriptors)
    before = time.perf_counter()
    rows = sample(cohort, SamplerSettings("diverse", frames=kept))
    seconds = time.perf_counter() - before
    assert len(np.unique(rows)) == kept
    return {"seconds": round(seconds, 4), "peak_mib": round(peak_mib(), 1)}


def peak_mib() -> float:
    """The largest resident memory of this process; on Linux, of this program alone and not of what started it."""
    if STATUS.exists():
        return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if "VmHWM" in line) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def describe_pictures(frames: int) -> dict[str, float]:
    """Describe as many frames of 64 x 64 pixels in this process."""
    pictures = sector_pictures(64, seed=0)
    before = time.perf_counter()
    for _ in range(-(-frames // len(pictures))):
        list(describe_all(pictures))
    return {"seconds": round(time.perf_counter() - before, 4)}


def apart(threads: int, *arguments: Any) -> dict[str, float]:
    """One of the two in a process of its own."""
    command = [sys.executable, "-m", "experiments.benchmarks.diverse", "--child", json.dumps(arguments)]
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    done = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--child", help="used by the program itself")
    given = options.parse_args(arguments)
    if given.child:
        first, *rest = json.loads(given.child)
        print(json.dumps(describe_pictures(first) if not rest else choose(Path(first), *rest)))
        return
    start(given)
    scans, per_scan, kept = (20, 50, 100) if given.quick else (SCANS, PER_SCAN, KEPT)
    total = scans * per_scan
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for cohort in COHORTS:
            before, path = load(), Path(folder) / f"{cohort}.npy"
            write_descriptors(path, cohort, scans, per_scan)
            found = apart(given.threads, str(path), scans, per_scan, kept)
            bars = {"bar_s": BAR_S, "bar_mib": BAR_MIB}
            case = f"choose {kept:,} of {total:,} frames, {cohort}"
            rows.append({"case": case, "load_before": before, **found, **bars})
    found = {"load_before": load(), **apart(1, total)}
    rows.append({"case": f"describe {total:,} frames", **found, "peak_mib": None, "bar_s": None, "bar_mib": None})
    for row in rows:
        memory = "" if row["peak_mib"] is None else f", at most {row['peak_mib']:.0f} MiB resident"
        bars = "" if row["bar_s"] is None else f" (bars: {BAR_S} s, {BAR_MIB} MiB)"
        print(f"{row['case']}: {row['seconds']:.1f} s{memory}{bars}", flush=True)
    write_rows(given, "diverse", rows)


if __name__ == "__main__":
    main()
