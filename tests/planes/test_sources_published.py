"""The published data sets, in trees of their exact layout and, where it lies beside the project, on real data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_zoo.errors import UserError
from ssl_zoo.planes.sources import SOURCES, fetal_planes_db, open_source
from ssl_zoo.planes.sources.ultrabench import TASKS
from ssl_zoo.planes.splits import make_splits
from ssl_zoo.planes.table import build_planes, load_images
from tests.planes import published_trees as trees

REAL = Path(__file__).parents[2] / "../shared/data/fetal_planes_db"
V1 = {"train.json": 4, "validation.json": 2, "test.json": 2}
V0 = {"train_val.json": 4, "test.json": 2}


@pytest.fixture
def real() -> Path:
    if not (REAL / fetal_planes_db.TABLE).is_file():
        pytest.skip("FETAL_PLANES_DB is not at ../shared/data/fetal_planes_db")
    return REAL


def halves_are_seen(planes, channels: int) -> None:
    """Every image, whatever its mode and size, is white above and black below."""
    images = load_images(planes, 24, channels).reshape(len(planes), 24, 24, -1)
    assert (images[:, 6, 12] > 240).all()
    assert (images[:, 17, 12] < 15).all()


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.facts.paper])
def test_a_folder_that_is_another_says_what_is_wanted_and_where_it_is(name, tmp_path: Path):
    (tmp_path / "train.txt").write_text("nothing of use")
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UserError) as caught:
            open_source(f"{name}:{path}")
        sentence, facts = str(caught.value), SOURCES[name].facts
        assert str(path) in sentence
        assert all(part in sentence for part in (facts.title, facts.layout, facts.where, facts.licence))
        assert all(
            (facts.shows, facts.split, facts.patients, facts.total or facts.counts or name.endswith("butterfly"))
        )


def test_the_real_table_is_that_which_was_published(real: Path):
    for listing, rows in ((fetal_planes_db.planes(real), 12400), (fetal_planes_db.brain_planes(real), 3092)):
        (note,) = listing.notes  # no count deviates; of the images most are not there
        assert f"{rows - len(listing.table)} of {rows} listed images are not there" in note
        assert len(listing.table) >= 57
        assert len(set(listing.table["path"])) == len(listing.table)
        assert set(listing.table["label"]) <= {*fetal_planes_db.PLANES.counts, *fetal_planes_db.BRAIN_PLANES.counts}
    assert (listing.table["patient_id"].str.len() == len("Patient00001")).all()
    assert set(listing.table["split"]) <= {"train", "test"}


def test_the_real_images_are_read(real: Path):
    table = fetal_planes_db.brain_planes(real).table
    planes = build_planes(table.assign(label=["a", "b"] * (len(table) // 2) + ["a"] * (len(table) % 2)), "real")
    images = load_images(planes, 64, 1, rows=range(12))
    assert images.std(axis=(1, 2)).min() > 10
    assert len({image.tobytes() for image in images}) == 12


def test_fetal_planes_db_keeps_the_official_split_by_patient(tmp_path: Path):
    opened = open_source(f"fetal_planes_db:{trees.fetal_planes_db(tmp_path / 'zip' / 'FETAL_PLANES_ZENODO')}")
    planes = opened.planes
    assert len(planes) == 48
    assert not planes.by_image
    assert planes.classes == tuple(sorted(fetal_planes_db.PLANES.counts))
    (split,) = make_splits(planes, "holdout")
    assert len(split.train) == len(split.test) == 24
    assert {"Patient00001", "Patient00002"} <= set(planes.patients[split.train])  # whose Train is 1
    assert not len(split.val)
    assert not set(planes.patients[split.train]) & set(planes.patients[split.test])
    assert planes.table.loc[0, ["patient_id", "device", "operator"]].tolist() == ["Patient00001", "Voluson E6", "Op. 2"]
    assert "Other 8 of 4213" in opened.notes[0]
    assert "24 patients, where 1792 are published" in opened.notes[1]
    halves_are_seen(planes, 1)
    halves_are_seen(planes, 3)


def test_brain_planes_are_the_brain_images_alone(tmp_path: Path):
    opened = open_source(f"fetal_planes_db/brain:{trees.fetal_planes_db(tmp_path)}")
    assert opened.planes.classes == ("Trans-cerebellum", "Trans-thalamic")
    assert len(opened.planes) == 8


def test_images_that_are_not_there_are_left_out_and_said(tmp_path: Path):
    trees.fetal_planes_db(tmp_path)
    (tmp_path / "Images/Patient00003_Plane1_2_of_2.png").unlink()
    opened = open_source(f"fetal_planes_db:{tmp_path}")
    assert len(opened.planes) == 47
    assert "1 of 48 listed images are not there, left out (Images/Patient00003_Plane1_2_of_2.png)" in opened.notes[-1]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Patient00001_Plane1_1_of_2;1;", "Patient00001_Plane1_1_of_2;2;", "row 1: .* is not of Patient_num 2"),
        (";1 \n", ";2 \n", "row 1: Train is '2'"),
        ("Brain_plane", "Brain", "no column 'Brain_plane'.*Zenodo.*CC BY"),
    ],
)
def test_a_table_that_contradicts_what_is_published_is_refused(tmp_path: Path, old, new, says):
    table = trees.fetal_planes_db(tmp_path) / fetal_planes_db.TABLE
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=says):
        open_source(f"fetal_planes_db:{tmp_path}")


def test_labels_of_another_data_set_are_refused(tmp_path: Path):
    table = trees.fetal_planes_db(tmp_path) / fetal_planes_db.TABLE
    text = table.read_text()
    for name in fetal_planes_db.PLANES.counts:
        text = text.replace(f";{name};", f";not {name};")
    table.write_text(text)
    with pytest.raises(UserError, match=r"none of its labels .* is a published class .*Zenodo"):
        open_source(f"fetal_planes_db:{tmp_path}")


def test_the_african_cohort_has_patients_by_country_and_number(tmp_path: Path):
    opened = open_source(f"african:{trees.african(tmp_path / 'Zenodo_dataset').parent}")
    planes = opened.planes
    assert opened.notes == ()  # all counts are those published
    assert len(planes) == 450
    assert len(set(planes.patients)) == 127
    assert planes.table.groupby("patient_id")["site"].nunique().max() == 1
    assert set(planes.table.loc[planes.table["label"] == "Fetal thorax", "site"]) == {"Algeria", "Egypt", "Malawi"}
    assert (planes.table["split"] == "").all()  # what its column Train means is not known
    halves_are_seen(planes, 1)


def test_an_african_cohort_without_a_country_says_so(tmp_path: Path):
    trees.african(tmp_path, ["Algeria", "Ghana"])
    notes = " ".join(open_source(f"african:{tmp_path}").notes)
    assert "Fetal brain 50 of 125" in notes
    assert "50 patients, where 127 are published" in notes
    assert "Egypt 0 of 100" in notes


def test_feft_keeps_its_folders_and_has_no_patients(tmp_path: Path):
    opened = open_source(f"feft:{trees.feft(tmp_path / 'Fetal Echocardiography First Trimester').parent}")
    planes = opened.planes
    assert planes.by_image
    assert planes.classes == ("Aorta", "Flows", "Other", "V sign", "X sign")
    assert len(set(planes.patients)) == len(planes) == 45
    (split,) = make_splits(planes, "holdout")
    assert [len(rows) for rows in (split.train, split.val, split.test)] == [15, 15, 15]
    notes = " ".join(opened.notes)
    assert "45 images, where 6720 are published" in notes
    assert "15 in all, where 1379 were counted; 3 of the X sign, where 79 were counted" in notes
    assert "none: no ids were published" in notes
    halves_are_seen(planes, 3)


def test_feft_takes_other_spellings_and_leaves_other_folders_out(tmp_path: Path):
    trees.feft(tmp_path, ("Train", "validation", "Test"))
    (tmp_path / "Train/V sign").rename(tmp_path / "Train/v_sign")
    (tmp_path / "Train/Flows").rename(tmp_path / "Train/Atrioventricular flows")
    trees.picture(tmp_path / "Train/masks/1.png")
    trees.picture(tmp_path / "__MACOSX/test/Aorta/._1.jpg")
    opened = open_source(f"feft:{tmp_path}")
    assert len(opened.planes) == 45
    assert set(opened.planes.table["split"]) == {"train", "val", "test"}
    assert "no class were left out: masks" in opened.notes[0]
    known = open_source(f"feft:{tmp_path}", patient_pattern=r"\((\d+)\)").planes
    assert not known.by_image
    assert set(known.patients) == {"1", "2", "10"}


def test_cactus_keeps_sweeps_together(tmp_path: Path):
    opened = open_source(f"cactus:{trees.cactus(tmp_path / 'Images Dataset').parent}")
    planes = opened.planes
    assert len(planes) == 72
    assert len(set(planes.patients)) == 24
    assert "A4C 12 of 7422" in opened.notes[0]
    assert "72 images in 24 sweeps of one phantom" in opened.notes[-1]
    for split in make_splits(planes, "cross_validation", folds=2, val_fraction=0.0):
        assert not set(planes.patients[split.train]) & set(planes.patients[split.test])
    halves_are_seen(planes, 1)


def test_a_frame_of_cactus_whose_sweep_is_not_known_is_refused(tmp_path: Path):
    trees.cactus(tmp_path)
    trees.picture(tmp_path / "SC/IMG 0001.jpg")
    with pytest.raises(UserError, match=r"IMG 0001.*planes\.patient_pattern"):
        open_source(f"cactus:{tmp_path}")
    planes = open_source(f"cactus:{tmp_path}", patient_pattern=r"/(\w+?)[_ ]").planes
    assert "IMG" in set(planes.patients)


@pytest.mark.parametrize("files", [V1, V0], ids=["1.0.1", "before"])
@pytest.mark.parametrize("task", TASKS)
def test_a_task_of_ultrabench_is_read_in_its_own_split(tmp_path: Path, task: str, files):
    known = TASKS[task]
    root = trees.ultrabench(tmp_path / f"{known.folder}_v1.0.1", task, known.classes, files)
    for path in (root, tmp_path):
        opened = open_source(f"ultrabench/{task}:{path}")
    planes = opened.planes
    assert set(planes.classes) == set(known.classes)
    sides = {"train": "train", "train_val": "train", "validation": "val", "test": "test"}
    counts = {sides[file.partition(".")[0]]: each * len(known.classes) for file, each in files.items()}
    assert planes.table["split"].value_counts().to_dict() == counts
    (split,) = make_splits(planes, "holdout")
    assert len(split.test) == counts["test"]
    assert planes.by_image == (task in ("gbcu", "mmotu"))
    assert len(set(planes.patients)) == (len(planes) // 2 if task == "pocus" else len(planes))
    assert any("patients:" in note for note in opened.notes) == (known.facts.unit != "patient")
    halves_are_seen(planes, 1)


def test_pocus_says_that_its_split_is_not_by_patient(tmp_path: Path):
    root = trees.ultrabench(tmp_path, "pocus", TASKS["pocus"].classes, V1)
    assert "not by patient" in " ".join(open_source(f"ultrabench/pocus:{root}").notes)


def test_patients_of_camus_are_called_as_in_its_scans(tmp_path: Path):
    root = trees.ultrabench(tmp_path, "camus", TASKS["camus"].classes, V1)
    assert "patient0007" in set(open_source(f"ultrabench/camus:{root}").planes.patients)


def broken(change):
    """A tree of UltraBench whose first training object was changed."""

    def write(root: Path) -> Path:
        trees.ultrabench(root, "aul", TASKS["aul"].classes, V1)
        objects = json.loads((root / "train.json").read_text())
        change(objects[0])
        (root / "train.json").write_text(json.dumps(objects))
        return root

    return write


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda entry: entry.update(label=3), "label 3 is not a number from 0 to 2"),
        (lambda entry: entry.update(label="Normal"), "label 'Normal' is not a number"),
        (lambda entry: entry.update(pathology="Benign"), "label 0 is 'Normal', and the object names 'Benign'"),
        (lambda entry: entry.pop("image"), r"train\.json, object 1: no 'image'"),
        (lambda entry: entry.update(image="../other.png"), "leaves the table's folder"),
    ],
)
def test_an_object_of_ultrabench_that_does_not_fit_is_named(tmp_path: Path, change, says):
    root = broken(change)(tmp_path)
    with pytest.raises(UserError, match=says) as caught:
        open_source(f"ultrabench/aul:{root}")
    assert "train.json, object 1" in str(caught.value)


def test_two_versions_of_ultrabench_are_told_apart(tmp_path: Path):
    for version, each in (("1.0.1", 2), ("1.0.10", 3)):
        trees.ultrabench(tmp_path / f"gbcu_v{version}", "gbcu", TASKS["gbcu"].classes, {**V1, "train.json": each})
    opened = open_source(f"ultrabench/gbcu:{tmp_path}")
    assert len(opened.planes) == 21
    assert "read gbcu_v1.0.10, not gbcu_v1.0.1" in opened.notes[0]
    trees.ultrabench(tmp_path / "gbcu_v1.0.1", "gbcu", TASKS["gbcu"].classes, {"train_val.json": 1})
    with pytest.raises(UserError, match="two versions"):
        open_source(f"ultrabench/gbcu:{tmp_path / 'gbcu_v1.0.1'}")


def test_a_link_out_of_a_data_set_is_refused(tmp_path: Path):
    trees.feft(tmp_path / "set")
    image = tmp_path / "set/test/Aorta/Aorta test (2).jpg"
    image.rename(tmp_path / "elsewhere.jpg")
    image.symlink_to(tmp_path / "elsewhere.jpg")
    with pytest.raises(UserError, match="leaves the folder"):
        open_source(f"feft:{tmp_path / 'set'}")
    assert len(open_source(f"feft:{tmp_path / 'set'}", allow_outside=True).planes) == 45


def test_a_source_with_patients_does_not_go_by_image(tmp_path: Path):
    trees.african(tmp_path, ["Ghana"])
    with pytest.raises(UserError, match=r"its patients are known .*planes\.unit=image"):
        open_source(f"african:{tmp_path}", by_image=True)
    assert open_source(f"feft:{trees.feft(tmp_path / 'heart')}", by_image=True).planes.by_image


def test_what_is_published_is_set_beside_what_is_there():
    facts = fetal_planes_db.PLANES
    assert facts.deviations(dict(facts.counts), 1792) == []
    assert "Fetal femur 1039 of 1040" in facts.deviations({**facts.counts, "Fetal femur": 1039})[0]
    assert "not among what is published: Fetal spine" in facts.deviations({**facts.counts, "Fetal spine": 2})[0]
    assert np.isclose(sum(facts.counts.values()), facts.total)


def test_counts_that_nobody_has_confirmed_accuse_no_copy(tmp_path: Path):
    root = trees.ultrabench(tmp_path, "fatty_liver", TASKS["fatty_liver"].classes, V1)
    notes = open_source(f"ultrabench/fatty_liver:{root}").notes
    assert "8 Normal (others: 170), 8 NFLD (others: 380); the others' counts are not confirmed" in notes[0]
    assert "16 images, where 550 are published" in notes[1]  # by its own program
    facts = TASKS["mmotu"].facts
    assert facts.unconfirmed
    assert facts.deviations(dict(facts.counts)) == []
    assert not any(source.facts.unconfirmed and not source.facts.unsure for source in SOURCES.values())
