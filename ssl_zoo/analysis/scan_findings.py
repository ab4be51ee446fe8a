"""What is written about scans: a table and a timeline of each, the best frame per plane, and what an exam lacks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ssl_zoo.analysis.csv_files import write_csv
from ssl_zoo.analysis.figures.scan_timeline import scan_timeline
from ssl_zoo.analysis.frame_truth import TRUTH, read_truth, truth_scores
from ssl_zoo.analysis.sheet_pictures import TIMELINES
from ssl_zoo.analysis.style import save
from ssl_zoo.errors import UserError
from ssl_zoo.files import replacing, write_json
from ssl_zoo.grid.cells import as_scores
from ssl_zoo.scans.base import MiscountedScan, ScanReader, UnreadableScan
from ssl_zoo.scans.reader import open_scan
from ssl_zoo.scans.table import patients_by_pattern, read_scans
from ssl_zoo.transfer.predictor import Predictor, ScanPrediction, predict_scan

GIVEN = ("scan_id", "patient_id", "path", "fps")  # what is known of a scan
FRAMES = "frames.csv"  # in the folder of each scan


@dataclass(frozen=True)
class Looking:
    """How scans are looked at: see `predict_scan`. `truth`: a folder of tables."""

    every: int = 1
    smooth_s: float = 0.15
    least_s: float = 0.2
    truth: Path | None = None


@dataclass
class Outcome:
    """What came out: a row per scan and plane, a row per exam, scores where the truth is known, unreadable scans."""

    planes: pd.DataFrame = field(default_factory=pd.DataFrame)
    exams: pd.DataFrame = field(default_factory=pd.DataFrame)
    scores: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    frames: int = 0


def given_scans(
    places: Sequence[Path],
    patient_pattern: str | None,
    fps: float,
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """The scans that files, folders and tables name: `scan_id, patient_id, path, fps` of each.

    Files are patients of their own, unless `patient_pattern` finds one in the name. `fps`: of scans that do not tell,
    where their table does not either. `tell` hears what `read_scans` warns of. Raises UserError for a place that is not
    there, or holds no scan, for a pattern that does not fit, and for two scans of one name.
    """
    found: list[dict[str, Any]] = []
    for place in places:
        if not place.exists():
            raise UserError(f"{place}: no such file or folder")
        if place.is_dir() or place.suffix.lower() == ".csv":
            scans = read_scans(place, patient_pattern, fps=fps)
            for warning in scans.warnings:
                tell(warning)
            found += scans.table.loc[:, list(GIVEN)].to_dict("records")
            continue
        patient = patients_by_pattern([place.name], patient_pattern, place)[0] if patient_pattern else place.stem
        found.append(dict(zip(GIVEN, (place.stem, patient, place, fps), strict=True)))
    names = [_folder_name(scan["scan_id"]) for scan in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two scans are called '{name}'; give a scan table with a scan_id for each")
    return found


def refuse_out(out: Path, scans: Sequence[dict[str, Any]], places: Sequence[Path]) -> None:
    """UserError where `out` is no folder, lies among the scans, or holds another's folder of a scan's name."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: there is a file of this name; name a folder")
    for place in places:
        if place.is_dir() and out.resolve().is_relative_to(place.resolve()):
            raise UserError(f"--out {out} lies in {place}, among the scans; name a folder outside")
    for scan in scans:
        own = out / _folder_name(scan["scan_id"])
        if own.exists() and not (own / FRAMES).is_file():
            raise UserError(f"--out {out}: it holds '{own.name}', which no prediction wrote; name another folder")


def write_findings(
    predictor: Predictor, scans: list[dict[str, Any]], out: Path, looking: Looking, *, progress: bool = True
) -> Outcome:
    """Predict every scan and write `out`: a folder per scan, `planes.csv`, `exams.csv`, and `truth.json` if known.

    A scan that cannot be read is listed and the others go on.
    """
    outcome = Outcome()
    rows, predictions, truths = [], [], []
    for scan in tqdm(scans, desc="predict", unit="scan", disable=None if progress else True):
        try:
            reader, prediction = _predict(predictor, scan["path"], scan["fps"], looking)
        except UnreadableScan as error:
            outcome.failed[scan["scan_id"]] = str(error)
            continue
        truth = read_truth(looking.truth / f"{scan['scan_id']}.csv", prediction) if looking.truth else None
        _write_scan(out / _folder_name(scan["scan_id"]), scan["scan_id"], reader, prediction, truth)
        outcome.frames += len(prediction.frames)
        rows += list(_rows(scan, prediction))
        if truth is not None:
            predictions.append(prediction)
            truths.append(truth)
    outcome.planes = pd.DataFrame(rows)
    if rows:
        outcome.exams = _exams(
            outcome.planes, [scan["patient_id"] for scan in scans if scan["scan_id"] in outcome.failed]
        )
        write_csv(out / "planes.csv", outcome.planes)
        write_csv(out / "exams.csv", outcome.exams)
    if predictions:
        outcome.scores = truth_scores(predictions, truths, least_s=looking.least_s)
        write_json(out / TRUTH, as_scores(outcome.scores))
    return outcome


def keep_for_report(out: Path, run: Path, classifier: str, outcome: Outcome) -> Path:
    """Copy the timelines in `out`, and what they are worth, to where the report of a run folder looks for them.

    Returns `figures/timelines/<classifier>/` of the run folder; what an earlier prediction left there is replaced.
    """
    kept = run / "figures" / TIMELINES / _folder_name(classifier)
    with replacing(kept) as part:
        part.mkdir()
        for scan in dict.fromkeys(outcome.planes["scan_id"]) if len(outcome.planes) else ():
            name = _folder_name(str(scan))
            shutil.copyfile(out / name / "timeline.png", part / f"{name}.png")
        if outcome.scores:
            write_json(part / TRUTH, as_scores(outcome.scores))
    return kept


def _predict(predictor: Predictor, path: Path, fps: float, looking: Looking) -> tuple[ScanReader, ScanPrediction]:
    """The scan and its prediction; frames that the packets count wrongly are counted by decoding them."""

    def looked(reader: ScanReader) -> tuple[ScanReader, ScanPrediction]:
        return reader, predict_scan(
            predictor, reader, every=looking.every, smooth_s=looking.smooth_s, least_s=looking.least_s
        )

    try:
        return looked(open_scan(path, fps=fps))
    except MiscountedScan:
        return looked(open_scan(path, exact=True, fps=fps))


def _write_scan(
    folder: Path, name: str, reader: ScanReader, prediction: ScanPrediction, truth: pd.Series | None
) -> None:
    with replacing(folder) as part:
        part.mkdir()
        table = prediction.table()
        if truth is not None:
            table["truth"] = truth
        write_csv(part / FRAMES, table)
        pictures: list[np.ndarray | None] = []
        for finding in prediction.findings:
            if finding.frame is None:
                pictures.append(None)
                continue
            picture = reader.read([int(prediction.frames[finding.frame])], channels=3)[0]
            pictures.append(picture)
            Image.fromarray(picture).save(part / f"best_{_folder_name(finding.plane)}.png")
        save(scan_timeline(prediction, name, pictures, truth), part, "timeline")


def _rows(scan: dict[str, Any], prediction: ScanPrediction) -> Iterator[dict[str, Any]]:
    for finding in prediction.findings:
        at = finding.frame
        yield {
            "scan_id": scan["scan_id"],
            "patient_id": scan["patient_id"],
            "plane": finding.plane,
            "found": finding.found,
            "best_frame": None if at is None else int(prediction.frames[at]),
            "best_time_s": None if at is None else round(float(prediction.times[at]), 4),
            "confidence": round(finding.confidence, 4),
            "seconds": round(finding.seconds, 3),
            "longest_s": round(finding.longest_s, 3),
        }


def _exams(planes: pd.DataFrame, failed: Sequence[str]) -> pd.DataFrame:
    """One row per patient: how many scans were read and how many not, and which planes none of them shows.

    `failed`: the patient of each scan that could not be read. The names of planes stand between semicolons.
    """
    order = list(dict.fromkeys(planes["plane"]))
    rows = []
    for patient in sorted({*planes["patient_id"], *failed}):
        own = planes.loc[planes["patient_id"] == patient]
        found = set(own.loc[own["found"], "plane"])
        rows.append(
            {
                "patient_id": patient,
                "scans": len(set(own["scan_id"])),
                "unreadable": failed.count(patient),
                "found": "; ".join(plane for plane in order if plane in found),
                "missing": "; ".join(plane for plane in order if plane not in found),
            }
        )
    return pd.DataFrame(rows)


def _folder_name(name: str) -> str:
    """A name that is one folder or file, whatever characters a scan or a plane has in its own."""
    return re.sub(r"[^\w.() -]+", "_", name).strip(". ") or "_"
