"""What is written about scans: a table and a timeline of each, the best frame per plane, and what an exam lacks."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
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
from ssl_zoo.scans.table import Scans, read_scans
from ssl_zoo.transfer.predictor import Predictor, ScanPrediction, predict_scan


@dataclass(frozen=True)
class Looking:
    """How scans are looked at: see `predict_scan`. `fps`: of scans that do not tell; `truth`: a folder of tables."""

    every: int = 1
    smooth_s: float = 0.15
    least_s: float = 0.2
    fps: float = 25.0
    truth: Path | None = None


@dataclass
class Outcome:
    """What came out: a row per scan and plane, a row per exam, scores where the truth is known, unreadable scans."""

    planes: pd.DataFrame = field(default_factory=pd.DataFrame)
    exams: pd.DataFrame = field(default_factory=pd.DataFrame)
    scores: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    frames: int = 0


def given_scans(places: Sequence[Path], patient_pattern: str | None, fps: float) -> list[dict[str, Any]]:
    """The scans that files, folders and tables name: `scan_id, patient_id, path, fps` of each.

    Files are patients of their own, unless `patient_pattern` finds one in the name. Raises UserError for a place that
    is not there, or holds no scan, and for two scans of one name.
    """
    found: list[dict[str, Any]] = []
    for place in places:
        if not place.exists():
            raise UserError(f"{place}: no such file or folder")
        if place.is_dir() or place.suffix.lower() == ".csv":
            scans: Scans = read_scans(place, patient_pattern, fps=fps)
            table = scans.table
            found += [
                {"scan_id": str(row["scan_id"]), "patient_id": str(row["patient_id"]), "path": Path(row["path"])}
                for row in table.to_dict("records")
            ]
            continue
        match = re.search(patient_pattern, place.name) if patient_pattern else None
        patient = match.group(1 if match.re.groups else 0) if match else place.stem
        found.append({"scan_id": place.stem, "patient_id": patient, "path": place})
    names = [_folder_name(scan["scan_id"]) for scan in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two scans are called '{name}'; give a scan table with a scan_id for each")
    return found


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
            reader, prediction = _predict(predictor, scan["path"], looking)
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
        outcome.exams = _exams(outcome.planes)
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


def _predict(predictor: Predictor, path: Path, looking: Looking) -> tuple[ScanReader, ScanPrediction]:
    """The scan and its prediction; frames that the packets count wrongly are counted by decoding them."""

    def looked(reader: ScanReader) -> tuple[ScanReader, ScanPrediction]:
        return reader, predict_scan(
            predictor, reader, every=looking.every, smooth_s=looking.smooth_s, least_s=looking.least_s
        )

    try:
        return looked(open_scan(path, fps=looking.fps))
    except MiscountedScan:
        return looked(open_scan(path, exact=True, fps=looking.fps))


def _write_scan(
    folder: Path, name: str, reader: ScanReader, prediction: ScanPrediction, truth: pd.Series | None
) -> None:
    with replacing(folder) as part:
        part.mkdir()
        table = prediction.table()
        if truth is not None:
            table["truth"] = truth
        write_csv(part / "frames.csv", table)
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


def _exams(planes: pd.DataFrame) -> pd.DataFrame:
    """One row per patient: how many scans, and which planes none of them shows."""
    order = list(dict.fromkeys(planes["plane"]))
    rows = []
    for patient, own in planes.groupby("patient_id", sort=True):
        found = set(own.loc[own["found"], "plane"])
        rows.append(
            {
                "patient_id": patient,
                "scans": own["scan_id"].nunique(),
                "found": " ".join(plane for plane in order if plane in found),
                "missing": " ".join(plane for plane in order if plane not in found),
            }
        )
    return pd.DataFrame(rows)


def _folder_name(name: str) -> str:
    """A name that is one folder or file, whatever characters a scan or a plane has in its own."""
    return re.sub(r"[^\w.() -]+", "_", name).strip(". ") or "_"
