from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources import open_planes
from ssl_zoo.planes.table import load_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("4CH/p1_a.png", "4CH/p2_a.png", "LVOT/p1_b.png", "LVOT/deep/p3.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    (tmp_path / "LVOT" / "notes.txt").write_text("not an image")
    return tmp_path


def test_an_image_folder_without_patients_says_so(folder: Path):
    planes = open_planes(f"image_folder:{folder}")
    assert planes.classes == ("4CH", "LVOT")
    assert planes.by_image
    assert len(set(planes.patients)) == len(planes) == 4
    assert load_images(planes, 8, 1).shape == (4, 8, 8)


def test_patients_come_from_a_pattern(folder: Path):
    planes = open_planes(f"image_folder:{folder}", patient_pattern=r"(p\d)")
    assert sorted(planes.patients) == ["p1", "p1", "p2", "p3"]
    assert not planes.by_image
    named = open_planes(f"image_folder:{folder}", patient_pattern=r"(\w*)/.*(?P<patient>p\d)")
    assert sorted(named.patients) == ["p1", "p1", "p2", "p3"]


@pytest.mark.parametrize(("pattern", "says"), [(r"q\d", "does not match"), ("(", "regular expression")])
def test_a_pattern_that_does_not_fit_is_refused(folder: Path, pattern, says):
    with pytest.raises(UserError, match=says):
        open_planes(f"image_folder:{folder}", patient_pattern=pattern)


def test_a_folder_with_a_table_and_the_table_are_the_same(table):
    rows = [{"image": f"{name}.png", "label": name, "patient_id": name} for name in "ab"]
    path = table(rows)
    same = {open_planes(source).fingerprint for source in (str(path), str(path.parent), f"csv:{path}")}
    assert len(same) == 1


def test_an_unknown_source_names_the_nearest(tmp_path: Path):
    with pytest.raises(UserError, match="did you mean 'image_folder'"):
        open_planes(f"image_foldr:{tmp_path}")
    with pytest.raises(UserError, match="no such file or folder"):
        open_planes(str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match=r"no planes\.csv"):
        open_planes(str(tmp_path))
    with pytest.raises(UserError, match="no images"):
        open_planes(f"image_folder:{tmp_path}")
