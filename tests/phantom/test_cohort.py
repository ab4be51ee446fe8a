from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssl_zoo.errors import UserError
from ssl_zoo.phantom import structure_mask, write_cohort
from ssl_zoo.phantom.planes import PLANES

SMALL = {"scans": 2, "patients": 2, "external_patients": 1, "frames": 12, "size": 96, "progress": False}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("phantom") / "cohort", **SMALL, workers=1)


def _files(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def test_tables_name_files_that_exist_and_patients_that_differ(cohort):
    scans, planes = pd.read_csv(cohort / "scans.csv"), pd.read_csv(cohort / "planes.csv")
    assert list(scans.columns) == ["scan", "patient_id", "scan_id", "site", "device"]
    assert list(planes.columns) == ["image", "label", "patient_id", "cohort", "site"]
    assert all((cohort / path).is_file() for path in [*scans["scan"], *planes["image"]])
    assert list(scans["patient_id"]) == ["S001", "S002"]
    assert set(planes["patient_id"]) == {"P001", "P002", "E001"}
    assert set(planes[planes["cohort"] == "external"]["patient_id"]) == {"E001"}
    assert (planes.groupby(["patient_id", "label"]).size() == 2).all()
    assert set(planes["label"]) == set(PLANES)


def test_a_scan_decodes_to_the_frames_that_its_truth_lists(cohort):
    for scan in pd.read_csv(cohort / "scans.csv").itertuples():
        frames = _frames(cohort / scan.scan)
        truth = pd.read_csv(cohort / "truth" / "scans" / f"{scan.scan_id}.csv", keep_default_na=False)
        assert len(frames) == len(truth)
        assert frames[0].shape == (96, 96)
        assert max(frame.max() for frame in frames) > 150
        assert set(truth["plane"]) <= {*PLANES, "none"}
        assert truth["time_s"].tolist() == pytest.approx([k / 25 for k in range(len(truth))], abs=1e-3)


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(cohort, tmp_path):
    assert _files(write_cohort(tmp_path / "again", **SMALL, workers=2)) == _files(cohort)


def test_another_seed_gives_other_pixels_everywhere(cohort, tmp_path):
    other = _files(write_cohort(tmp_path / "other", **SMALL, seed=1, workers=1))
    mine = _files(cohort)
    images = [name for name in mine if name.startswith(("planes/", "scans/"))]
    assert images
    assert not any(mine[name] == other[name] for name in images)


def test_a_larger_cohort_keeps_the_patients_of_a_smaller_one(cohort, tmp_path):
    small = write_cohort(tmp_path / "small", **{**SMALL, "scans": 0, "external_patients": 0, "patients": 1}, workers=1)
    name = "planes/P001_4CH_1.png"
    assert _files(small)[name] == _files(cohort)[name]


def test_a_cohort_that_is_there_is_left_alone_and_another_is_refused(cohort):
    before = {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}
    assert write_cohort(cohort, **SMALL) == cohort
    assert {path: path.stat().st_mtime_ns for path in cohort.rglob("*")} == before
    with pytest.raises(UserError, match=r"another phantom cohort .*seed 0 instead of 5"):
        write_cohort(cohort, **SMALL, seed=5)


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="no phantom cohort"):
        write_cohort(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("setting", "value"), [("scans", -1), ("frames", 3), ("size", 97), ("crf", 60), ("seed", 1.5), ("workers", 0)]
)
def test_an_impossible_setting_is_named_and_nothing_is_written(tmp_path, setting, value):
    with pytest.raises(UserError, match=setting):
        write_cohort(tmp_path / "cohort", **{**SMALL, setting: value})
    assert not any(tmp_path.iterdir())


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def broken(*_args, **_kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("ssl_zoo.phantom.patients.image", broken)
    with pytest.raises(OSError, match="no space"):
        write_cohort(tmp_path / "cohort", **SMALL, workers=1)
    assert not any(tmp_path.iterdir())


def test_a_structure_mask_fits_its_image(cohort):
    mask, legend = structure_mask(cohort, "planes/P001_4CH_1.png")
    grey = np.array(Image.open(cohort / "planes" / "P001_4CH_1.png"))
    assert mask.shape == grey.shape == (96, 96)
    assert mask.dtype == np.uint8
    assert {"left_ventricle", "right_atrium", "lung", "vertebra"} <= {legend[code] for code in np.unique(mask)}
    assert not grey[mask == 0].any()
    with pytest.raises(UserError, match="no structure mask"):
        structure_mask(cohort, "planes/P009_4CH_1.png")


def test_the_card_says_that_nothing_here_is_clinical(cohort):
    card = json.loads((cohort / "phantom.json").read_text())
    assert card["note"] == "synthetic; no clinical evidence"
    assert card["settings"]["scans"] == 2
