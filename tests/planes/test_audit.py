"""Planted leaks of each kind are found and named, and what is no leak is not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from ssl_zoo.planes import alike as alike_module
from ssl_zoo.planes import alike_frames
from ssl_zoo.planes.alike import Alike, find_alike, shown_correlations
from ssl_zoo.planes.alike_frames import find_seen
from ssl_zoo.planes.audit import (
    NOTE,
    REFUSE,
    crossing_patients,
    encoders_that_saw,
    pretrained_patients,
    refusals,
    shared_images,
)
from ssl_zoo.planes.splits import Split, make_splits


def sectors(count: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth random pictures in one fan-shaped sector, as frames of one scanner: uint8 `[count, size, size]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    sector = (np.abs(x - 0.5) < 0.1 + 0.4 * y) & (x**2 + y**2 < 1.6)
    out = np.zeros((count, size, size), np.uint8)
    for row in range(count):
        coarse = Image.fromarray(rng.integers(20, 255, (12, 12), np.uint8))
        out[row] = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)) * sector
    return out


def jpeg(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(io.BytesIO(file.getvalue())))


def halved(image: np.ndarray) -> np.ndarray:
    size = image.shape[0]
    return np.asarray(Image.fromarray(image).resize((size // 2, size // 2)).resize((size, size)))


def cropped(image: np.ndarray) -> np.ndarray:
    size = image.shape[0]
    edge = size * 0.01
    return np.asarray(Image.fromarray(image).resize((size, size), box=(edge, edge, size - edge, size - edge)))


def with_text(image: np.ndarray) -> np.ndarray:
    out = image.copy()
    out[-6:-3, 20:44] = 255
    return out


CHANGES = {
    "copied": lambda image: image,
    "saved as JPEG": jpeg,
    "halved and enlarged": halved,
    "brighter": lambda image: (image * 1.25).clip(0, 255).astype(np.uint8),
    "darker on grey": lambda image: (image * 0.8 + 10).astype(np.uint8),
    "with text": with_text,
    "cropped": cropped,
}


@pytest.mark.parametrize("size", [64, 200])
@pytest.mark.parametrize("change", CHANGES)
def test_an_image_is_found_again_after_a_change_that_leaves_its_content(change, size):
    images = sectors(20, size)
    images[13] = CHANGES[change](images[4])
    found = find_alike(images, np.arange(20), np.zeros(20))
    assert found.rows.tolist() == [[4, 13]]
    assert found.complete
    assert (found.correlation[0] == 1) == (change == "copied")


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_is_found_among_frames_after_a_change_that_leaves_its_content(change, monkeypatch):
    monkeypatch.setattr(alike_frames, "ROWS", 7)
    frames = sectors(40, 64)
    images = np.stack([sectors(42, 64)[41], CHANGES[change](frames[23]), frames[9], np.zeros_like(frames[0])])
    patients = np.array(["a", "b", "c", "d"])
    seen = find_seen(images, frames, np.array(["x"] * 40), patients)
    assert (seen.images.tolist(), seen.frames.tolist()) == ([1, 2], [23, 9])
    assert (seen.correlation >= 0.97).all()
    owners = np.where(np.arange(40) == 9, "c", "x")  # a frame of the same patient: names tell that already
    assert find_seen(images, frames, owners, patients).images.tolist() == [1]


def test_nothing_is_seen_where_there_is_nothing():
    frames, none = sectors(3), np.empty((0, 64, 64), np.uint8)
    owners, nobody = np.array(["x"] * 3), np.array([], dtype=str)
    assert len(find_seen(none, frames, owners, nobody).images) == 0
    assert len(find_seen(frames, none, nobody, owners).images) == 0


def test_images_of_different_patients_in_the_same_sector_are_not_alike():
    images = sectors(300)
    found = find_alike(images, np.arange(300), np.arange(300) % 5)
    assert len(found.rows) == 0
    whole = np.corrcoef(images[:40].reshape(40, -1).astype(float))
    assert whole[np.triu_indices(40, 1)].max() > 0.85  # the common black surround
    assert shown_correlations(images[:39], images[1:40]).max() < 0.7


def test_hashes_alone_do_not_make_two_images_alike():
    images = sectors(2)
    pair = np.stack([images[0], (0.7 * images[0] + 0.3 * images[1]).astype(np.uint8)])
    signs = alike_module.hash_signs(alike_module._thumbnails(pair)[0])
    assert signs[0] @ signs[1] >= 64 - 2 * alike_module.MAX_DISTANCE
    assert 0.8 < shown_correlations(pair[:1], pair[1:])[0] < 0.97
    assert len(find_alike(pair, np.arange(2), np.zeros(2)).rows) == 0


def test_frames_of_one_patient_and_label_may_repeat_and_labels_may_not():
    images = sectors(6)
    images[1] = jpeg(images[0])
    images[3] = jpeg(images[2])
    images[5] = images[4]
    patients, labels = list("aabbcc"), [0, 0, 0, 1, 0, 1]
    assert find_alike(images, np.array(patients), np.array(labels)).rows.tolist() == [[2, 3], [4, 5]]


def test_neighbouring_planes_of_one_patient_have_to_be_closer_than_images_of_two():
    images = sectors(2)
    mixed = (0.82 * images[0] + 0.18 * images[1]).astype(np.uint8)
    pair = np.stack([images[0], mixed])
    assert 0.97 < shown_correlations(pair[:1], pair[1:])[0] < 0.99
    assert len(find_alike(pair, np.array(["a", "b"]), np.array([0, 1])).rows) == 1
    assert len(find_alike(pair, np.array(["a", "a"]), np.array([0, 1])).rows) == 0


def test_flat_images_are_alike_only_where_they_are_equal():
    images = np.zeros((4, 32, 32), np.uint8)
    images[1] += 1
    images[2, 8:24] = 200  # a grey bar between the black ones of a letterbox
    images[3, 8:24] = 90
    found = find_alike(np.concatenate([images, images[:1]]), np.arange(5), np.zeros(5))
    assert found.rows.tolist() == [[0, 4]]
    faint = np.stack([np.tile(np.linspace(0, top, 32), (32, 1)) for top in (12, 13)]).astype(np.uint8)
    assert shown_correlations(faint[:1], faint[1:])[0] > 0.97
    assert len(find_alike(faint, np.arange(2), np.zeros(2)).rows) == 0


def test_many_copies_of_one_image_cost_one_pair_each(monkeypatch):
    images = np.concatenate([np.repeat(sectors(1), 500, axis=0), sectors(3, seed=1)])
    found = find_alike(images, np.arange(503), np.zeros(503))
    assert found.rows.tolist() == [[0, row] for row in range(1, 500)]
    monkeypatch.setattr(alike_module, "MOST", 100)
    assert not find_alike(images, np.arange(503), np.zeros(503)).complete


def test_colour_images_are_compared_as_grey_ones():
    images = np.repeat(sectors(8)[..., None], 3, axis=3)
    images[6] = images[1]
    images[6, ..., 0] //= 2
    found = find_alike(images, np.arange(8), np.zeros(8))
    assert found.rows.tolist() == [[1, 6]]


def pairs(*rows: tuple[int, int], correlation: float = 1.0) -> Alike:
    return Alike(np.array(rows, dtype=np.int64).reshape(-1, 2), np.full(len(rows), correlation))


@pytest.fixture
def six(planes):
    """Six patients of two images each; p0 to p2 are trained on, p3 is validated, p4 and p5 are tested."""
    made = planes([f"p{row // 2}" for row in range(12)], [0, 1] * 6)
    return made, [Split(0, np.arange(6), np.arange(6, 8), np.arange(8, 12))]


@pytest.mark.parametrize(("pair", "sides"), [((0, 8), "train test"), ((2, 6), "train val"), ((6, 8), "val test")])
def test_an_image_of_two_patients_on_two_sides_is_refused_naming_both(six, pair, sides):
    (finding,) = shared_images(*six, pairs(pair, correlation=0.991))
    assert (finding.kind, finding.severity) == ("image_on_two_sides", REFUSE)
    for side, row in zip(sides.split(), pair, strict=True):
        assert f"'p{row // 2}' ({side})" in finding.sentence
        assert f"'{row}.png' (planes.csv, row {row + 1})" in finding.sentence
    assert "nearly the same image (correlation 0.991)" in finding.sentence


def test_an_image_of_two_patients_on_one_side_is_a_note(six):
    (finding,) = shared_images(*six, pairs((0, 2)))
    assert (finding.kind, finding.severity) == ("image_of_two_patients", NOTE)
    assert "the same image" in finding.sentence


def test_all_shared_images_of_two_patients_are_one_finding(six):
    found = shared_images(*six, pairs((0, 8), (1, 9), (2, 8)))
    assert len(found) == 2
    assert "and 1 more such pair" in found[0].sentence


def test_two_sides_of_any_fold_count(planes):
    made = planes([f"p{row}" for row in range(20)], [row % 2 for row in range(20)])
    splits = make_splits(made, "cross_validation", val_fraction=0.0)
    together = [row for row in splits[1].test if made.labels[row] == 0][:2]
    one, other = (next(row for row in split.test if made.labels[row] == 0) for split in splits[:2])
    assert [f.severity for f in shared_images(made, splits, pairs(tuple(together)))] == [NOTE]
    (finding,) = shared_images(made, splits, pairs((min(one, other), max(one, other))))
    assert finding.severity == REFUSE
    assert "in fold 0" in finding.sentence


def test_an_image_under_two_labels_is_refused(six):
    (finding,) = shared_images(*six, pairs((0, 1)))
    assert (finding.kind, finding.severity) == ("image_with_two_labels", REFUSE)
    assert "'class0'" in finding.sentence
    assert "'class1'" in finding.sentence


def test_one_file_listed_under_two_labels_is_refused(six):
    made, splits = six
    made.table.loc[1, ["image", "path"]] = "0.png"
    (finding,) = shared_images(made, splits, pairs((0, 1)))
    assert finding.severity == REFUSE


def test_neighbouring_frames_of_one_video_may_have_two_labels(six):
    made, splits = six
    made.table.loc[[0, 1], ["image", "path"]] = "scan.mp4"
    (finding,) = shared_images(made, splits, pairs((0, 1), correlation=0.995))
    assert (finding.kind, finding.severity) == ("neighbours_with_two_labels", NOTE)
    (frozen,) = shared_images(made, splits, pairs((0, 1)))
    assert frozen.severity == REFUSE


def test_more_pairs_than_can_be_listed_are_refused(six):
    made, splits = six
    found = shared_images(made, splits, Alike(np.empty((0, 2), np.int64), np.empty(0), complete=False))
    assert [finding.kind for finding in found] == ["too_many_alike"]


def test_a_patient_in_two_given_splits_is_named_with_the_rows(planes):
    made = planes(list("aabbcc"), [0, 1] * 3, split=["train", "train", "train", "test", "test", "test"])
    (finding,) = crossing_patients(made, "holdout")
    assert finding.severity == REFUSE
    assert finding.names == ("b",)
    assert "'train' (planes.csv, row 3) and 'test' (planes.csv, row 4)" in finding.sentence
    assert crossing_patients(made, "cross_validation") == []  # which does not look at the column


def test_a_patient_in_two_cohorts_is_named_by_every_protocol(planes):
    cohorts = ["internal", "internal", "internal", "africa", "africa", "asia"]
    made = planes(list("aabbcc"), [0, 1] * 3, cohort=cohorts)
    for protocol in ("holdout", "cross_validation"):
        (finding,) = crossing_patients(made, protocol)
        assert finding.names == ("b",)


def test_a_tested_patient_in_pretraining_is_refused_and_a_trained_one_noted(six):
    found = pretrained_patients(*six, ["p5", "p0", "p3", "x"], "the frame store 'frames'")
    assert [(finding.severity, finding.names) for finding in found] == [(REFUSE, ("p5",)), (NOTE, ("p0", "p3"))]
    assert "the frame store 'frames'" in found[0].sentence
    assert pretrained_patients(*six, ["x", "y"], "the frame store 'frames'") == []


def test_in_cross_validation_every_internal_patient_counts_as_tested(planes):
    made = planes([f"p{row}" for row in range(20)], [row % 2 for row in range(20)])
    splits = make_splits(made, "cross_validation")
    for patient in made.patients:
        (finding,) = pretrained_patients(made, splits, [patient], "the scan table")
        assert finding.severity == REFUSE


def test_equal_names_from_two_data_sets_are_a_note(six):
    (finding,) = pretrained_patients(*six, ["p5"], "the scan table", same_names=False)
    assert (finding.kind, finding.severity) == ("patient_names_agree", NOTE)


def test_a_published_encoder_that_saw_the_test_set_is_refused():
    def known(encoder: str, source: str) -> str | None:
        return f"{encoder} has seen {source}" if (encoder, source) == ("usf_mae", "fetal_planes_db") else None

    found = encoders_that_saw(["random", "usf_mae", "usfm", "usf_mae"], "fetal_planes_db", known)
    assert [(finding.severity, finding.names) for finding in found] == [(REFUSE, ("usf_mae", "fetal_planes_db"))]
    assert encoders_that_saw(["usf_mae"], "csv", known) == []
    assert refusals(found) == found
