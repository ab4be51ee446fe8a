"""Where data or weights of a published study are missing, one sentence says what to get and where to put it."""

from __future__ import annotations

import pytest

from tests.planes.published_trees import african, feft, fetal_planes_db
from tests.protocols.conftest import EXPERIMENTS, write_planes

DATA = {
    "fetal_cardiac_planes": ["private", "scans.csv and planes.csv", "folder=/path"],
    "first_trimester_heart": ["figshare 21215492", "train, valid and test", "folder="],
    "foundation_models": ["Zenodo 3904280", "Zenodo 7540448", "folder=/path"],
    "renal_anomaly": ["private", "planes.csv (image, label, patient_id)", "folder=/path"],
}
WEIGHTS = {
    "first_trimester_heart": ["USF-MAE_full_pretrain_43dataset_100epochs.pt", "github.com/Yusufii9/USF-MAE"],
    "foundation_models": ["USFM_latest.pth", "mofo_weight_sel.pth", "UltraSam.pth", "FetalCLIP_weights.pt", "dinov3_"],
    "renal_anomaly": ["USF-MAE_full_pretrain_43dataset_100epochs.pt", "github.com/Yusufii9/USF-MAE"],
}


def refused(command, tmp_path, verb, name, *overrides):
    """The error's sentence, once it is sure that nothing was done."""
    status, _, err = command(verb, EXPERIMENTS / f"{name}.yaml", *overrides)
    assert status == 2, err
    assert err.startswith("error: ")
    assert err.strip().count("\n") == 0, err
    written = [path.name for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert set(written) <= {".lock"}
    return err


@pytest.mark.parametrize("verb", ["run", "audit"])
@pytest.mark.parametrize("name", DATA)
def test_missing_data_are_said_to_be_missing_and_where_they_are(command, tmp_path, verb, name):
    err = refused(command, tmp_path, verb, name)
    assert all(words in err for words in ["folder: ", "does not exist", *DATA[name]]), err


@pytest.mark.parametrize("verb", ["run", "audit"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_missing_weights_are_said_to_be_missing_and_where_they_are(command, tmp_path, verb, name):
    (tmp_path / "data").mkdir()
    err = refused(command, tmp_path, verb, name, f"folder={tmp_path / 'data'}", "weights=/nowhere")
    words = ["transfer.inits: no such file", "/nowhere", "weights=/path", "licences", *WEIGHTS[name]]
    assert all(word in err for word in words), err


def test_weights_without_a_folder_of_their_own_are_named_too(command, tmp_path):
    write_planes(tmp_path / "data", [("normal",), ("UTD",), ("MCDK",)] * 2)
    inits = "transfer.inits=['usf_mae:/nowhere/a.pt']"
    keys = (f"folder={tmp_path / 'data'}", "weights=null")
    err = refused(command, tmp_path, "run", "renal_anomaly", *keys, inits)
    assert "/nowhere/a.pt" in err
    assert "name their files in transfer.inits" in err


INSIDE = {  # a folder that exists, and lacks something -> what is named
    "renal_anomaly": (lambda root: root.mkdir(), "planes.csv"),
    "fetal_cardiac_planes": (lambda root: root.mkdir(), "planes.csv"),
    "first_trimester_heart": (lambda root: feft(root, ("train",)), "test"),
    "foundation_models": (lambda root: fetal_planes_db(root / "FETAL_PLANES_ZENODO"), "Zenodo_dataset"),
}


@pytest.mark.parametrize("name", INSIDE)
def test_data_that_are_not_whole_are_named(command, tmp_path, name):
    make, words = INSIDE[name]
    make(tmp_path / "data")
    keys = (
        f"folder={tmp_path / 'data'}",
        "transfer.inits=[random]",
        *(["pretrain.methods=[simclr]"] if "card" in name else []),
    )
    assert words in refused(command, tmp_path, "run", name, *keys)


def test_a_dry_run_counts_the_cells_of_a_study_and_writes_nothing(command, tmp_path):
    fetal_planes_db(tmp_path / "data" / "FETAL_PLANES_ZENODO")
    african(tmp_path / "data" / "Zenodo_dataset", centers=("Ghana",))
    keys = (f"folder={tmp_path / 'data'}", "transfer.inits=[imagenet@resnet50,imagenet@tf_efficientnetv2_s.in1k]")
    status, out, err = command("run", EXPERIMENTS / "foundation_models.yaml", *keys, "planes.folds=2", "--dry-run")
    assert status == 0, err
    assert "16 cells of 4 inits" in out
    assert not (tmp_path / "runs").exists()
