"""What a run left is read as it stands there, and nothing in the run is changed by reading it."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pytest

import ssl_zoo
from ssl_zoo.analysis import figures
from ssl_zoo.analysis.notebook import chosen_run, show
from ssl_zoo.analysis.pairs import OTHER_SCAN, PARTNER, SAME_SCAN, draw_pairs
from ssl_zoo.errors import UserError
from ssl_zoo.scans.diversity import known_diversity


@pytest.fixture(scope="module")
def run(fake_run, tmp_path_factory):
    settings = {"skill": {"random": 0.0, "simclr": 0.8, "mae": 0.3}, "seeds": (0,), "modes": ("linear",)}
    return fake_run(tmp_path_factory.mktemp("read"), patients=6, fractions=(1.0,), **settings)


def test_every_public_name_can_be_imported():
    assert all(callable(getattr(ssl_zoo, name)) for name in ssl_zoo.__all__)
    with pytest.raises(AttributeError, match="load_everything"):
        ssl_zoo.load_everything  # noqa: B018


def test_histories_and_budgets_are_those_of_the_encoders(run):
    histories, budgets = ssl_zoo.load_histories(str(run)), ssl_zoo.load_budgets(run)
    key = ("simclr", "resnet10t", "simclr", 0)
    assert set(histories) == {key, ("mae", "vit_micro_patch8", "mae", 0)}
    lines = (run / "encoders" / "simclr-s0" / "history.jsonl").read_text().splitlines()
    assert histories[key]["loss"].tolist() == [json.loads(line)["loss"] for line in lines]
    budget = json.loads((run / "encoders" / "simclr-s0" / "budget.json").read_text())
    row = budgets[budgets["init"] == "simclr"].iloc[0]
    assert (row["views_seen"], row["seconds"]) == (budget["views_seen"], budget["seconds"])
    assert figures.loss_curves(histories).axes
    assert figures.budget_bars(budgets).axes


def test_a_store_is_found_by_its_name(run):
    store = ssl_zoo.load_store(run)
    assert len(store) == 96
    assert list(ssl_zoo.load_stores(run)) == ["frames"]
    with pytest.raises(UserError, match="unknown frame store of fake 'frame'; did you mean 'frames'"):
        ssl_zoo.load_store(run, "frame")
    with pytest.raises(UserError, match="no such run folder"):
        ssl_zoo.load_stores(run / "nothing")


def test_diversity_is_measured_without_writing_or_taken_where_it_fits(run):
    path = run / "frames" / "diversity.json"
    measured = ssl_zoo.load_diversity(run)
    assert not path.exists()
    assert known_diversity(ssl_zoo.load_store(run)) == measured  # which writes
    card = json.loads(path.read_text())
    card["whole"]["effective"] = 3.25
    path.write_text(json.dumps(card))
    assert ssl_zoo.load_diversity(run).whole.effective == 3.25
    path.write_text(json.dumps(card | {"store": "another"}))
    assert ssl_zoo.load_diversity(run) == measured
    path.unlink()


def test_encoders_of_other_stores_are_no_points(run):
    assert ssl_zoo.load_encoder_points(run, mode="linear", cohort="internal").empty  # the cards name another store
    for name in ("simclr-s0", "mae-s0"):
        path = run / "encoders" / name / "encoder.json"
        path.write_text(path.read_text().replace("d" * 16, "f" * 16))
    points = ssl_zoo.load_encoder_points(run, mode="linear", cohort="internal").set_index("init")
    assert sorted(points.index) == ["mae", "simclr"]
    assert points["frames"].tolist() == [96, 96]
    results = ssl_zoo.load_results(run)
    own = results[(results["init"] == "simclr") & (results["cohort"] == "internal")]
    assert points.loc["simclr", "f1"] == pytest.approx(own["f1_macro"].mean())


def test_a_prediction_finds_its_plane_by_cohort_name_and_place(run):
    table = pd.DataFrame(
        {
            "image": ["v.mp4", "v.mp4", "a.png", "a.png"],
            "label": ["4CH", "LVOT", "4CH", "4CH"],
            "patient_id": ["P1", "P1", "P2", "E1"],
            "cohort": ["internal", "internal", "internal", "external"],
        }
    )
    table.to_parquet(run / "planes" / "table.parquet")
    np.save(run / "planes" / "images.npy", np.arange(4, dtype=np.uint8)[:, None, None] + np.zeros((4, 8, 8), np.uint8))
    planes = ssl_zoo.load_planes(run)
    asked = pd.concat([table.iloc[[2, 0, 1]].assign(cell="a"), table.iloc[[3, 0, 1]].assign(cell="b")])
    assert planes.rows_of(asked).tolist() == [2, 0, 1, 3, 0, 1]
    assert planes.images[planes.rows_of(asked)][:, 0, 0].tolist() == [2, 0, 1, 3, 0, 1]
    assert planes.rows_of(asked.iloc[[2]].assign(nth=1)).tolist() == [1]
    with pytest.raises(UserError, match=r"image 'b\.png' is none of the run's planes"):
        planes.rows_of(asked.assign(image="b.png"))
    np.save(run / "planes" / "images.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(UserError, match=r"images\.npy holds 3 planes and table\.parquet 4"):
        ssl_zoo.load_planes(run)


def test_pairings_say_who_pairs_what(run):
    pairings = ssl_zoo.load_pairings(run).set_index("init")
    assert pairings.loc["simclr", ["pairing", "views", "window_s", "lonely"]].tolist() == ["temporal", 2, 0.2, 0.0]
    assert pairings.loc["mae", ["pairing", "views"]].tolist() == ["none", 1]
    assert pairings.loc["dino", "views"] > 2


def test_pairs_are_of_one_scan_within_the_window_and_controls_are_not(run):
    store = ssl_zoo.load_store(run)
    pairs = draw_pairs(store, window_s=0.2, draws=60)
    scan, time = (store.index[name].to_numpy() for name in ("scan_id", "time_s"))
    same = scan[pairs["anchor"]] == scan[pairs["other"]]
    assert pairs["kind"].value_counts().to_dict() == {PARTNER: 60, SAME_SCAN: 60, OTHER_SCAN: 60}
    assert (same == (pairs["kind"] != OTHER_SCAN)).all()
    assert (pairs["anchor"] != pairs["other"]).all()
    partners = pairs[pairs["kind"] == PARTNER]
    apart = np.abs(time[partners["anchor"]] - time[partners["other"]])
    assert partners["apart_s"].tolist() == pytest.approx(apart.tolist())
    assert apart.max() <= 0.2 + 1e-6
    assert pairs["distance"].between(0, 2).all()
    pd.testing.assert_frame_equal(pairs, draw_pairs(store, window_s=0.2, draws=60))


def test_the_run_is_looked_for_here_and_above(run, monkeypatch):
    (run.parent / "deep" / "er").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(run.parent / "deep" / "er")
    monkeypatch.setenv("SSL_ZOO_RUN", run.name)
    assert os.path.samefile(chosen_run(), run)
    monkeypatch.setenv("SSL_ZOO_RUN", "runs/nothing")
    with pytest.raises(UserError, match="runs/nothing: no run folder"):
        chosen_run()


def test_what_is_shown_says_the_same_every_time():
    table = pd.DataFrame({"f1": [0.12345, -0.5, float("nan")], "n": [1, 2, 3]})
    shown = show(table, digits=2)
    assert [word for word in repr(shown).split() if "." in word or "–" in word] == ["0.12", "−0.50", "–"]
    assert "<table" in (shown._repr_html_() or "")
    assert shown._repr_png_() is None
    assert "no data" in repr(show(None))
    first, again = (show(figures.plane_sheet(np.zeros((2, 8, 8), np.uint8), np.array(["a", "b"]))) for _ in range(2))
    assert first.png == again.png
    assert repr(first).startswith("figure, ")
