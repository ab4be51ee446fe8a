"""Pre-training: one loop for every method, on Lightning Fabric, that a `kill -9` only delays.

Every random draw is a function of (seed, step), and every schedule of the share of the budget that is gone: a
checkpoint therefore needs the weights, the optimiser, the step and the clock, and a resumed run equals an undisturbed
one to the bit on the CPU (except under a budget in seconds). There is no loss scaler to save: the precisions are
float32 and bf16, which needs none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ssl_zoo.encoders.files import Card, save_encoder
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.methods.base import Method
from ssl_zoo.pretraining import streams
from ssl_zoo.pretraining.batches import Batches
from ssl_zoo.pretraining.budget import Clock
from ssl_zoo.pretraining.collapse import collapse_event, has_collapsed
from ssl_zoo.pretraining.endings import Collapsed, Interrupted
from ssl_zoo.pretraining.probe_monitor import LabelledImages
from ssl_zoo.pretraining.processes import Processes, connect
from ssl_zoo.pretraining.settings import PretrainSettings, build_method
from ssl_zoo.pretraining.spent import Ledger, Memory, Spent
from ssl_zoo.pretraining.step import Stepper
from ssl_zoo.pretraining.tracking import open_tensorboard
from ssl_zoo.pretraining.watch import Moment, Watch
from ssl_zoo.scans.store import FrameStore
from ssl_zoo.training.batchnorm import synchronised
from ssl_zoo.training.checkpoint import newest_checkpoint, save_checkpoint
from ssl_zoo.training.hardware import computed_on
from ssl_zoo.training.optim import build_optimizer, set_schedule

SHOW_EVERY_S = 1.0  # between two reports of progress
ON_COLLAPSE = ("warn", "stop")


def pretrain(
    settings: PretrainSettings,
    store: FrameStore,
    out: Path,
    *,
    device: str = "cpu",
    labelled: LabelledImages | None = None,
    on_collapse: str = "warn",
    checkpoint_every_s: float = 30.0,
    events: Path | None = None,
    report: Callable[[float, str], None] = lambda done, line: None,
    stop_requested: Callable[[], bool] = lambda: False,
) -> None:
    """Train one method on the frames of `store` and write its encoder folder `out`.

    Beside the encoder stand `history.jsonl` (loss, learning rate and monitors along the way, see `watch.Watch`) and
    `budget.json` (what the run spent). Work in progress lives in a hidden neighbour `.work-*`; a run that was stopped
    goes on from its newest checkpoint. `report(share done, line)` is called about once a second. `events`: a folder for
    TensorBoard, where that is installed.

    `labelled` are images of training patients to watch the encoder by; they change no weight. `on_collapse` "warn"
    records a collapse (an `event` in the history, `collapsed_at_step` in the budget, words in every report), "stop"
    ends the run as well. `stop_requested` is asked at every step; once it says yes, the run writes a checkpoint after
    that step and raises Interrupted. A process that shall answer signals installs a handler that sets what it reads.

    Under torchrun or Slurm's srun every process calls this with the same arguments; `out` must be on a disk that all of
    them share. Each trains on its part of every batch; the first one reports and writes.

    Raises UserError for settings that cannot work and for a disk that is full, Diverged when loss or gradient are not
    finite, Collapsed as said, and Interrupted.
    """
    if on_collapse not in ON_COLLAPSE:
        raise unknown("on_collapse", on_collapse, ON_COLLAPSE)
    if len(store) < settings.batch_size:
        raise UserError(
            f"the frame store has {len(store)} frames, fewer than one batch of {settings.batch_size}; "
            "lower pretrain.batch_size or sample more frames"
        )
    timeline = settings.budget.timeline(settings.batch_size)
    processes = connect(device, settings.precision)
    fabric = processes.fabric
    memory = Memory(fabric.device)
    method, recipe = build_method(settings)
    _check_division(settings, method, processes)
    batches = Batches(
        settings, store, method.views, processes, with_scans=settings.exclude_same_scan and method.negatives
    )

    synchronised(method, fabric.device)
    method.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(method, recipe, batch_size=settings.batch_size)
    module, optimizer = fabric.setup(method, optimizer)
    module.train()
    advice = f"try a lower pretrain.recipes.{settings.method}.base_lr (now {recipe.base_lr})"
    stepper = Stepper(method, recipe, module, optimizer, processes, settings.accumulate, advice)

    card = _card(settings, store, method)
    work = out.parent / f".work-{out.name}-{card.config_fingerprint}"
    step, elapsed, history, spent = 0, 0.0, [], Spent()
    if state := _newest_of_all(work, processes):
        method.load_state_dict(state["method"])
        optimizer.load_state_dict(state["optimizer"])
        step, elapsed, history, spent = state["step"], state["seconds"], state["history"], Spent(**state["spent"])
    clock, ledger = Clock(elapsed), Ledger(method, method.backbone, processes, memory, spent)

    @contextlib.contextmanager
    def aside() -> Iterator[None]:
        with clock.paused(), ledger.paused():
            yield

    def checkpoint() -> None:
        with aside():
            spent = dataclasses.asdict(ledger.total())
            if processes.is_first:
                state = {"method": method.state_dict(), "optimizer": optimizer.state_dict()}
                state |= {"seconds": clock.elapsed(), "history": history, "spent": spent}
                save_checkpoint(work, step, state)

    def stop_if_collapsed() -> None:
        at = processes.from_first(collapse_event(history))
        if at is not None and on_collapse == "stop":
            checkpoint()
            raise Collapsed(
                f"{settings.method}: the network no longer tells images apart (seen at step {at} of {timeline}); "
                f"{advice}, or let it go on with on_collapse 'warn'"
            )

    def agree(loss: float) -> float:
        """All processes learn what any of them knows: the whole batch's loss, the time, and who wants what."""
        nonlocal elapsed, stop, save
        mine = [float(stop_requested()), 0.0, 0.0]
        if processes.is_first:
            mine[1:] = [float(time.monotonic() - saved >= checkpoint_every_s), clock.elapsed()]
        losses, stops, saves, elapsed = processes.total([loss, *mine])
        stop, save = stops > 0, saves > 0
        return losses / processes.size

    stop_if_collapsed()
    watch = Watch(timeline, batches.per_epoch, method, card, processes, labelled, aside)
    board = open_tensorboard(events, step + 1) if processes.is_first else None
    stop = save = False
    started = saved = shown = time.monotonic()
    since = step
    with torch.random.fork_rng(devices=[fabric.device] if fabric.device.type == "cuda" else []):
        while not timeline.over(step, elapsed):
            before = elapsed
            batch = batches.of_step(step)
            ledger.views += sum(len(view) for view in batch.views)
            torch.manual_seed(streams.seed_of(settings.seed, streams.FORWARD, step))
            set_schedule(optimizer, recipe, *timeline.place(step, before))
            where = f"at step {step} of {timeline} of {settings.method}"
            output, loss = stepper.take(batch, timeline.share(step, before), where, agree)
            step += 1
            method.after_step(timeline.share(step, elapsed))

            over = timeline.over(step, elapsed)
            moment = Moment(step, before, elapsed)
            if watch.wants(moment):
                lr = max(group["lr"] for group in optimizer.param_groups)
                history.append(watch.row(moment, output, batch.views, settings.batch_size, loss, lr))
                if processes.is_first and not collapse_event(history) and has_collapsed(history, settings.batch_size):
                    history[-1]["event"] = "collapse"
                if board is not None:
                    board.add(history[-1])
                stop_if_collapsed()
            now = time.monotonic()
            if processes.is_first and (now - shown >= SHOW_EVERY_S or over):
                speed = (step - since) * settings.batch_size / (now - started)
                at = collapse_event(history)
                report(
                    timeline.share(step, elapsed),
                    f"loss {loss:.3f}, {speed:.0f} frames/s" + (f", COLLAPSED at step {at}" if at is not None else ""),
                )
                shown = now
            if (save or stop) and not over:
                checkpoint()
                started = saved = time.monotonic()
                since = step
                if stop:
                    processes.wait()  # until the first has written
                    raise Interrupted(f"{settings.method}: stopped at step {step} of {timeline}; it goes on from there")
    elapsed = clock.elapsed()
    if board is not None:
        board.close()

    spent = ledger.total()
    budget = {
        "frames_seen": step * settings.batch_size,
        "views_seen": spent.views_seen,
        "steps": step,
        "batch_size": settings.batch_size,
        "forward_passes": spent.forward_passes,
        "megapixels_seen": round(spent.megapixels_seen, 3),
        "seconds": round(elapsed, 2),
        "peak_memory_mb": round(spent.peak_memory_mb),
        "devices": processes.size,
        "computed": computed_on(str(fabric.device), settings.precision),
        "frames_in_store": len(store),
        "share_without_neighbour": batches.pairs.lonely,
        "collapsed_at_step": collapse_event(history),
    }
    if processes.is_first:
        extras = {
            "history.jsonl": "".join(json.dumps(row) + "\n" for row in history),
            "budget.json": json.dumps(budget, indent=1) + "\n",
        }
        save_encoder(out, method.encoder(), card, extras=extras)
        shutil.rmtree(work, ignore_errors=True)
    processes.wait()


def _card(settings: PretrainSettings, store: FrameStore, method: Method) -> Card:
    """What is written beside the encoder."""
    return Card(
        backbone=settings.backbone,
        size=settings.size,
        channels=settings.channels,
        mean=[store.mean] * settings.channels,
        std=[store.std] * settings.channels,
        init=settings.method,
        method=settings.method,
        role=method.role,
        seed=settings.seed,
        config_fingerprint=settings.fingerprint(store.fingerprint),
        data_fingerprint=store.fingerprint,
        patients=store.patients,
    )


def _newest_of_all(work: Path, processes: Processes) -> dict[str, Any] | None:
    """The newest whole checkpoint, the same one in every process."""
    state = newest_checkpoint(work) if processes.is_first else None
    step = processes.from_first(state["step"] if state else None)
    if processes.is_first or step is None:
        return state
    state = newest_checkpoint(work)
    if state is None or state["step"] != step:
        raise UserError(
            f"{work}: the first process goes on from step {step}, and process {processes.rank} does not see that "
            "checkpoint; the run folder must be on a disk that all machines share"
        )
    return state


def _check_division(settings: PretrainSettings, method: Method, processes: Processes) -> None:
    """Refuse a batch that does not divide into equal parts, and parts that would not add up to the batch."""
    if settings.accumulate < 1:
        raise UserError(f"pretrain.accumulate is {settings.accumulate}; it must be at least 1")
    if settings.accumulate > 1 and (reason := method.coupling()):
        raise UserError(
            f"pretrain.accumulate is {settings.accumulate}, and {settings.method} cannot be trained in parts of a "
            f"batch: {reason}"
        )
    if settings.batch_size % (processes.size * settings.accumulate):
        raise UserError(
            f"pretrain.batch_size is {settings.batch_size} and does not divide into {processes.size} processes "
            f"with {settings.accumulate} equal parts each"
        )
