"""`ssl-zoo audit` finds what was planted, `run` audits first, and a sound study is let through."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ssl_zoo import cli
from ssl_zoo.cli.audit import tell_findings
from ssl_zoo.config import load_experiment
from ssl_zoo.encoders.backbones import build_backbone
from ssl_zoo.encoders.files import Card, save_encoder
from ssl_zoo.errors import UserError
from ssl_zoo.grid.audit import audit_lines, known_findings
from ssl_zoo.grid.study import audited, check_inputs, open_study, prepare, splits_of
from ssl_zoo.planes.audit import Finding
from ssl_zoo.scans.table import read_scans


@pytest.fixture
def own(hospital, tmp_path):
    """A hospital of its own for a test that breaks it. Its external patients P08 and P09 are always tested."""
    shutil.copytree(hospital, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def load(own, tmp_path, write_experiment):
    """The experiment on the own hospital, with overrides."""
    path = write_experiment(tmp_path, own)
    return lambda *overrides: load_experiment(path, ["compute.workers=1", *overrides])


@pytest.fixture
def said(load, tmp_path, monkeypatch, capsys):
    """Run a command on the own hospital, in this process; gives its exit status, output and errors."""

    def run(command, *overrides):
        monkeypatch.setattr("sys.argv", ["ssl-zoo", command, str(tmp_path / "study.yaml"), *overrides])
        monkeypatch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return run


def copied(own):
    """The image of a training patient under the name of a tested one, a little brighter."""
    pixels = np.asarray(Image.open(own / "images/0-grey.png"))
    Image.fromarray((pixels * 1.1).clip(0, 255).astype(np.uint8)).save(own / "images/9-grey.png")


def relabelled(own):
    """One image of the external cohort again, under another label."""
    shutil.copy(own / "images/9-grey.png", own / "images/9-other.png")
    with open(own / "planes.csv", "a") as table:
        table.write("images/9-other.png,light,P09,external\n")


def scanned(own):
    """A scan of a tested patient among those of pre-training."""
    table = own / "scans.csv"
    table.write_text(table.read_text().replace("S03", "P09"))


def given_twice(own):
    """A given split with a patient on both sides."""
    lines = (own / "planes.csv").read_text().splitlines()
    sides = ["split", *["train"] * 18, *["test"] * 12]
    sides[2] = "test"
    (own / "planes.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, sides, strict=True)) + "\n")


LEAKS = {
    "an image on two sides": (copied, ["'P00' (train)", "'P09' (test)", "images/0-grey.png", "images/9-grey.png"]),
    "an image under two labels": (relabelled, ["'grey'", "'light'", "images/9-grey.png", "images/9-other.png"]),
    "a scanned test patient": (scanned, ["P09", "pre-training"]),
    "a patient in two splits": (given_twice, ["'P00'", "'train'", "'test'"]),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_refused_in_a_line_that_names_it(own, said, tmp_path, leak):
    plant, words = LEAKS[leak]
    plant(own)
    status, out, errors = said("audit")
    assert status == 2
    assert len(errors.splitlines()) == 1
    assert errors.startswith("leak: ")
    assert all(word in errors for word in words), errors
    assert "1 leak, " in out
    assert not (tmp_path / "runs" / "study" / "frames").exists()


@pytest.mark.parametrize("leak", LEAKS)
def test_a_run_audits_before_it_computes_anything(own, said, tmp_path, leak):
    plant, words = LEAKS[leak]
    plant(own)
    status, _, errors = said("run")
    assert status == 2
    assert errors.startswith("error: ")
    assert errors.strip().count("\n") == 0
    assert all(word in errors for word in words), errors
    for part in ("frames", "encoders", "cells"):
        assert not (tmp_path / "runs" / "study" / part).exists()


def test_a_leak_can_be_allowed_knowingly_and_is_kept_for_the_report(own, load, said, tmp_path):
    copied(own)
    scanned(own)
    with pytest.raises(UserError, match="P09"):
        check_inputs(load())
    check_inputs(load("planes.audit=warn"))
    study = prepare(load("planes.audit=warn"), progress=False)
    record = json.loads((tmp_path / "runs/study/audit.json").read_text())
    assert record["audit"] == "warn"
    assert {finding["kind"] for finding in record["findings"]} == {"image_on_two_sides", "pretraining_patient_in_test"}
    assert all(finding["severity"] == "refuse" for finding in record["findings"])
    lines = audit_lines(study.run)
    assert len(lines) == 2
    assert all(line.startswith("leak, allowed by planes.audit=warn: ") for line in lines)
    status, out, errors = said("audit", "planes.audit=warn")
    assert status == 0
    assert len(errors.splitlines()) == 2
    assert "allowed by planes.audit=warn" in out


def test_many_leaks_of_one_kind_do_not_hide_another(capsys, load):
    leaks = [Finding("image_on_two_sides", "refuse", f"image {k}", ()) for k in range(5)]
    leaks.append(Finding("encoder_saw_test_set", "refuse", "usfm has seen it", ()))
    tell_findings(load(), leaks, [], 2, False, "audit.json")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["leak: image 0", "leak: image 1"]
    assert lines[2].startswith("leak: 3 more like these in ")
    assert lines[3:] == ["leak: usfm has seen it"]


def test_a_sound_study_has_no_finding(finished_study, tmp_path):
    path, said = finished_study
    record = json.loads((path.parent / "runs/study/audit.json").read_text())
    assert record["findings"] == []
    assert record["images"]["compared"] == 30
    assert record["unit"] == "patient"
    assert "leak" not in said.stdout + said.stderr


def test_the_phantom_raises_no_alarm(tmp_path):
    path = tmp_path / "phantom.yaml"
    path.write_text(
        f"name: phantom\nruns: {tmp_path}/runs\ndata: {tmp_path}/data\n"
        "phantom: {scans: 1, patients: 5, external_patients: 2, frames: 8}\n"
        "frames: {per_scan: 4, size: 32}\npretrain: {methods: [simclr]}\n"
        "planes: {protocol: cross_validation, folds: 2}\n"
        "transfer: {fractions: [1.0]}\ncompute: {workers: 1}\n"
    )
    assert audited(load_experiment(path), progress=False) == []


def test_a_test_image_cut_from_a_pretraining_scan_is_found_by_its_pixels(own, load, monkeypatch):
    """The two tables name the patient in two ways, so that names alone tell nothing."""
    study = prepare(load(), progress=False)
    assert json.loads((study.run / "audit.json").read_text())["frames"] == {"frames": len(study.store)}
    scan = study.store.index["scan_id"].iloc[11]
    brighter = (study.store.frames[11] * 1.1).clip(0, 255).astype(np.uint8)
    Image.fromarray(brighter).resize((96, 96), Image.Resampling.BICUBIC).save(own / "images/9-grey.png")
    with pytest.raises(UserError, match="pre-training scan"):
        prepare(load(), progress=False)
    (finding,) = audited(load(), progress=False)
    assert (finding.kind, finding.severity) == ("pretraining_image_in_test", "refuse")
    assert all(word in finding.sentence for word in ("images/9-grey.png", "'P09'", scan)), finding.sentence
    monkeypatch.setattr("ssl_zoo.grid.audit.find_seen", None)  # what was found is kept
    assert audited(load(), progress=False) == [finding]


def test_a_training_image_may_be_a_pretraining_frame(own, load):
    study = prepare(load(), progress=False)
    trained = study.planes.table.iloc[study.splits[0].train[0]]
    Image.fromarray(study.store.frames[5]).save(trained["path"])
    assert prepare(load(), progress=False).run == study.run


def test_images_are_compared_once_for_the_same_planes(load, monkeypatch):
    experiment = load("pretrain.methods=[]")
    audited(experiment, progress=False)

    def never(*_):
        raise AssertionError("compared again")

    monkeypatch.setattr("ssl_zoo.grid.audit.find_alike", never)
    audited(experiment, progress=False)
    audited(load("pretrain.methods=[]", "planes.seed=1"), progress=False)  # other splits of the same images
    with pytest.raises(AssertionError, match="compared again"):
        audited(load("pretrain.methods=[]", "frames.size=48"), progress=False)


def test_only_patients_whose_frames_are_in_the_store_count(own, load):
    """One scan of six is drawn by lot; a tested patient who is not drawn has no part in pre-training."""
    table = own / "scans.csv"
    drawn = prepare(load("frames.scans=1"), progress=False).store.patients
    other = next(name for name in ("S00", "S01") if name not in drawn)
    table.write_text(table.read_text().replace(other, "P09"))
    experiment = load("frames.scans=1")
    assert prepare(experiment, progress=False).store.patients == drawn
    assert audited(experiment, progress=False) == []
    table.write_text(table.read_text().replace(drawn[0], "P08"))
    with pytest.raises(UserError, match=r"1 test patient \(P08\)"):
        prepare(experiment, progress=False)


def test_a_training_patient_may_be_in_pretraining_which_is_noted(own, load, prepared_study):
    _, study = prepared_study
    trained = str(study.planes.patients[study.splits[0].train[0]])
    table = own / "scans.csv"
    table.write_text(table.read_text().replace("S03", trained))
    (finding,) = audited(load(), progress=False)
    assert (finding.severity, finding.names) == ("note", (trained,))
    (finding,) = audited(load("planes.protocol=cross_validation", "planes.folds=2"), progress=False)
    assert finding.severity == "refuse"  # tested in another fold


def test_the_patients_on_the_card_of_a_given_encoder_count(own, load, tmp_path):
    card = Card("resnet10t", 32, 1, [0.2], [0.2], patients=["P09", "elsewhere"])
    save_encoder(tmp_path / "given", build_backbone("resnet10t", channels=1, size=32), card)
    (finding,) = audited(load("pretrain.methods=[]", f"transfer.inits=[{tmp_path / 'given'}]"), progress=False)
    assert (finding.kind, finding.names) == ("pretraining_patient_in_test", ("P09",))
    assert "given" in finding.sentence


def test_a_published_encoder_is_asked_what_it_has_seen(load, prepared_study, own):
    _, study = prepared_study
    experiment = load("planes.source=fetal_planes_db/brain:/x", "transfer.inits=[usf_mae:/x.pt]")
    asked = []

    def overlap(encoder, source):
        asked.append((encoder.partition(":")[0], source))
        return "usf_mae has seen it"

    scans = read_scans(own / "scans.csv")
    found = known_findings(experiment, study.planes, study.splits, scans, overlap=overlap)
    assert asked == [("usf_mae", "fetal_planes_db:brain")]
    assert [finding.sentence for finding in found] == ["usf_mae has seen it"]


def test_what_is_known_of_published_encoders_is_used(load, prepared_study):
    _, study = prepared_study
    experiment = load("planes.source=fetal_planes_db:/x", "transfer.inits=[usf_mae:/x.pt]")
    (finding,) = known_findings(experiment, study.planes, study.splits, None)
    assert finding.kind == "encoder_saw_test_set"
    assert "usf_mae" in finding.sentence


def given_encoder(folder, **facts):
    card = Card("resnet10t", 32, 1, [0.2], [0.2], **facts)
    save_encoder(folder, build_backbone("resnet10t", channels=1, size=32), card)
    return folder


def test_a_copy_of_a_published_encoder_has_seen_what_it_has_seen(load, prepared_study, tmp_path):
    _, study = prepared_study
    folder = given_encoder(tmp_path / "mine", init="usf_mae@64")
    experiment = load("planes.source=fetal_planes_db:/x", f"transfer.inits=[{folder}]")
    (finding,) = known_findings(experiment, study.planes, study.splits, None)
    assert (finding.kind, finding.severity) == ("encoder_saw_test_set", "refuse")
    assert finding.sentence.startswith(f"the encoder '{folder}': usf_mae has seen FETAL_PLANES_DB")


@pytest.mark.parametrize(("finetuned", "severity"), [(["fetal_planes_db"], "refuse"), (["own"], "note"), ([], "note")])
def test_labelled_patients_of_fine_tuning_count_where_their_names_are_the_data_sets(
    load, prepared_study, tmp_path, finetuned, severity
):
    _, study = prepared_study
    folder = given_encoder(tmp_path / "tuned", patients=["P09"], finetuned=finetuned)
    experiment = load("planes.source=fetal_planes_db/brain:/x", f"transfer.inits=[{folder}]")
    (finding,) = known_findings(experiment, study.planes, study.splits, None)
    assert (finding.severity, finding.names) == (severity, ("P09",))
    assert ("fine-tuned encoder" in finding.sentence) == bool(finetuned)


def test_planes_without_patients_need_a_word_and_are_marked(own, load, tmp_path):
    for label in ("dark", "grey", "light"):
        (own / "folders" / label).mkdir(parents=True)
        for patient in range(8):
            shutil.copy(own / f"images/{patient}-{label}.png", own / "folders" / label)
    keys = (f"planes.source=image_folder:{own / 'folders'}", "pretrain.methods=[]")
    with pytest.raises(UserError, match=r"planes\.unit=image"):
        check_inputs(load(*keys))
    shutil.copy(own / "folders/grey/0-grey.png", own / "folders/grey/copy.png")
    study = prepare(load(*keys, "planes.unit=image", "planes.audit=warn"), progress=False)
    assert study.planes.by_image
    assert json.loads((study.run / "planes/splits.json").read_text())["unit"] == "image"
    assert json.loads((study.run / "audit.json").read_text())["unit"] == "image"
    (finding,) = json.loads((study.run / "audit.json").read_text())["findings"]
    assert "patients" not in finding["sentence"].partition(";")[0]


def test_another_run_can_use_the_splits_of_this_one_exactly(load, own, tmp_path, prepared_study):
    first = prepare(load("pretrain.methods=[]", "planes.seed=5"), progress=False)
    path = first.run / "planes" / "splits.json"
    given = load("pretrain.methods=[]", "name=second", f"planes.splits={path}")
    second = prepare(given, progress=False)
    assert second.splits[0].test.tolist() == first.splits[0].test.tolist()
    assert splits_of(load(), first.planes)[0].test.tolist() != first.splits[0].test.tolist()
    assert (second.run / "planes/splits.json").read_text() == path.read_text()
    assert open_study(second.run).splits[0].train.tolist() == first.splits[0].train.tolist()
    table = own / "planes.csv"
    table.write_text(table.read_text().replace("P03", "P33"))
    with pytest.raises(UserError, match="belong to another plane table"):
        check_inputs(given)
