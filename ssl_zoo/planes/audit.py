"""What would let a score be better than it deserves: the checks of an audit, each a function from facts to findings.

A finding of severity "refuse" is a leak, or a table that contradicts itself; a "note" is worth knowing and no leak.
Every pre-training run and every given encoder serves all folds, so that a patient counts as tested who is tested in
any fold: in cross-validation, everybody. Patients who are only trained on may have been seen in pre-training.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssl_zoo.planes.alike import MOST, Alike
from ssl_zoo.planes.alike_frames import SeenImages
from ssl_zoo.planes.splits import Split
from ssl_zoo.planes.table import INTERNAL, Planes

REFUSE, NOTE = "refuse", "note"
SIDES = ("train", "val", "test")
NAMED = 10  # names in one sentence, at most; `Finding.names` holds all


@dataclass(frozen=True)
class Finding:
    """One thing found. `names`: all patients, images or encoders that it is about."""

    kind: str
    severity: str  # REFUSE | NOTE
    sentence: str
    names: tuple[str, ...]


def refusals(findings: Iterable[Finding]) -> list[Finding]:
    """Those that a study is refused for."""
    return [finding for finding in findings if finding.severity == REFUSE]


def crossing_patients(planes: Planes, protocol: str) -> list[Finding]:
    """Patients on two sides of a given split, which hold-out alone has, or in the internal and another cohort."""
    found = []
    table = planes.table
    unit = "file" if planes.by_image else "patient"
    inside = table.loc[table["cohort"] == INTERNAL]
    given = protocol == "holdout" and bool((inside["split"] != "").any())
    for column, rows in (("cohort", table), *([("split", inside)] if given else [])):
        first = rows.drop_duplicates(["patient_id", column])  # where each patient appears on each side
        for patient, own in first.groupby("patient_id", sort=True):
            values = list(own[column])
            if len(values) < 2 or (column == "cohort" and INTERNAL not in values):
                continue  # two external sites train nobody
            places = " and ".join(f"'{value}' ({place})" for value, place in zip(values, own["where"], strict=True))
            sentence = f"{unit} '{patient}' is in the {column}s {places}"
            found.append(Finding(f"patient_in_two_{column}s", REFUSE, sentence, (str(patient),)))
    return found


def pretrained_patients(
    planes: Planes, splits: Sequence[Split], seen: Collection[str], by: str, *, same_names: bool = True
) -> list[Finding]:
    """Patients with labelled planes among those `seen` in pre-training.

    `by` says where in the sentence, for example "the frame store 'frames'". `same_names`: whether a name means the
    same person on both sides; where it need not, names that agree are a note.
    """
    shared = set(seen) & set(planes.patients)
    tested = shared & set(planes.patients[np.concatenate([split.test for split in splits])])
    if shared and not same_names:
        return [
            Finding(
                "patient_names_agree",
                NOTE,
                f"{_patients(shared)} of the planes and of {by} have the same names; the sources name their patients "
                "each in its own way, so they are taken for different people",
                tuple(sorted(shared)),
            )
        ]
    found = []
    if tested:
        everybody = " (every internal patient is tested in one of the folds)" if len(splits) > 1 else ""
        found.append(
            Finding(
                "pretraining_patient_in_test",
                REFUSE,
                f"pre-training sees {_patients(tested, 'test ')}: {by} holds their scans{everybody}; take them out, or "
                "rename them if they are other people",
                tuple(sorted(tested)),
            )
        )
    if shared - tested:
        found.append(
            Finding(
                "pretraining_patient_in_training",
                NOTE,
                f"{_patients(shared - tested, 'training ')} are also in pre-training ({by}); they are never tested",
                tuple(sorted(shared - tested)),
            )
        )
    return found


def encoders_that_saw(
    encoders: Iterable[str], source: str, known_overlap: Callable[[str, str], str | None]
) -> list[Finding]:
    """Published encoders whose pre-training data holds the planes of the data set `source` ("fetal_planes_db").

    `known_overlap(encoder, source)` tells what is known of the two in one sentence, or None.
    """
    found = []
    for encoder in dict.fromkeys(encoders):
        if (known := known_overlap(encoder, source)) is not None:
            found.append(Finding("encoder_saw_test_set", REFUSE, known, (encoder, source)))
    return found


def shared_images(planes: Planes, splits: Sequence[Split], alike: Alike) -> list[Finding]:
    """Images of two patients that are (nearly) the same, and (nearly) the same image under two labels.

    Refused: two patients on two sides of any fold; two labels. Noted: two patients who are always on one side;
    two labels on neighbouring frames of one video, where one view ends and another begins.
    """
    sides = _sides(planes, splits)  # [F, N]
    one, other = alike.rows.T
    patients, labels = planes.patients, planes.labels
    paths = planes.table["path"].to_numpy(dtype=object)
    apart = np.array([patients[i] != patients[j] for i, j in alike.rows], dtype=bool)
    fold = np.where((sides[:, one] != sides[:, other]).any(0), (sides[:, one] != sides[:, other]).argmax(0), -1)
    found = []
    for pairs in _grouped(np.flatnonzero(apart), lambda k: (patients[one[k]], patients[other[k]], fold[k] >= 0)):
        found.append(_of_two_patients(planes, splits, alike, pairs, sides, int(fold[pairs[0]])))
    unlike = np.flatnonzero(labels[one] != labels[other])
    soft = (paths[one] == paths[other]) & (alike.correlation < 1)
    for pairs in _grouped(
        unlike, lambda k: (patients[one[k]], patients[other[k]], *sorted((labels[one[k]], labels[other[k]])), soft[k])
    ):
        found.append(_under_two_labels(planes, alike, pairs, bool(soft[pairs[0]])))
    if not alike.complete:
        sentence = f"more than {MOST:,} pairs of images are nearly the same; only the first are listed"
        found.append(Finding("too_many_alike", REFUSE, sentence, ()))
    return sorted(found, key=lambda finding: finding.severity != REFUSE)


def pretrained_images(
    planes: Planes, splits: Sequence[Split], seen: SeenImages, frames: pd.DataFrame, store: str
) -> list[Finding]:
    """Tested images that are (nearly) frames of pre-training, whatever their patients are called there.

    `frames` is the index of the frame store named `store`. One finding for each patient and scan.
    """
    tested = np.zeros(len(planes), dtype=bool)
    tested[np.concatenate([split.test for split in splits])] = True
    scans, times_s = frames["scan_id"].to_numpy(), frames["time_s"].to_numpy()
    found = []
    kept = np.flatnonzero(tested[seen.images])
    for pairs in _grouped(kept, lambda k: (planes.patients[seen.images[k]], scans[seen.frames[k]])):
        image, frame = seen.images[pairs[0]], seen.frames[pairs[0]]
        correlation = min(seen.correlation[pairs[0]], 0.999)
        sentence = (
            f"the test image {_image(planes, image)} of {'file' if planes.by_image else 'patient'} "
            f"'{planes.patients[image]}' is nearly the same (correlation {correlation:.3f}) as the frame at "
            f"{times_s[frame]:.2f} s of the pre-training scan '{scans[frame]}' ({store}){_more(pairs)}; "
            "give both one patient_id, or take one out"
        )
        found.append(Finding("pretraining_image_in_test", REFUSE, sentence, (_image(planes, image), str(scans[frame]))))
    return found


def _of_two_patients(
    planes: Planes, splits: Sequence[Split], alike: Alike, pairs: list[int], sides: np.ndarray, fold: int
) -> Finding:
    one, other = alike.rows[pairs[0]]
    names = _image(planes, one), _image(planes, other)
    who = [str(planes.patients[row]) for row in (one, other)]
    same = _same_image(alike, pairs)
    if fold >= 0:
        on = [SIDES[sides[fold, row]] for row in (one, other)]
        if planes.by_image:
            subject = f"{names[0]} ({on[0]}) and {names[1]} ({on[1]}) are {same}"
        else:
            subject = f"patients '{who[0]}' ({on[0]}) and '{who[1]}' ({on[1]}) show {same}: {names[0]} and {names[1]}"
        where = f" in fold {splits[fold].fold}" if len(splits) > 1 else ""
        advice = "give them one patient_id, or take one out"
        return Finding("image_on_two_sides", REFUSE, f"{subject}, on two sides of the split{where}; {advice}", names)
    subject = "" if planes.by_image else f"patients '{who[0]}' and '{who[1]}' show {same}: "
    tail = f" are {same}" if planes.by_image else ""
    return Finding(
        "image_of_two_patients", NOTE, f"{subject}{names[0]} and {names[1]}{tail}, on one side of every split", names
    )


def _under_two_labels(planes: Planes, alike: Alike, pairs: list[int], soft: bool) -> Finding:
    one, other = alike.rows[pairs[0]]
    labels = [planes.classes[planes.labels[row]] for row in (one, other)]
    names = _image(planes, one), _image(planes, other)
    same = _same_image(alike, pairs)
    if names[0] == names[1]:
        sentence = f"{names[0]} is labelled '{labels[0]}' and '{labels[1]}'{_more(pairs)}"
    else:
        sentence = f"{names[0]}, labelled '{labels[0]}', and {names[1]}, labelled '{labels[1]}', are {same}"
    kind = "neighbours_with_two_labels" if soft else "image_with_two_labels"
    return Finding(kind, NOTE if soft else REFUSE, sentence, names)


def _sides(planes: Planes, splits: Sequence[Split]) -> np.ndarray:
    """For each fold and row its side as a position in SIDES, int8 `[F, N]`."""
    sides = np.zeros((len(splits), len(planes)), np.int8)
    for fold, split in enumerate(splits):
        for code, side in enumerate(SIDES):
            sides[fold, getattr(split, side)] = code
    return sides


def _grouped(pairs: np.ndarray, key: Callable[[int], tuple]) -> list[list[int]]:
    """Pairs with the same key together, in the order of their first."""
    groups: dict[tuple, list[int]] = {}
    for pair in pairs.tolist():
        groups.setdefault(key(pair), []).append(pair)
    return list(groups.values())


def _image(planes: Planes, row: int) -> str:
    """An image in words: its path, the frame of a video, and its row of the table."""
    entry = planes.table.iloc[row]
    frame = f" frame {entry['frame']}" if "frame" in entry and isinstance(entry["frame"], int | np.integer) else ""
    place = entry["where"] if entry["where"] != entry["image"] else ""
    return f"'{entry['image']}'{frame}" + (f" ({place})" if place else "")


def _same_image(alike: Alike, pairs: Sequence[int]) -> str:
    """How alike the first of some pairs is, and how many more there are."""
    correlation = alike.correlation[pairs[0]]
    nearly = f"nearly the same image (correlation {min(correlation, 0.999):.3f})"
    return ("the same image" if correlation >= 1 else nearly) + _more(pairs)


def _more(pairs: Sequence[int]) -> str:
    return f" (and {len(pairs) - 1} more such pair{'s' if len(pairs) > 2 else ''})" if len(pairs) > 1 else ""


def _patients(names: Collection[str], kind: str = "") -> str:
    """Patients in words, some of them by name."""
    some = ", ".join(sorted(names)[:NAMED]) + (f", and {len(names) - NAMED} more" if len(names) > NAMED else "")
    return f"{len(names)} {kind}patient{'s' if len(names) > 1 else ''} ({some})"
