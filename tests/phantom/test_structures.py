"""The truth about where the structures that define a plane are."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from ssl_zoo.errors import UserError
from ssl_zoo.phantom.planes import PLANES
from ssl_zoo.phantom.structures import DEFINING, defining_mask
from ssl_zoo.phantom.tissue import CODE


@pytest.fixture
def cohort(tmp_path):
    """A cohort with the truth of one image: sector everywhere but in its first 8 rows, an aorta, a stomach."""
    (tmp_path / "truth" / "structures").mkdir(parents=True)
    (tmp_path / "truth" / "structures.json").write_text(json.dumps({str(code): name for name, code in CODE.items()}))
    codes = np.full((64, 64), CODE["lung"], np.uint8)
    codes[:8] = CODE["outside"]
    codes[8:12, 20:24] = CODE["aorta"]
    codes[40:50, 40:50] = CODE["stomach"]
    Image.fromarray(codes).save(tmp_path / "truth" / "structures" / "a.png")
    return tmp_path


def test_every_plane_has_defining_structures_that_the_phantom_knows():
    assert set(DEFINING) == set(PLANES)
    assert all(name in CODE for names in DEFINING.values() for name in names)


def test_the_mask_is_the_structure_with_its_wall_and_never_leaves_the_sector(cohort):
    mask = defining_mask(cohort, "planes/a.png", "3VV")
    assert mask.dtype == bool
    assert mask[8:13, 19:25].all()  # one pixel of wall
    assert mask.sum() == 5 * 6  # and none above, where the sector ends, or on the stomach


def test_a_plane_without_its_structures_has_an_empty_mask(cohort):
    assert not defining_mask(cohort, "planes/a.png", "4CH").any()


def test_an_unknown_plane_is_refused(cohort):
    with pytest.raises(UserError, match=re.escape("unknown standard plane '3vv' (known: 3VT, 3VV")):
        defining_mask(cohort, "planes/a.png", "3vv")
