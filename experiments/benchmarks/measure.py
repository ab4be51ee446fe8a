"""What every benchmark needs: a ratio with its spread, the facts of the machine, and the file of results."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import multiprocessing
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssl_zoo.training.precision import resolve_precision

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "lightly", "timm", "numpy", "pillow")


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--device", default="cpu", help="cpu, cuda or cuda:<k> (default: %(default)s)")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch (default: all cores)")
    options.add_argument("--quick", action="store_true", help="does it run at all: tiny, and nothing is written")
    options.add_argument("--out", type=Path, help="folder of the results (default: beside this file)")
    return options


def start(options: argparse.Namespace) -> None:
    """Set the threads; ends the program where the device is not there."""
    torch.set_num_threads(options.threads)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces its precision at every start
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit(f"--device {options.device}: torch sees no CUDA device here")


def synchronise(device: str) -> None:
    """Wait until a GPU has done what it was told, so that a clock read next tells the truth."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Mark:
    """A moment: on the clock on the wall, and in the seconds that all cores together have worked for this program.

    The first is what a user waits for. The second hardly changes when other programs want the same cores. Processes
    that this one has started with multiprocessing, such as a loader's workers, count while they live (on Linux).
    """

    wall_s: float
    core_s: float

    @classmethod
    def now(cls, device: str) -> Mark:
        """Once a GPU has done what it was told."""
        synchronise(device)
        children = sum(_core_s(child.pid) for child in multiprocessing.active_children() if child.pid)
        return cls(time.perf_counter(), time.process_time() + children)


def _core_s(process: int) -> float:
    """User and system seconds of another process; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(values: list[float]) -> dict[str, float | int]:
    """Median, quartiles and number of some values."""
    low, median, high = (float(np.quantile(values, share)) for share in (0.25, 0.5, 0.75))
    return {"median": round(median, 4), "low": round(low, 4), "high": round(high, 4), "n": len(values)}


def words(ratio: dict[str, float | int], digits: int = 2) -> str:
    """`0.97 (0.95-0.98, n=40)`: the median, the quartiles and the number of pairs."""
    return f"{ratio['median']:.{digits}f} ({ratio['low']:.{digits}f}-{ratio['high']:.{digits}f}, n={ratio['n']})"


def machine(device: str) -> dict[str, Any]:
    """Processor, cores and versions; nothing that names the machine."""
    facts: dict[str, Any] = {
        "processor": torch.cuda.get_device_name(device) if device.startswith("cuda") else _cpu(),
        "cores": os.cpu_count(),
        "auto_precision": "bf16" if resolve_precision("auto", device) else "fp32",
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "python": platform.python_version(),
    }
    return facts | {name: importlib.metadata.version(name) for name in PACKAGES}


def load() -> float:
    """How many programs wanted a core in the last minute, these included."""
    return round(os.getloadavg()[0], 1)


def write_rows(options: argparse.Namespace, name: str, rows: list[dict[str, Any]]) -> None:
    """Put rows into `<name>.json`; one with the same `case`, `device` and `threads` as an older one takes its place.

    A quick run writes only where `--out` says so.
    """
    if options.quick and options.out is None:
        return
    path = (options.out or RESULTS) / f"{name}.json"
    device = options.device.partition(":")[0]
    rows = [{"case": row["case"], "device": device, "threads": options.threads} | row for row in rows]
    for row in rows:
        row["quick"], row["load_after"], row["machine"] = options.quick, load(), machine(options.device)
    if path.exists():
        new = {_key(row) for row in rows}
        rows += [row for row in json.loads(path.read_text())["rows"] if _key(row) not in new]
    rows.sort(key=_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"benchmark": name, "rows": rows}, indent=1) + "\n")


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["device"], row["case"], row["threads"]


def _cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
