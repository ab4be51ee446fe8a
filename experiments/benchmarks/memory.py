"""Does the memory of a pre-training grow with the store? It should grow with the batch alone.

Short pre-trainings in processes of their own: on a store, on one ten times as long, and with twice the batch. Measured
in each, after every step, from /proc/self/status (Linux only), in MiB, of which the largest counts:

    anonymous    RssAnon: what the program has asked for and nobody can take back without swapping
    file pages   RssFile: pages of mapped files, the libraries' and the store's, which the system drops when it needs to
    resident     both together, what `top` shows; the bar is on this one

    python -m experiments.benchmarks.memory
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from experiments.benchmarks.measure import load, parser, start, write_rows
from experiments.benchmarks.real_loop import barlow_twins
from experiments.benchmarks.stores import write_store
from ssl_zoo.pretraining.budget import Budget
from ssl_zoo.pretraining.trainer import pretrain
from ssl_zoo.scans.store import FrameStore

STATUS = Path("/proc/self/status")
BAR = 1.05
SIZE, BATCH, FRAMES, STEPS = 64, 64, 4000, 40  # 16 MB of pixels, and 164 MB in the store that is ten times as long
KEYS = {"RssAnon": "anonymous", "RssFile": "file pages"}


def resident() -> dict[str, float]:
    """What this process has in memory now, MiB."""
    lines = [line.split() for line in STATUS.read_text().splitlines() if line.startswith("Rss")]
    found = {KEYS[key[:-1]]: int(value) / 1024 for key, value, *_ in lines if key[:-1] in KEYS}
    return found | {"resident": sum(found.values())}


def train(folder: Path, *, size: int, batch_size: int, steps: int) -> dict[str, float]:
    """The largest of each figure over a pre-training in this process, MiB."""
    peak = resident()

    def look() -> bool:
        for name, value in resident().items():
            peak[name] = max(peak[name], value)
        return False

    store = FrameStore.open(folder)
    settings = barlow_twins(size, batch_size, budget=Budget(steps=steps))
    with tempfile.TemporaryDirectory() as scratch:
        pretrain(settings, store, Path(scratch) / "encoder", stop_requested=look)
    return {name: round(value, 1) for name, value in peak.items()}


def train_apart(folder: Path, **settings: int) -> dict[str, float]:
    """The same in a process of its own, with one thread: each thread has buffers of its own."""
    command = [sys.executable, "-m", "experiments.benchmarks.memory", "--child", str(folder), json.dumps(settings)]
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(small: dict[str, float], large: dict[str, float]) -> dict[str, float]:
    """How many times more each figure is."""
    return {name: round(large[name] / small[name], 4) for name in small}


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--child", nargs=2, metavar=("FOLDER", "SETTINGS"), help="used by the program itself")
    given = options.parse_args(arguments)
    if not STATUS.is_file():
        raise SystemExit("memory is measured from /proc/self/status, which only Linux has")
    if given.child:
        torch.set_num_threads(1)
        print(json.dumps(train(Path(given.child[0]), **json.loads(given.child[1]))))
        return
    given.threads = 1
    start(given)
    size, batch, frames, steps = (32, 8, 40, 2) if given.quick else (SIZE, BATCH, FRAMES, STEPS)
    common: dict[str, Any] = {"bar": None, "steps": steps, "load_before": load()}
    with tempfile.TemporaryDirectory() as folder:
        once, tenfold = Path(folder) / "once", Path(folder) / "tenfold"
        write_store(once, frames=frames, size=size)
        write_store(tenfold, frames=10 * frames, size=size)
        base = train_apart(once, size=size, batch_size=batch, steps=steps)
        longer = train_apart(tenfold, size=size, batch_size=batch, steps=steps)
        wider = train_apart(once, size=size, batch_size=2 * batch, steps=steps // 2)
    rows = [
        {"case": f"store of {frames} frames, batch {batch}", "mib": base, "ratio": compare(base, base)},
        {"case": f"store of {10 * frames} frames, batch {batch}", "mib": longer, "ratio": compare(base, longer)},
        {"case": f"store of {frames} frames, batch {2 * batch}", "mib": wider, "ratio": compare(base, wider)},
    ]
    rows = [row | common for row in rows]
    rows[1]["bar"] = BAR
    for row in rows:
        figures = ", ".join(f"{name} {row['mib'][name]:.0f} MiB ({row['ratio'][name]:.3f} x)" for name in row["mib"])
        print(f"{row['case']}: {figures}", flush=True)
    write_rows(given, "memory", rows)


if __name__ == "__main__":
    main()
