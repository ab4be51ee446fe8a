"""What published encoders have seen of the sources of planes is told as it is published, and no further."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner

from ssl_zoo.cli import app
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.entries import PUBLISHED
from ssl_zoo.encoders.overlaps import DATA_SETS, NOT_KNOWN, NOT_SEEN, SEEN, ULTRABENCH, overlap
from ssl_zoo.encoders.published import known_overlap

SOURCES = ["fetal_planes_db", "african", "feft", "cactus", "camus", "echonet_dynamic", "echonet_pediatric"]


@pytest.mark.parametrize(
    ("encoder", "sources"),
    [
        ("usf_mae", ["fetal_planes_db", "feft", "cactus", "camus", "echonet_dynamic", "echonet_pediatric"]),
        ("usfm", []),
        ("mofo", []),
        ("ultrasam", ["camus", "echonet_dynamic", "echonet_pediatric"]),
        ("fetalclip", []),
        ("dinov3", []),
    ],
)
def test_the_known_overlaps_are_the_published_ones(encoder, sources):
    assert [source for source in SOURCES if known_overlap(encoder, source)] == sources


def test_an_overlap_is_one_sentence_that_says_how_it_was_seen():
    said = known_overlap("usf_mae:/path/file.pt", "fetal_planes_db")
    assert said == ("usf_mae has seen FETAL_PLANES_DB in its pre-training (without labels), test images included")
    said = known_overlap("ultrasam@224", "camus") or ""
    assert said.endswith("(with labels or masks), test images included")
    assert (known_overlap("ultrasam", "ultrabench:aul_mass") or "").endswith("masks), test images included")


def test_a_data_set_that_its_authors_test_on_may_be_seen_but_for_its_test_images():
    said = known_overlap("ultrasam", "ultrabench:mmotu") or ""
    assert said.startswith("ultrasam has seen MMOTU-2D in its pre-training (with labels or masks)")
    assert "test images included" not in said
    assert said.endswith("but for a test part of its authors', which may be another than this one")


def test_a_task_of_ultrabench_is_its_data_set():
    assert known_overlap("usf_mae", "ultrabench:camus")
    assert known_overlap("usf_mae", "ultrabench:aul_mass")
    assert known_overlap("usf_mae", "ultrabench:pocus")
    assert known_overlap("usf_mae", "ultrabench:mmotu") is None  # held out by its authors
    assert set(ULTRABENCH) <= set(DATA_SETS)


def test_what_is_no_published_encoder_or_no_known_source_overlaps_with_nothing():
    assert known_overlap("imagenet", "camus") is None
    assert known_overlap("simclr@near", "camus") is None
    assert known_overlap("usf_mae", "csv") is None


def test_not_seen_is_said_only_where_the_list_is_published():
    assert overlap("usf_mae", "african") == NOT_SEEN
    assert overlap("fetalclip", "fetal_planes_db") == NOT_SEEN
    assert overlap("ultrasam", "fetal_planes_db") == NOT_SEEN
    assert overlap("ultrasam", "feft") == overlap("ultrasam", "ultrabench:gbcu") == NOT_SEEN
    assert overlap("ultrasam", "camus") == SEEN
    assert {overlap("usfm", source) for source in DATA_SETS} == {NOT_KNOWN}


def test_usf_mae_has_seen_the_43_sets_of_its_checkpoints_name():
    assert len(PUBLISHED["usf_mae"].pretraining_data) == len(set(PUBLISHED["usf_mae"].pretraining_data)) == 43


def test_ultrasam_has_seen_the_43_sets_of_us_43d_all_with_masks():
    entry = PUBLISHED["ultrasam"]
    assert len(entry.pretraining_data) == len(set(entry.pretraining_data)) == 43
    assert entry.with_labels == entry.pretraining_data
    assert entry.data_is_known


def test_the_command_lists_every_encoder_with_licence_and_overlaps():
    said = CliRunner().invoke(app, ["encoders"]).output
    assert max(map(len, said.splitlines())) <= 120
    for name, entry in PUBLISHED.items():
        block = next(block for block in said.split("\n\n") if block.startswith(f"{name}: "))
        assert entry.licence in " ".join(block.split())
    row = next(line for line in said.splitlines() if line.startswith("  fetal_planes_db"))
    assert row.split()[1:] == ["SEEN", "?", "no", "no", "no", "?"]


def test_the_command_tells_all_that_is_inferred_and_unknown_of_one():
    for name, entry in PUBLISHED.items():
        said = " ".join(CliRunner().invoke(app, ["encoders", name]).output.split())
        for sentence in (*entry.inferred, *entry.unknown, entry.paper):
            assert " ".join(sentence.split()) in said


def test_the_command_checks_a_file(tiny):
    path, model = tiny("dinov3")
    said = CliRunner().invoke(app, ["encoders", f"dinov3:{path}"]).output
    assert f"{len(model.state_dict())} matched, 0 missing, 0 unexpected" in said


def test_the_command_names_the_nearest_encoder(tiny):
    error = CliRunner().invoke(app, ["encoders", "usf_mea"]).exception
    assert "did you mean 'usf_mae'" in str(error)


def test_the_command_knows_imagenets_weights_and_checks_their_files(tmp_path):
    said = CliRunner().invoke(app, ["encoders", "imagenet@resnet18"]).output
    assert "apache-2.0, by timm (resnet18.a1_in1k)" in said
    weights = build_backbone("resnet10t", channels=3, size=64, num_classes=1000).state_dict()
    torch.save(weights, tmp_path / "file.pth")
    said = CliRunner().invoke(app, ["encoders", f"imagenet@resnet10t:{tmp_path / 'file.pth'}"]).output
    assert f"{len(weights) - 2} matched, 0 missing, 0 unexpected; 2 left out (fc.bias, fc.weight)" in said
    del weights["layer1.0.conv1.weight"]
    torch.save(weights, tmp_path / "file.pth")
    error = CliRunner().invoke(app, ["encoders", f"imagenet@resnet10t:{tmp_path / 'file.pth'}"]).exception
    assert "1 missing (layer1.0.conv1.weight), 0 unexpected" in str(error)
