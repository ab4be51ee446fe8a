"""Building a frame store: which frames, decoded once, written beside its place, there whole or not at all.

A build that was stopped in any way goes on where it stood when it is started again: see `parts`.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
from collections.abc import Sized
from functools import partial
from pathlib import Path
from typing import Any

from ssl_zoo import files
from ssl_zoo.errors import UserError, unknown
from ssl_zoo.scans.base import DEFAULT_FPS
from ssl_zoo.scans.cleaning import CleaningSettings
from ssl_zoo.scans.copies import repeat_pixels, repeat_rows
from ssl_zoo.scans.first_look import show_all
from ssl_zoo.scans.image_folder import image_names
from ssl_zoo.scans.ingest import IngestSettings, ingest, show_cleaned
from ssl_zoo.scans.parts import (
    Ingested,
    clear,
    finished,
    frames_path,
    keep_plans,
    kept_plans,
    overflow_path,
    pack,
    parts_folder,
    publish,
    slots,
    unfinished,
)
from ssl_zoo.scans.plans import Plan, make_plans, unplanned
from ssl_zoo.scans.reader import DECODERS
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.skips import Skip, readable_now, skip, to_try_again
from ssl_zoo.scans.store import CARD, FRAMES, HEADER, INDEX, REPORT, VERSION, FrameStore, npy_header
from ssl_zoo.scans.summary import index, report, summary, without_duplicates
from ssl_zoo.scans.table import Scans
from ssl_zoo.scans.workers import processes

__all__ = ["FrameStore", "build_store", "source_fingerprint"]

PROBE = 1 << 16  # bytes at either end of a file that stand for its contents


def build_store(
    scans: Scans,
    out: Path,
    *,
    sampler: SamplerSettings,
    size: int,
    channels: int = 1,
    workers: int | None = None,
    decoder: str = "pyav",
    cleaning: CleaningSettings | None = None,
    copies: int = 1,
    progress: bool = True,
) -> FrameStore:
    """Decode the frames that `sampler` chooses, fit each into `size` x `size` pixels, and open the resulting store.

    Aspect ratio is kept; what is left over is black. Scans are read in parallel by `workers` processes (None: one per
    available core; 1: this process), each holding one frame at a time, and with `cleaning` 16 more. A scan that cannot
    be read, or that crashes what reads it (with other processes), is skipped and listed with its reason
    (`store.skipped`, report.csv). `decoder` "decord" leaves to decord the videos that it reads rightly, and the others
    to PyAV; `decoded_by` in store.json counts the scans of each. `cleaning` crops, masks and inpaints each frame before
    it is scaled, and drops some (`store.dropped`); None, or settings that do nothing: frames as they are. `copies`: how
    often each frame is in the store, for controls (see `scans.copies`).

    A store that was already built from the same scans and settings is opened as it is; any other one at this place is
    replaced, and until then stays whole. A build that was stopped goes on where it stood: what it has done lies in the
    hidden folder `.<name>.parts` beside `out`. Scans that were left out because a package was missing, a process was
    killed or a disk failed (`again` in `store.skipped`) are tried again; where one can be read by now, all is built
    anew.

    Raises UserError for impossible settings, a disk too small for the frames, a place where no store can be put (a
    folder that is there and is no store, a mount point, the folder that the program runs in), where no scan can be
    read, or where another process builds the same store.
    """
    out = Path(out)
    settings = IngestSettings(sampler, size, channels, decoder, cleaning if cleaning and cleaning.anything else None)
    _check(settings)
    if copies < 1:
        raise UserError(f"frames.copies is {copies}; it must be at least 1")
    wanted = _wanted(settings, source_fingerprint(scans)) | ({"copies": copies} if copies > 1 else {})
    fingerprint = files.fingerprint(wanted)
    place = out.resolve()  # so that a link stays, and leads to the store
    card = files.read_json(out / CARD) if (out / CARD).is_file() else {}
    built = card.get("fingerprint") == fingerprint
    if built and not (to_try_again(card["skipped"]) and os.access(place.parent, os.W_OK)):
        shutil.rmtree(parts_folder(place), ignore_errors=True)  # of a build that was stopped at its very end
        return FrameStore.open(out)
    _check_place(place)

    with unfinished(place, fingerprint) as folder:
        with processes(workers, len(scans)) as mapper:
            show = partial(show_cleaned, settings=settings) if settings.cleaning else show_all
            if built and not readable_now(scans, card["skipped"], mapper, show):
                return FrameStore.open(out)
            planned = kept_plans(folder, unplanned(scans))
            if planned and readable_now(scans, planned[1], mapper, show):  # other plans, other slots
                clear(folder)
                planned = None
            if planned is None:
                planned = make_plans(
                    scans, sampler, mapper, decoder=decoder, show=show, folder=folder, progress=progress
                )
            plans, skipped = planned
            _check_any(plans, skipped, scans)
            keep_plans(folder, plans, skipped)
            done = finished(folder, plans, settings.frame_bytes)
            n_frames = sum(len(plan.indices) for number, plan in enumerate(plans) if number not in done)
            check_disk(place.parent, HEADER + copies * n_frames * settings.frame_bytes)
            ended = list(ingest(plans, folder, mapper, settings=settings, done=done, progress=progress))
        _pack(ended, folder, settings.frame_bytes)
        store = folder / "store"
        if settings.cleaning and settings.cleaning.duplicates == "store":
            ended = without_duplicates(ended, store / FRAMES, settings.shape, settings.cleaning)
        skipped += [skip(plan.scan, result.reason, result.again) for plan, result in ended if result.reason]
        order = {scan: place for place, scan in enumerate(scans.table["scan"])}
        skipped.sort(key=lambda entry: order[entry["scan"]])
        kept = [(plan, result) for plan, result in ended if not result.reason]
        _check_any(kept, skipped, scans)
        rows = index(kept)
        if copies > 1:
            repeat_pixels(store / FRAMES, len(rows) * settings.frame_bytes, copies)
            rows = repeat_rows(rows, copies)
        with open(store / FRAMES, "r+b") as handle:
            handle.write(npy_header((len(rows), *settings.shape)))
        rows.to_parquet(store / INDEX, index=False)
        report(ended, skipped, scans).to_csv(store / REPORT, index=False)
        found = summary(kept, ended, skipped) | {"n_frames": len(rows), "fingerprint": fingerprint}
        if skipped:  # with other scans left out, by an accident of the machine, it is another store
            found["content"] = files.fingerprint([fingerprint, sorted(entry["scan"] for entry in skipped)])
        files.write_json(store / CARD, wanted | found)
        publish(folder, place)
    return FrameStore.open(out)


def _check(settings: IngestSettings) -> None:
    settings.sampler.check()
    if settings.channels not in (1, 3):
        raise UserError(f"frames.channels is {settings.channels}; it must be 1 (grey) or 3 (colour)")
    if settings.size < 8:
        raise UserError(f"frames.size is {settings.size}; it must be at least 8 pixels")
    if settings.decoder not in DECODERS:
        raise unknown("frames.decoder", settings.decoder, DECODERS)
    if settings.cleaning:
        settings.cleaning.check()


def _check_place(out: Path) -> None:
    """UserError where a finished store could not take the place of what is there."""
    if out.exists() and not (out / CARD).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: exists and is no frame store; choose another place or remove it")
    if out.is_mount():
        raise UserError(f"{out}: is a mount point, which no store can replace; name a folder in it")
    if Path.cwd().is_relative_to(out):
        raise UserError(f"{out}: is the folder that you are in, which no store can replace; name another one")


def _wanted(settings: IngestSettings, source: str) -> dict[str, Any]:
    """What decides the contents of a store; cleaning only where there is some, so that older stores stay valid."""
    wanted = {
        "version": VERSION,
        "sampler": settings.sampler.to_json(),
        "size": settings.size,
        "channels": settings.channels,
        "decoder": settings.decoder,
        "source": source,
    }
    return wanted | ({"cleaning": dataclasses.asdict(settings.cleaning)} if settings.cleaning else {})


def _pack(ended: list[tuple[Plan, Ingested]], folder: Path, frame_bytes: int) -> None:
    """Close up the slots of scans that gave fewer frames than planned, or none."""
    begins = slots([plan for plan, _ in ended], frame_bytes)
    pieces = []
    for begin, (_, result) in zip(begins[:-1], ended, strict=True):
        length = len(result.indices) * frame_bytes
        own = overflow_path(folder, result.number)
        pieces.append((own, 0, length) if result.overflow else (frames_path(folder), begin, length))
    pack(frames_path(folder), pieces)


def source_fingerprint(scans: Scans) -> str:
    """16 hex digits of what the scans are: the table, and each file's size, first and last 64 KiB.

    Copies of the files elsewhere, or with other dates, give the same digits. Of a folder of images: the names and sizes
    of all, and both ends of the first and the last.
    """
    rows = []
    table = scans.table
    columns = (table[name] for name in ("scan", "path", "scan_id", "patient_id", "fps", "spacing_mm"))
    for scan, path, scan_id, patient_id, fps, spacing in zip(*columns, strict=True):
        row = [scan, scan_id, patient_id, *(_folder_marks(path) if path.is_dir() else _marks(path))]
        if fps != DEFAULT_FPS or not math.isnan(spacing):
            row += [fps, None if math.isnan(spacing) else spacing]
        rows.append(row)
    return files.fingerprint(rows)


def _marks(path: Path) -> list[Any]:
    """A file's size, and the fingerprint of both its ends; of one that cannot be read, that it is so."""
    try:
        with open(path, "rb") as handle:
            n_bytes = handle.seek(0, 2)
            handle.seek(0)
            ends = handle.read(PROBE)
            handle.seek(max(0, n_bytes - PROBE))
            ends += handle.read(PROBE)
    except OSError as error:  # it will be skipped, with the reason
        return [-1, str(error.strerror)]
    return [n_bytes, files.fingerprint(ends.hex())]


def _folder_marks(folder: Path) -> list[Any]:
    """The names and sizes of a folder's images, and both ends of two; of one that cannot be read, that it is so."""
    try:
        names = image_names(folder)
        sizes = [[name, (folder / name).stat().st_size] for name in names]
    except OSError as error:
        return [-1, str(error.strerror)]
    return [sizes, sorted(_marks(folder / name) for name in {*names[:1], *names[-1:]})]


def check_disk(folder: Path, n_bytes: int) -> None:
    """UserError where `folder`'s disk has less than `n_bytes` free, naming both."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise UserError(
            f"{folder}: the frames need {n_bytes / 1e6:,.1f} MB and the disk has {free / 1e6:,.1f} MB free; "
            "keep fewer frames, a smaller size, or choose another disk"
        )


def _check_any(readable: Sized, skipped: list[Skip], scans: Scans) -> None:
    if not readable:
        first = skipped[0]
        raise UserError(
            f"{scans.root}: none of the {len(skipped)} scans can be read; '{first['scan']}' {first['reason']}"
        )
