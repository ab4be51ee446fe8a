"""The contact sheet shows each step, the frames that are dropped, and why."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ssl_zoo.analysis.cleaning_sheet import draw_cleaning_sheet
from ssl_zoo.errors import UserError
from ssl_zoo.scans.cleaning import CleaningSettings
from ssl_zoo.scans.table import read_scans
from tests.scans.cleaning import screens


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
    rows = draw_cleaning_sheet(scans, CleaningSettings(), tmp_path / "deep" / "sheet.png")
    assert [row.name for row in rows] == ["crowded", "split", "zz broken"]
    crowded, split, broken = rows
    assert not broken.steps
    assert broken.note.startswith("cannot be read: ")
    assert len(crowded.steps) == 5
    assert {words.partition(",")[0] for words, _ in crowded.dropped} == {"black", "frozen"}
    assert " frozen" in crowded.counts
    assert "2 black" in crowded.counts
    assert "marks on" in crowded.note
    assert split.counts == "4 split screen"
    assert "split screen" in split.note
    frame, outlined, masked, marked, cleaned = crowded.steps
    assert frame.shape == outlined.shape
    assert masked.shape == marked.shape == cleaned.shape != frame.shape
    assert (np.abs(marked - masked).max(-1) > 0.2).mean() > 0.005  # marks are shown
    with Image.open(tmp_path / "deep" / "sheet.png") as image:
        assert image.width > 1500
        assert image.height > 500
        assert np.asarray(image).std() > 20
    assert not list((tmp_path / "deep").glob(".tmp*"))


def test_no_more_scans_than_asked_for_and_what_is_impossible_is_said(scans, tmp_path):
    assert len(draw_cleaning_sheet(scans, CleaningSettings(), tmp_path / "one.png", most=1)) == 1
    with pytest.raises(UserError, match="at least 1 scan"):
        draw_cleaning_sheet(scans, CleaningSettings(), tmp_path / "none.png", most=0)
    with pytest.raises(UserError, match="overlays 'paint'"):
        draw_cleaning_sheet(scans, CleaningSettings(overlays="paint"), tmp_path / "none.png")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="no scan can be read"):
        draw_cleaning_sheet(read_scans(broken), CleaningSettings(), tmp_path / "none.png")
