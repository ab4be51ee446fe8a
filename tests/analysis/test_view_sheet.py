"""Contact sheets: the right frames, the views that training would make of them, and nothing cut off."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from ssl_zoo.analysis.figures.views import ViewPage, ViewRow, view_page
from ssl_zoo.analysis.view_sheet import choose_rows, in_words, page_of, shown_together, view_sheet
from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.files import write_json
from ssl_zoo.scans.store import VERSION, FrameStore
from ssl_zoo.training.views import VIEWS, ViewSettings, make_views, view_recipes

MEAN, STD = 0.35, 0.25


@pytest.fixture
def run(tmp_path):
    """A run folder with frames alone: 6 scans of 3 patients, 4 frames each, 0.1 s apart."""
    folder = tmp_path / "runs" / "sheet" / "frames"
    folder.mkdir(parents=True)
    frames = np.random.default_rng(0).integers(0, 256, (24, 48, 48), dtype=np.uint8)
    np.save(folder / "frames.npy", frames)
    index = pd.DataFrame({"row": range(24), "scan_id": [f"a_long_name_of_scan_{row // 4}" for row in range(24)]})
    index = index.assign(patient_id=[f"P{row // 8}" for row in range(24)], frame=[row % 4 for row in range(24)])
    index.assign(time_s=index["frame"] * 0.1).to_parquet(folder / "index.parquet")
    write_json(folder / "store.json", {"version": VERSION, "n_frames": 24, "mean": MEAN, "std": STD})
    return folder.parent


@pytest.fixture
def experiment(tmp_path):
    """`experiment(override, ...)`, with two methods unless they are overridden."""
    path = tmp_path / "sheet.yaml"
    path.write_text("name: sheet\nframes: {size: 48}\npretrain: {methods: [simclr, mae], window_s: 0.15}\n")
    return lambda *overrides: load_experiment(path, [f"runs={tmp_path / 'runs'}", *overrides])


def cut_off(figure) -> list[str]:
    """Texts that reach beyond the figure's edge."""
    renderer, box = FigureCanvasAgg(figure).get_renderer(), figure.bbox
    figure.draw_without_rendering()
    found = []
    for text in [*figure.texts, *(text for axis in figure.axes for text in axis.texts)]:
        extent = text.get_window_extent(renderer)
        if text.get_text() and (extent.x0 < 0 or extent.y0 < 0 or extent.x1 > box.width or extent.y1 > box.height):
            found.append(text.get_text())
    return found


def test_methods_that_see_the_same_share_a_page_of_1600_pixels(run, experiment):
    loaded = experiment("pretrain.methods=[barlow_twins,simclr,moco,byol,mae,dino,vicreg]")
    pages = view_sheet(run, loaded, scans=2)
    assert sorted(page.name for page in pages) == [
        f"views_{name}.png" for name in ("asymmetric", "multi_crop", "single", "two_view", "two_view_solarised")
    ]
    for page in pages:
        assert page.parent == run / "figures"
        with Image.open(page) as image:
            assert abs(image.width - 1600) <= 2
            assert 350 < image.height < 900
    assert [(group.recipe, group.methods) for group in shown_together(loaded)][:2] == [
        ("asymmetric", ["barlow_twins", "byol"]),
        ("two_view", ["simclr", "moco"]),
    ]


def test_the_runs_own_experiment_is_shown_when_no_other_is_given(run, experiment, tmp_path):
    with pytest.raises(UserError, match=r"experiment\.yaml"):
        view_sheet(run)
    (run / "experiment.yaml").write_text("name: sheet\nframes: {size: 48}\npretrain: {methods: [vicreg]}\n")
    pages = view_sheet(run, out=tmp_path / "elsewhere", scans=2, draws=1)
    assert pages == [tmp_path / "elsewhere" / "views_two_view_solarised.png"]
    assert pages[0].is_file()


def test_a_page_shows_the_views_that_training_makes_with_the_normalisation_undone(run, experiment):
    store = FrameStore.open(run / "frames")
    group = shown_together(experiment("pretrain.views.preset=ultrasound", "pretrain.methods=[simclr]"))[0]
    rows = choose_rows(store.index, 3, seed=0)
    page = page_of(store, rows, group, draws=2, seed=5)
    partners = [int(np.where((store.frames == (row.given[1][0] * 255).round()).all((1, 2)))[0][0]) for row in page.rows]
    generator = torch.Generator().manual_seed(5)
    for draw in range(2):
        views = make_views(
            "two_view",
            torch.from_numpy(store.batch(rows)),
            torch.from_numpy(store.batch(np.array(partners))),
            size=48,
            mean=[MEAN],
            std=[STD],
            generator=generator,
            settings=ViewSettings(preset="ultrasound"),
        )
        for number, view in enumerate(views):
            shown = np.stack([row.draws[draw][number] for row in page.rows])
            np.testing.assert_allclose(shown, (view[:, 0] * STD + MEAN).clamp(0, 1).numpy(), atol=1e-5)


def test_the_partner_is_a_frame_of_the_same_scan_within_the_window_and_has_its_distance_below(run, experiment):
    store = FrameStore.open(run / "frames")
    rows = choose_rows(store.index, 6, seed=0)
    simclr, mae = (page_of(store, rows, group, draws=None, seed=0) for group in shown_together(experiment()))
    assert simclr.given == ["frame", "partner"]
    for row, shown in zip(rows, simclr.rows, strict=True):
        frame, partner = shown.given
        np.testing.assert_array_equal(frame[0], store.frames[row] / 255)
        sign = {"+0.10 s": 1, "−0.10 s": -1}[partner[1]]
        np.testing.assert_array_equal(partner[0], store.frames[row + sign] / 255)
    assert mae.given == ["frame"]  # a method of one view never sees a partner
    assert any("hides" in line for line in mae.lines)
    (same,) = shown_together(experiment("pretrain.pairing=same_frame", "pretrain.methods=[simclr]"))
    assert page_of(store, rows, same, draws=1, seed=0).given == ["frame"]


def test_frames_come_from_different_patients_as_far_as_there_are(run):
    index = FrameStore.open(run / "frames").index
    for seed in range(5):
        assert index.iloc[choose_rows(index, 3, seed)]["patient_id"].nunique() == 3
        more = index.iloc[choose_rows(index, 5, seed)]
        assert more["patient_id"].nunique() == 3
        assert more["scan_id"].nunique() == 5
    assert len(choose_rows(index, 50, 0)) == 6


def test_variants_with_other_views_get_pages_of_their_own(run, experiment):
    loaded = experiment(
        "pretrain.methods=[simclr]", "pretrain.variants={plain: {}, acoustic: {views: {preset: ultrasound}}}"
    )
    pages = view_sheet(run, loaded, scans=2, draws=1)
    assert [page.name for page in pages] == ["views_two_view_1.png", "views_two_view_2.png"]
    assert [group.labels for group in shown_together(loaded)] == [["SimCLR (plain)"], ["SimCLR (acoustic)"]]


def test_what_is_missing_is_said(run, experiment, tmp_path):
    with pytest.raises(UserError, match="no frames here to make views of"):
        view_sheet(tmp_path / "nowhere", experiment())
    with pytest.raises(UserError, match="scans must be at least 1"):
        view_sheet(run, experiment(), scans=0)
    with pytest.raises(UserError, match="no views to show"):
        view_sheet(run, experiment("pretrain.methods=[]"))


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("channels", [1, 3])
def test_no_label_is_cut_off_and_small_views_keep_their_size(name, channels):
    recipes = view_recipes(name)
    shape = (64, 64) if channels == 1 else (64, 64, 3)
    small = (32, 32) if channels == 1 else (32, 32, 3)
    views = [np.full(small if recipe.small else shape, 0.5) for recipe in recipes]
    row = ViewRow("…2345678901", [(np.zeros(shape), "at 123.45 s"), (np.zeros(shape), "−0.20 s")], [views, views])
    lines = [f"Views 1 and 2: {in_words(recipe)}." for recipe in view_recipes(name, ViewSettings(preset="ultrasound"))]
    figure = view_page(ViewPage("A title", lines, ["frame", "partner"], [row] * 3))
    assert not cut_off(figure)
    widths = [image.get_extent()[1] - image.get_extent()[0] for image in figure.axes[0].images]
    assert len(widths) == 3 * (2 + 2 * len(views))
    assert set(np.round(widths, 2)) <= {1.0, 0.49}
    assert (np.round(widths, 2) < 1).sum() == 3 * 2 * sum(recipe.small for recipe in recipes)


def test_recipes_are_told_in_words():
    words = in_words(view_recipes("asymmetric", ViewSettings(preset="ultrasound"))[1]).replace("\u00a0", " ")
    assert "crop 30–100 % of the area, at least 30 % of the sector, tilt ±5°, flip 50 %" in words
    assert "solarise 20 %" in words
    assert "shadow 30 %" in words
    assert in_words(view_recipes("autoencoder")[0]).startswith("whole frame, flip")
