from __future__ import annotations

import numpy as np
import pytest

from ssl_zoo.analysis.figures.diversity import store_diversity
from ssl_zoo.analysis.style import save
from ssl_zoo.scans.diversity import measure


@pytest.mark.parametrize("n_patients", [1, 4, 40])
def test_a_store_of_any_size_can_be_drawn(n_patients, tmp_path):
    rng = np.random.default_rng(0)
    points = rng.integers(-100, 100, (3 * n_patients, 12)).astype(np.int8)
    patients = np.array([f"patient-{row // 3:02}" for row in range(len(points))])
    found = measure(points, patients, patients)
    figure = store_diversity(found)
    growth, within = figure.axes
    assert [len(line.get_xdata()) for line in growth.lines] == [len(found.by_frames), len(found.by_scans)]
    heights = [bar.get_height() for bar in within.patches]
    assert heights == sorted((own.effective for own in found.patients.values()), reverse=True)
    assert len(within.get_xticks()) == (n_patients if n_patients <= 30 else 0)
    png, svg = save(figure, tmp_path, "diversity")
    assert png.stat().st_size > 1000
    assert "<svg" in svg.read_text()


def test_a_store_of_one_frame_can_be_drawn(tmp_path):
    found = measure(np.full((1, 8), 5, np.int8), np.array(["a"]), np.array(["a"]))
    save(store_diversity(found), tmp_path, "one")
