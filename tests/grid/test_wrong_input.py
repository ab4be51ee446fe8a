"""Wrong input is one sentence that names the place, exit status 2, and nothing half-written."""

from __future__ import annotations

import shutil

import pytest

from ssl_zoo import cli


@pytest.fixture
def own(hospital, tmp_path):
    """A hospital of its own for a test that breaks it, and its experiment file."""
    shutil.copytree(hospital, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def said(own, tmp_path, monkeypatch, capsys, request):
    """Run the command on the own hospital, in this process; gives exit status and what it said."""
    write_experiment = request.getfixturevalue("write_experiment")
    path = write_experiment(tmp_path, own)

    def run(*overrides):
        monkeypatch.setattr("sys.argv", ["ssl-zoo", "run", str(path), *overrides])
        monkeypatch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().err

    return run


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


BREAKAGES = {
    "a missing column": (lambda d: replace(d / "planes.csv", "image,label", "image,tag"), ["planes.csv", "'label'"]),
    "a missing scan column": (
        lambda d: replace(d / "scans.csv", "patient_id", "patient"),
        ["scans.csv", "'patient_id'"],
    ),
    "a missing image": (lambda d: (d / "images/3-grey.png").unlink(), ["planes.csv, row 11", "3-grey.png"]),
    "no image": (lambda d: (d / "images/3-grey.png").write_text("hello"), ["planes.csv, row 11", "not an image"]),
    "a missing scan": (lambda d: (d / "videos/scan 2.mp4").unlink(), ["scans.csv, row 3", "scan 2.mp4"]),
    "a path outside": (lambda d: replace(d / "planes.csv", "images/0-dark", "../0-dark"), ["row 1", "leaves"]),
    "no patient": (lambda d: replace(d / "planes.csv", "dark,P00", "dark,"), ["planes.csv, row 1", "patient_id"]),
    "an empty table": (lambda d: (d / "planes.csv").write_text("image,label,patient_id\n"), ["planes.csv"]),
    "a scanned test patient": (lambda d: replace(d / "scans.csv", "S03", "P09"), ["P09", "pre-training"]),
}


@pytest.mark.parametrize("what", BREAKAGES)
def test_a_broken_table_is_named(own, said, tmp_path, what):
    breakage, words = BREAKAGES[what]
    breakage(own)
    status, error = said()
    assert status == 2, error
    assert error.startswith("error: ")
    assert error.strip().count("\n") == 0, error
    assert all(word in error for word in words), error
    cells = tmp_path / "runs" / "study" / "cells"
    assert not cells.exists()
    assert not list((tmp_path / "runs").rglob(".tmp-*"))


OVERRIDES = {
    "pretrain.methods=[barlow]": "did you mean 'barlow_twins'",
    "frames.sampler=unifrm": "frames.sampler: unknown sampler 'unifrm'; did you mean 'uniform'",
    "frames.decoder=pyva": "frames.decoder: unknown decoder 'pyva'; did you mean 'pyav'",
    "pretrain.pairing=tempral": "pretrain.pairing: unknown pairing 'tempral'; did you mean 'temporal'",
    "pretrain.params.mocco.queue_size=8": "pretrain.params: unknown method 'mocco'; did you mean 'moco'",
    "pretrain.recipes.mocco.base_lr=1": "pretrain.recipes: unknown method 'mocco'; did you mean 'moco'",
    "planes.protocol=hold-out": "planes.protocol: unknown protocol 'hold-out'; did you mean 'holdout'",
    "compute.precision=fp23": "compute.precision: unknown precision 'fp23'; did you mean 'fp32'",
    "pretrain.backbone=resnet10": "did you mean",
    "transfer.fractions=[0]": "transfer.fractions",
    "transfer.fractions=[1.5]": "transfer.fractions",
    "transfer.fractions=[0.05]": "smallest possible fraction",
    "transfer.inits=[imgenet]": "did you mean 'imagenet'",
    "transfer.inits=[runs/nowhere/encoders/byol]": "not an encoder folder",
    "transfer.inits=['imagenet:/nowhere.safetensors']": "/nowhere.safetensors: no such file",
    "pretrain.params={simclr: {heat: 1}}": "pretrain.params.simclr",
    "pretrain.views={crop: 1}": "pretrain.views",
    "planes.classes=[dark,grey]": "light",
    "planes.source=fetal:/x": "fetal",
    "scans.source=/nowhere": "/nowhere",
    "compute.device=cuda": "CUDA",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_wrong_value_is_named_before_anything_is_written(said, tmp_path, override):
    if override == "compute.device=cuda":
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here, so asking for it is no mistake")
    status, error = said(override)
    assert status == 2, error
    assert OVERRIDES[override] in error
    assert error.strip().count("\n") == 0, error
    assert not (tmp_path / "runs").exists()


def test_a_patient_on_two_sides_of_a_given_split_is_named(own, said):
    lines = (own / "planes.csv").read_text().splitlines()
    sides = ["split", *(["train"] * 3 + ["test"] * 3) * 5]
    sides[2] = "test"  # the second image of P00
    (own / "planes.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, sides, strict=True)) + "\n")
    status, error = said()
    assert status == 2
    assert "'P00'" in error
    assert "train" in error
    assert "test" in error


def few_in_some_draws(own):
    """Twenty training patients, of whom two may show all classes, and of two others to test."""
    shows, sides = [("a", "b"), ("c", "d"), ("b", "c")], ["train"] * 20 + ["test"] * 2
    lines = [
        f"images/{patient % 8}-{picture}.png,{label},P{patient:02},{side}"
        for patient, side in enumerate(sides)
        for picture, label in zip(("dark", "grey"), shows[patient % 3], strict=True)
    ]
    (own / "planes.csv").write_text("\n".join(["image,label,patient_id,split", *lines]) + "\n")


@pytest.mark.parametrize("key", ["transfer.seeds", "transfer.finetune.seeds"])
def test_a_fraction_too_small_for_one_of_the_seeds_is_named_before_anything_is_written(own, said, tmp_path, key):
    few_in_some_draws(own)
    status, error = said("transfer.fractions=[0.1,1.0]", f"{key}=[0,7]")
    assert status == 2
    assert "0.1 is 2 of 20 training patients" in error
    assert "smallest possible fraction is 0.125 (3 patients)" in error
    assert not (tmp_path / "runs").exists()


def test_an_empty_folder_of_scans_is_named(own, said):
    (own / "nothing").mkdir()
    status, error = said(f"scans.source={own / 'nothing'}")
    assert status == 2
    assert "nothing" in error


def test_a_missing_data_folder_shows_the_hint(own, said):
    status, error = said("folder=/nowhere", "folder_hint=It is public.")
    assert status == 2
    assert "'/nowhere' does not exist. It is public." in error


def test_a_full_disk_is_one_sentence_and_leaves_no_half_store(own, said, tmp_path, monkeypatch):
    class Full:
        total = used = 100
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda _: Full)
    status, error = said()
    assert status == 2
    assert "and the disk has" in error
    assert not (tmp_path / "runs" / "study" / "frames").exists()


def test_a_disk_that_fills_up_while_writing_is_one_sentence(own, said, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", str(tmp_path / "runs"))

    monkeypatch.setattr("ssl_zoo.grid.study.np.lib.format.open_memmap", full)
    status, error = said()
    assert status == 2
    assert "No space left on device" in error
    assert not list((tmp_path / "runs").rglob(".tmp-*"))


@pytest.mark.parametrize(
    "command", [["rn"], ["run"], ["run", "nowhere.yaml"], ["status", "nowhere"], ["report", "nowhere"]]
)
def test_wrong_use_of_the_command_exits_with_2(monkeypatch, capsys, command):
    monkeypatch.setattr("sys.argv", ["ssl-zoo", *command])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_debug_shows_the_traceback(said, monkeypatch):
    from ssl_zoo.errors import UserError

    monkeypatch.setattr("sys.argv", ["ssl-zoo", "run", "nowhere.yaml", "--debug"])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(UserError):
        cli.main()
