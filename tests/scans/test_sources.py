"""The published sets of scans, in trees of their exact layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.sources import SOURCES, open_scans
from ssl_zoo.scans.table import read_scans
from tests.scans.volume_files import write_metaimage, write_nifti

NUMBERED = np.arange(6, dtype=np.uint8)[:, None, None] * 40 + np.zeros((6, 10, 8), np.uint8)  # [T, H, W]


@pytest.fixture
def dynamic(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """Three videos of EchoNet-Dynamic, whose table names them without suffix."""
    lines = ["FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"]
    for n, split in enumerate(("TRAIN", "VAL", "TEST")):
        make_video(tmp_path / f"Videos/0X{n}A.avi", 4, codec="mpeg4", rate=50, width=112, height=112)
        lines.append(f"0X{n}A,60.1,20.2,50.3,112,112,50,4,{split}")
    (tmp_path / "FileList.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "VolumeTracings.csv").write_text("FileName,X1,Y1,X2,Y2,Frame\n")
    return tmp_path


@pytest.fixture
def pediatric(tmp_path: Path) -> Path:
    """Two patients in both views; the videos are empty files, for none is opened."""
    for view in ("A4C", "PSAX"):
        folder = tmp_path / "pediatric_echo_avi/pediatric_echo_avi" / view
        (folder / "Videos").mkdir(parents=True)
        names = [f"CR32a{patient}-CR32a{n}-00003{n}.avi" for patient in (7, 8) for n in (1, 2)]
        for name in names:
            (folder / "Videos" / name).touch()
        rows = [f"{name},61.5,F,12,40.1,150,{n}" for n, name in enumerate(names)]
        (folder / "FileList.csv").write_text("\n".join(["FileName,EF,Sex,Age,Weight,Height,Split", *rows]) + "\n")
    return tmp_path


def camus(root: Path, patients: int = 2) -> Path:
    """Half sequences, single images and masks of both views, as NIfTI."""
    for patient in range(1, patients + 1):
        name = f"patient{patient:04d}"
        for view in ("2CH", "4CH"):
            folder = root / "database_nifti" / name
            for part in ("half_sequence", "half_sequence_gt", "ED", "ED_gt", "ES", "ES_gt"):
                frames = NUMBERED if part == "half_sequence" else NUMBERED[:1] * 0 + 1
                write_nifti(folder / f"{name}_{view}_{part}.nii.gz", frames, (0.3, 0.3))
            (folder / f"Info_{view}.cfg").write_text(f"ED: 1\nES: 6\nNbFrame: 6\nFrameRate: {40 + patient}\nEF: 50\n")
    (root / "database_split").mkdir()
    (root / "database_split/subgroup_testing.txt").write_text("patient0002\n")
    return root


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.facts.paper])
def test_a_folder_that_is_another_says_what_is_wanted_and_where_it_is(name, tmp_path: Path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError) as caught:
            open_scans(f"{name}:{path}")
        facts = SOURCES[name].facts
        assert all(part in str(caught.value) for part in (str(path), facts.layout, facts.where, facts.licence))


def test_echonet_dynamic_has_one_patient_a_video(dynamic: Path, tmp_path: Path):
    scans = open_scans(f"echonet_dynamic:{dynamic}")
    assert scans.table["scan"].tolist() == ["Videos/0X0A.avi", "Videos/0X1A.avi", "Videos/0X2A.avi"]
    assert scans.patients == ["0X0A", "0X1A", "0X2A"]
    assert scans.table["split"].tolist() == ["train", "val", "test"]
    assert scans.table["fps"].tolist() == [50.0] * 3
    assert scans.warnings == ["EchoNet-Dynamic: 3 videos, where 10030 are published"]
    store = build_store(
        scans, tmp_path / "store", sampler=SamplerSettings(per_scan=2), size=16, workers=1, progress=False
    )
    assert len(store) == 6


def test_videos_that_are_not_there_or_not_listed_are_said(dynamic: Path):
    (dynamic / "Videos/0X1A.avi").rename(dynamic / "Videos/0X9A.avi")
    scans = open_scans(f"echonet_dynamic:{dynamic}")
    assert scans.patients == ["0X0A", "0X2A"]
    warnings = " ".join(scans.warnings)
    assert "1 videos are in no table, left out (0X9A.avi)" in warnings
    assert "1 scans are not there, left out (Videos/0X1A.avi)" in warnings


def test_a_video_that_is_listed_twice_is_refused(dynamic: Path):
    table = dynamic / "FileList.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[-1] + "\n")
    with pytest.raises(UserError, match="'0X2A' is there twice"):
        open_scans(f"echonet_dynamic:{dynamic}")


def test_echonet_pediatric_groups_videos_by_how_their_names_begin(pediatric: Path):
    scans = open_scans(f"echonet_pediatric:{pediatric}")
    assert len(scans) == 8
    assert scans.patients == ["CR32a7", "CR32a8"]  # each in both views
    assert scans.table["scan_id"].is_unique
    assert set(scans.table["split"]) == {"0", "1", "2", "3"}
    warnings = " ".join(scans.warnings)
    assert "A4C 4 of 3284, PSAX 4 of 4526" in warnings
    assert "no patient ids were published" in warnings


def test_echonet_pediatric_goes_without_a_view(pediatric: Path):
    (pediatric / "pediatric_echo_avi/pediatric_echo_avi/PSAX/FileList.csv").unlink()
    scans = open_scans(f"echonet_pediatric:{pediatric}")
    assert len(scans) == 4
    assert any("no PSAX/FileList.csv" in warning for warning in scans.warnings)


def test_camus_has_two_sequences_a_patient_and_no_masks(tmp_path: Path):
    scans = open_scans(f"camus:{camus(tmp_path / 'CAMUS_public')}")
    assert scans.table["scan_id"].tolist() == [f"patient000{n}_{view}" for n in (1, 2) for view in ("2CH", "4CH")]
    assert scans.patients == ["patient0001", "patient0002"]
    assert scans.table["fps"].tolist() == [41.0, 41.0, 42.0, 42.0]
    assert "2CH 2 of 500, 4CH 2 of 500" in scans.warnings[0]
    assert len(scans.warnings) == 2  # and that there are two patients; a mask is no second file of a sequence
    sampler = SamplerSettings(per_scan=6, clip_length=1)
    store = build_store(scans, tmp_path / "store", sampler=sampler, size=16, workers=1, progress=False)
    assert [int(frame[8, 8]) for frame in store.frames[:6]] == [0, 40, 80, 120, 160, 200]
    assert store.index["time_s"].to_numpy()[:3] == pytest.approx([0, 1 / 41, 2 / 41])
    assert open_scans(f"camus:{tmp_path / 'CAMUS_public/database_nifti'}").patients == scans.patients


def test_older_copies_of_camus_are_read(tmp_path: Path):
    for part, patient in (("training", "patient0001"), ("testing", "patient0002")):
        write_metaimage(tmp_path / part / patient / f"{patient}_4CH_sequence.mhd", NUMBERED, (0.3, 0.15))
        write_metaimage(tmp_path / part / patient / f"{patient}_4CH_ED.mhd", NUMBERED[:1], (0.3, 0.15))
    scans = open_scans(f"camus:{tmp_path}", fps=30)
    assert scans.table["scan"].tolist() == [
        f"{part}/{p}/{p}_4CH_sequence.mhd" for part, p in (("testing", "patient0002"), ("training", "patient0001"))
    ]
    assert scans.table["fps"].tolist() == [30.0, 30.0]
    (tmp_path / "training/patient0003").mkdir()
    assert "no sequence in the folder(s) patient0003" in " ".join(open_scans(f"camus:{tmp_path}").warnings)


def test_a_path_without_a_name_is_read_as_ever(dynamic: Path, tmp_path: Path):
    alone = read_scans(dynamic)
    for source in (str(dynamic), f"folder:{dynamic}"):
        opened = open_scans(source)
        assert opened.table.equals(alone.table)
        assert opened.warnings == alone.warnings
    with pytest.raises(UserError, match="unknown scan source 'echonet'; did you mean 'echonet_dynamic'"):
        open_scans(f"echonet:{dynamic}")


def test_a_link_out_of_a_data_set_is_refused(dynamic: Path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.avi"
    (dynamic / "Videos/0X1A.avi").rename(elsewhere)
    (dynamic / "Videos/0X1A.avi").symlink_to(elsewhere)
    with pytest.raises(UserError, match=r"'Videos/0X1A\.avi' leaves the folder by a link"):
        open_scans(f"echonet_dynamic:{dynamic}")
    assert len(open_scans(f"echonet_dynamic:{dynamic}", allow_outside=True)) == 3


def test_a_patient_pattern_that_is_not_needed_is_said(dynamic: Path):
    assert "the patient pattern was not used" in open_scans(f"echonet_dynamic:{dynamic}", r"(\d)").warnings[-1]
