"""Where the time of one Barlow Twins pre-training step goes: by part of the loop, then by torch's operations.

python -m experiments.benchmarks.profile_step                # 64 px in batches of 64, 224 px in batches of 16
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from experiments.benchmarks.fixed_step import FixedStep
from experiments.benchmarks.measure import load, parser, start, synchronise, write_rows
from experiments.benchmarks.real_loop import STEPS, barlow_twins
from experiments.benchmarks.stores import write_store
from ssl_zoo.pretraining.batches import read_rows
from ssl_zoo.pretraining.monitor import feature_health
from ssl_zoo.pretraining.settings import PretrainSettings
from ssl_zoo.scans.clips import PairSampler
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.training import views as views_module

BATCH = {64: 64, 224: 16}
LOOKS = 100  # monitors look in so often in a run
TOP = 8  # operations shown
OTHER_VIEWS = "views: normalise, reorder"


class Parts:
    """Seconds by name of the part; a part within a part counts for the outer one."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.device, self._inside = device, False

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        if self._inside:
            yield
            return
        synchronise(self.device)
        began, self._inside = time.perf_counter(), True
        try:
            yield
        finally:
            synchronise(self.device)
            self.seconds[name].append(time.perf_counter() - began)
            self._inside = False

    def timed(self, name: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*arguments, **options)

        return run

    @contextlib.contextmanager
    def called_by(self, module: ModuleType, prefix: str) -> Iterator[None]:
        """Within the block every public function that a module takes from its neighbours is a part."""
        package = module.__name__.rpartition(".")[0]
        neighbours = [part for part in vars(module).values() if _of(part, package, inspect.ismodule)]
        found = [
            (place, name, function)
            for place in (module, *neighbours)
            for name, function in vars(place).items()
            if not name.startswith("_")
            and _of(function, package, inspect.isfunction)
            and (place is not module or function.__module__ != module.__name__)
        ]
        for place, name, function in found:
            setattr(place, name, self.timed(f"{prefix}{name}", function))
        try:
            yield
        finally:
            for place, name, function in found:
                setattr(place, name, function)

    def per_step(self, steps: int) -> dict[str, float]:
        """Milliseconds a step, the typical ones: the median over steps of what each step spends."""
        found = {}
        for name, seconds in self.seconds.items():
            times = np.array(seconds).reshape(steps, -1).sum(1) if len(seconds) % steps == 0 else None
            found[name] = 1e3 * float(np.median(times) if times is not None else sum(seconds) / steps)
        return found


def _of(thing: object, package: str, kind: Callable[[object], bool]) -> bool:
    """Whether something of that kind was defined in a package."""
    name = getattr(thing, "__module__", None) or getattr(thing, "__name__", "")
    return kind(thing) and str(name).startswith(f"{package}.")


def run_steps(
    settings: PretrainSettings, store: FrameStore, fixed: FixedStep, parts: Parts, steps: int
) -> dict[str, float]:
    """Milliseconds a step by part."""
    pairs = PairSampler(store.index, settings.pairing, settings.window_s)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    method, fabric = fixed.method, fixed.fabric
    with contextlib.ExitStack() as stack:
        stack.enter_context(parts.called_by(views_module, "views: "))
        for name in ("backbone", "projector"):
            network = getattr(method, name)
            stack.callback(setattr, network, "forward", network.forward)
            network.forward = parts.timed(f"forward: {name}", network.forward)
        for _ in range(steps):
            rows = rng.choice(len(store), settings.batch_size, replace=False)  # [B]
            with parts.part("pairs"):
                partners = pairs.pairs(rows, rng)
            with parts.part("frames"):
                first, second = (
                    torch.from_numpy(read_rows(store.frames, side)).to(fabric.device) for side in (rows, partners)
                )
            began, views_before = _now(parts), _spent(parts, "views: ")
            views = views_module.make_views(
                method.views,
                first,
                second,
                size=settings.size,
                mean=[store.mean],
                std=[store.std],
                generator=generator,
            )
            fixed.views = [view.contiguous(memory_format=torch.channels_last) for view in views]
            rest = _now(parts) - began - (_spent(parts, "views: ") - views_before)
            parts.seconds[OTHER_VIEWS].append(rest)
            began, forward_before = _now(parts), _spent(parts, "forward: ")
            output = fixed.module(fixed.views)
            rest = _now(parts) - began - (_spent(parts, "forward: ") - forward_before)
            parts.seconds["forward: loss and the rest"].append(rest)
            with parts.part("backward"):
                fabric.backward(output.loss)
            with parts.part("optimiser"):
                fixed.optimizer.step()
                fixed.optimizer.zero_grad(set_to_none=True)
            with parts.part("monitors"):
                feature_health(output.features)
    found = parts.per_step(steps)
    found["monitors"] *= LOOKS / STEPS  # they look in only now and then
    return found


def _now(parts: Parts) -> float:
    synchronise(parts.device)
    return time.perf_counter()


def _spent(parts: Parts, prefix: str) -> float:
    return sum(sum(seconds) for name, seconds in parts.seconds.items() if name.startswith(prefix))


def top_operations(fixed: FixedStep) -> dict[str, float]:
    """Milliseconds of one bare step in torch's operations, the slowest first; what they call is not counted twice."""
    cuda = fixed.device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        fixed.take()
        synchronise(fixed.device)
    events = profiler.key_averages()
    cost = (lambda event: event.self_device_time_total) if cuda else (lambda event: event.self_cpu_time_total)
    slowest = sorted(events, key=cost, reverse=True)[:TOP]
    return {event.key: cost(event) / 1e3 for event in slowest}


def table(parts: dict[str, float]) -> list[str]:
    """Lines of a Markdown table, the largest part first."""
    total = sum(parts.values())
    lines = ["| part | ms | share |", "|---|---:|---:|"]
    for name, value in sorted(parts.items(), key=lambda pair: -pair[1]):
        lines.append(f"| {name} | {value:.1f} | {value / total:.1%} |")
    return [*lines, f"| all | {total:.1f} | |"]


def main(arguments: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=[64, 224], choices=[64, 224])
    given = options.parse_args(arguments)
    start(given)
    rows = []
    for size in [32] if given.quick else given.sizes:
        batch, frames, steps = (8, 64, 2) if given.quick else (BATCH[size], 2048, 10)
        before = load()
        with tempfile.TemporaryDirectory() as folder:
            store = write_store(Path(folder) / "frames", frames=frames, size=size)
            settings = barlow_twins(size, batch)
            fixed = FixedStep(settings, store, given.device, STEPS)
            fixed.take_many(1)  # warms up
            parts = run_steps(settings, store, fixed, Parts(given.device), steps)
            slowest = top_operations(fixed)
        print(f"\n{size} px, batch {batch}, ms a step\n", *table(parts), sep="\n")
        print(
            "\nof the bare step, the slowest operations",
            *(f"{ms:9.1f}  {key}" for key, ms in slowest.items()),
            sep="\n",
        )
        parts, slowest = ({name: round(ms, 2) for name, ms in found.items()} for found in (parts, slowest))
        row = {"case": f"{size} px", "batch_size": batch, "parts_ms": parts, "operations_ms": slowest, "bar": None}
        rows.append(row | {"load_before": before})
    write_rows(given, "profile_step", rows)


if __name__ == "__main__":
    main()
