"""An experiment on public data sets: its sources are checked, and what they say is shown and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ssl_zoo.config import load_experiment
from ssl_zoo.errors import UserError
from ssl_zoo.grid.settings import check_names
from ssl_zoo.grid.study import check_inputs, prepare
from tests.planes import published_trees as trees
from tests.scans.test_sources import camus

STUDY = """
name: public
runs: {runs}
scans: {{source: "camus:{camus}"}}
frames: {{per_scan: 2, size: 16}}
pretrain: {{methods: [simclr], budget: {{frames_seen: 32}}, batch_size: 16}}
planes: {{source: "fetal_planes_db:{spain}", external: "african:{africa}", audit: warn}}
compute: {{workers: 1}}
transfer: {{modes: [linear], fractions: [1.0], seeds: [0]}}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """An experiment file on three data sets in their published layouts."""
    camus(tmp_path / "camus")
    trees.fetal_planes_db(tmp_path / "spain")
    trees.african(tmp_path / "africa", ["Ghana"])
    path = tmp_path / "public.yaml"
    folders = {name: tmp_path / name for name in ("runs", "camus", "spain", "africa")}
    path.write_text(STUDY.format(**folders))
    return path


def test_what_sources_say_is_shown_and_kept(study: Path, capsys):
    loaded = load_experiment(study)
    check_inputs(loaded)
    made = prepare(loaded)
    said = capsys.readouterr().err
    kept = json.loads((made.run / "planes" / "sources.json").read_text())
    assert [kept[section]["source"] for section in ("scans", "planes", "external")] == [
        "camus",
        "fetal_planes_db",
        "african",
    ]
    assert kept["planes"]["licence"] == "CC BY 4.0"
    assert kept["external"]["unit"] == "patient"
    for section, words in (
        ("scans", "2CH 2 of 500"),
        ("planes", "24 patients, where 1792 are published"),
        ("planes", "shows 3 of 6 classes"),
    ):
        (note,) = [note for note in kept[section]["notes"] if words in note]
        assert f"note: {section}: {note}" in said
    outside = made.planes.table["cohort"] == "external"
    assert outside.sum() == 75
    assert set(made.splits[0].test) >= set(outside[outside].index)
    assert made.images.shape == (48 + 75, 16, 16)


def test_a_study_of_own_tables_keeps_no_notes(prepared_study):
    _, made = prepared_study
    assert (made.run / "planes" / "planes.json").is_file()
    assert not (made.run / "planes" / "sources.json").exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("planes.source=fetal_plane_db:/x", "planes.source: unknown plane source .*'fetal_planes_db'"),
        ("planes.source=ultrabench/pocs:/x", "planes.source: unknown plane source .*'ultrabench/pocus'"),
        ("planes.external=afrcan:/x", "planes.external: unknown plane source .*'african'"),
        ("scans.source=echonet:/x", "scans.source: unknown scan source .*'echonet_dynamic'"),
        ("planes.external=phantom", "planes.external: the phantom has an external cohort of its own"),
    ],
)
def test_a_source_that_nobody_knows_is_refused_before_any_work(study: Path, override, says):
    with pytest.raises(UserError, match=says):
        check_names(load_experiment(study, [override]))


def test_keys_of_an_external_cohort_need_one_that_is_another(study: Path):
    with pytest.raises(UserError, match=r"planes\.external_labels: is given, and planes\.external is not"):
        check_names(load_experiment(study, ["planes.external=null", "planes.external_labels={a: b}"]))
    source = load_experiment(study).planes.source
    with pytest.raises(UserError, match=r"planes\.external: .* is planes\.source too"):
        check_names(load_experiment(study, [f"planes.external={source}"]))


def test_a_data_set_that_is_not_there_says_where_it_is(study: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"Zenodo, record 7540448 .*CC BY 4\.0"):
        check_inputs(load_experiment(study, [f"planes.external=african:{tmp_path / 'runs'}"]))
    assert not (tmp_path / "runs").exists()
