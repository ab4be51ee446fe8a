"""One patient of a cohort: a sweep as H.264 video, or labelled planes as PNG, with the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pandas as pd
from PIL import Image as Pillow

from ssl_zoo.phantom.acoustics import Scanner, draw_seat, image, make_scanner, make_scatterers
from ssl_zoo.phantom.anatomy import Anatomy, draw_anatomy
from ssl_zoo.phantom.heartbeat import beat_at
from ssl_zoo.phantom.machine import draw_exam
from ssl_zoo.phantom.planes import PLANES, nearest_plane, standard_pose, vary
from ssl_zoo.phantom.sweeps import draw_sweep

POOLS = {"S": 0, "P": 1, "E": 2}  # scans, labelled planes, labelled planes of the external site
Task = tuple[str, int]  # a pool and a patient's number in it, from 0
Row = dict[str, str]  # of scans.csv or planes.csv


@dataclass(frozen=True)
class CohortSettings:
    """Everything that decides the pixels of a cohort."""

    scans: int
    patients: int
    external_patients: int
    seed: int
    frames: int
    size: int
    images_per_plane: int
    crf: int


def write_patient(root: Path, settings: CohortSettings, task: Task) -> list[Row]:
    """Write the scan or the planes of one patient under `root`; returns the rows of its table.

    The random stream belongs to this patient alone: seed, pool and number decide it.
    """
    pool, number = task
    rng = np.random.default_rng(np.random.SeedSequence([settings.seed, POOLS[pool], number]))
    anatomy = draw_anatomy(rng)
    exam = draw_exam(rng, "external" if pool == "E" else "internal", anatomy)
    scanner = make_scanner(exam, make_scatterers(settings.seed), draw_seat(rng), rng, settings.size)
    patient = f"{pool}{number + 1:03d}"
    write = _write_scan if pool == "S" else _write_planes
    return write(root, settings, rng, patient, anatomy, scanner)


def _write_scan(
    root: Path, settings: CohortSettings, rng: np.random.Generator, patient: str, anatomy: Anatomy, scanner: Scanner
) -> list[Row]:
    exam = scanner.exam
    count = int(rng.integers(round(0.8 * settings.frames), round(1.2 * settings.frames) + 1))
    start = rng.random()
    frames, truth, before = [], [], None
    for k, step in enumerate(draw_sweep(anatomy, rng, count, exam.fps)):
        beat = beat_at(start + step.time_s * exam.heart_rate / 60)
        shot = image(scanner, anatomy, beat, step.pose, rng, turn=step.turn, shift=step.shift, before=before)
        before = shot.signal
        frames.append(shot.grey)
        plane, distance = nearest_plane(anatomy, step.pose)
        distance = round(distance * anatomy.scale, 3)
        truth.append({"frame": k, "time_s": round(step.time_s, 4), "plane": plane, "distance_mm": distance})
    scan_id = f"{patient}-1"
    _write_video(root / "scans" / f"{scan_id}.mp4", frames, exam.fps, settings.crf)
    pd.DataFrame(truth).to_csv(root / "truth" / "scans" / f"{scan_id}.csv", index=False)
    row = {"scan": f"scans/{scan_id}.mp4", "patient_id": patient, "scan_id": scan_id}
    return [{**row, "site": exam.site, "device": exam.device}]


def _write_planes(
    root: Path, settings: CohortSettings, rng: np.random.Generator, patient: str, anatomy: Anatomy, scanner: Scanner
) -> list[Row]:
    rows, site = [], scanner.exam.site
    for plane in PLANES:
        phase = rng.random()
        for k in range(settings.images_per_plane):
            pose = vary(standard_pose(anatomy, plane), rng)
            turn, across, along = float(rng.normal(0, 0.08)), float(rng.normal(0, 2)), float(rng.normal(0, 2))
            shot = image(scanner, anatomy, beat_at(phase), pose, rng, turn=turn, shift=(across, along))
            phase += rng.uniform(0.3, 0.7)  # the next image is from another moment of the cycle
            name = f"{patient}_{plane}_{k + 1}.png"
            Pillow.fromarray(shot.grey).save(root / "planes" / name)
            Pillow.fromarray(shot.codes).save(root / "truth" / "structures" / name)
            row = {"image": f"planes/{name}", "label": plane, "patient_id": patient}
            rows.append({**row, "cohort": site, "site": site})
    return rows


def _write_video(path: Path, frames: list[np.ndarray], fps: int, crf: int) -> None:
    """Grey frames uint8 [H, W] as H.264 in yuv420p; one thread, so that the same frames give the same bytes."""
    height, width = frames[0].shape
    options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        colour = np.full((height // 2, width), 128, np.uint8)  # both chroma planes: grey
        for frame in frames:
            luma = (16.5 + frame * np.float32(219 / 255)).astype(np.uint8)  # video range, 16..235
            picture = av.VideoFrame.from_ndarray(np.concatenate([luma, colour]), format="yuv420p")
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
