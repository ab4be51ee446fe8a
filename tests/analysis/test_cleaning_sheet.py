"""The contact sheet shows each step, the frames that ingest drops, and why."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from ssl_zoo.analysis import cleaning_sheet
from ssl_zoo.analysis.cleaning_sheet import MOST_JUDGED, RUN, draw_cleaning_sheet, frames_to_judge
from ssl_zoo.cli import app
from ssl_zoo.errors import UserError
from ssl_zoo.scans.cleaning import CleaningSettings
from ssl_zoo.scans.frames import build_store
from ssl_zoo.scans.ingest import IngestSettings
from ssl_zoo.scans.reader import MiscountedScan, ScanReader, open_scan
from ssl_zoo.scans.samplers import SamplerSettings
from ssl_zoo.scans.table import read_scans
from tests.scans.cleaning import screens

EVERY = SamplerSettings("stride", every=1)
SETTINGS = IngestSettings(EVERY, size=64, channels=1, cleaning=CleaningSettings())


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A crowded screen with marks, black and frozen frames; a split screen; and a file that is no video."""
    folder = tmp_path_factory.mktemp("scans")
    shown = screens.furnish(screens.screen("convex", frames=6))
    screens.calipers(shown)
    frames = np.concatenate([shown.frames, np.repeat(shown.frames[-1:], 3, 0), 0 * shown.frames[:2]])
    screens.write_video(folder / "crowded.mp4", frames)
    screens.write_video(folder / "split.mp4", screens.dual(frames=4).frames)
    (folder / "zz broken.mp4").write_bytes(b"no video")
    return read_scans(folder)


def test_a_row_shows_the_steps_and_one_frame_for_each_reason(scans, tmp_path):
    rows = draw_cleaning_sheet(scans, SETTINGS, tmp_path / "deep" / "sheet.png")
    assert [row.name for row in rows] == ["crowded", "split", "zz broken"]
    crowded, split, broken = rows
    assert not broken.steps
    assert broken.note.startswith("cannot be read: ")
    assert len(crowded.steps) == 6
    assert {words.partition(",")[0] for words, _ in crowded.dropped} == {"black", "frozen"}
    assert " frozen" in crowded.counts
    assert "2 black" in crowded.counts
    assert crowded.judged == 11
    assert "marks on" in crowded.note
    assert split.counts == "4 split screen"
    assert "split screen" in split.note
    frame, outlined, masked, marked, cleaned, stored = crowded.steps
    assert frame.shape == outlined.shape
    assert masked.shape == marked.shape == cleaned.shape != frame.shape
    assert stored.shape == (64, 64, 3)
    assert (stored[0] == 0).all()  # letterboxed: the sector is wider than it is high
    assert (np.abs(marked - masked).max(-1) > 0.2).mean() > 0.005  # marks are shown
    with Image.open(tmp_path / "deep" / "sheet.png") as image:
        assert image.width > 1500
        assert image.height > 500
        assert np.asarray(image).std() > 20
    assert not list((tmp_path / "deep").glob(".tmp*"))


@pytest.mark.parametrize("sampler", [EVERY, SamplerSettings("uniform", per_scan=6, clip_length=3)], ids=str)
@pytest.mark.parametrize("duplicates", ["keep", "scan"])
def test_what_is_dropped_is_what_ingest_drops(scans, tmp_path, sampler, duplicates):
    settings = dataclasses.replace(SETTINGS, sampler=sampler, cleaning=CleaningSettings(duplicates=duplicates))
    rows = draw_cleaning_sheet(scans, settings, tmp_path / "sheet.png")
    build_store(
        scans,
        tmp_path / "store",
        sampler=sampler,
        size=64,
        cleaning=settings.cleaning,
        workers=1,
        progress=False,
    )
    report = pd.read_csv(tmp_path / "store/report.csv", keep_default_na=False).set_index("scan_id")
    assert report["dropped"]["crowded"]
    assert {row.name: row.counts for row in rows} == report["dropped"].to_dict()


def test_neighbours_of_a_long_scan_are_judged_beside_each_other():
    times = np.arange(5000) / 25
    judged = frames_to_judge("long", times, EVERY)
    assert len(judged) == MOST_JUDGED
    runs = np.split(judged, np.flatnonzero(np.diff(judged) > 1) + 1)
    assert {len(run) for run in runs} == {RUN}
    assert judged[0] == 0
    assert judged[-1] == 4999
    few = frames_to_judge("long", times, SamplerSettings("uniform", per_scan=32, clip_length=2))
    assert np.diff(few)[::2].tolist() == [1] * 16
    looked_at = frames_to_judge("long", times, SamplerSettings("diverse", per_scan=4, candidate_step_s=1.0))
    assert looked_at.tolist() == list(range(0, 5000, 25))


def test_a_budget_for_the_store_is_shared_among_its_scans(scans, tmp_path):
    settings = dataclasses.replace(SETTINGS, sampler=SamplerSettings("random", frames=12))
    assert [row.judged for row in draw_cleaning_sheet(scans, settings, tmp_path / "sheet.png")] == [4, 4, 0]


def test_a_scan_that_is_miscounted_is_counted_by_decoding(scans, tmp_path, monkeypatch):
    class Liar(ScanReader):
        def frames(self, indices, **settings):
            raise MiscountedScan("no frame could be decoded at 0.5 s")
            yield

    def lying(path, *, exact=False, **more):
        scan = open_scan(path, exact=exact, **more)
        return scan if exact else Liar(scan.path, scan.times, scan.width, scan.height)

    monkeypatch.setattr(cleaning_sheet, "open_scan", lying)
    assert [row.judged for row in draw_cleaning_sheet(scans, SETTINGS, tmp_path / "sheet.png")] == [11, 4, 0]


def test_the_command_reads_the_scans_that_frames_would_read(scans, tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).symlink_to(scans.root / "split.mp4")
    (folder / "scans.csv").write_text("scan,patient_id,scan_id\na.mp4,1,only this\n")
    command = ["clean", str(folder), "--out", str(tmp_path / "sheet.png")]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, UserError)
    assert "leaves the table's folder by a link" in str(result.exception)
    result = CliRunner().invoke(app, [*command, "--allow-outside", "cleaning.split_screen=false"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("only this: ")
    assert "near duplicates of frames of other scans" in result.output
    assert "b: " not in result.output


def test_no_more_scans_than_asked_for_and_what_is_impossible_is_said(scans, tmp_path):
    assert len(draw_cleaning_sheet(scans, SETTINGS, tmp_path / "one.png", most=1)) == 1
    with pytest.raises(UserError, match="at least 1 scan"):
        draw_cleaning_sheet(scans, SETTINGS, tmp_path / "none.png", most=0)
    painted = dataclasses.replace(SETTINGS, cleaning=CleaningSettings(overlays="paint"))
    with pytest.raises(UserError, match="overlays 'paint'"):
        draw_cleaning_sheet(scans, painted, tmp_path / "none.png")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="no scan can be read"):
        draw_cleaning_sheet(read_scans(broken), SETTINGS, tmp_path / "none.png")
