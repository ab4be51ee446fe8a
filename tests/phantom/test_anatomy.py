from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ssl_zoo.phantom.acoustics import draw_seat, image, make_scanner, make_scatterers
from ssl_zoo.phantom.anatomy import draw_anatomy
from ssl_zoo.phantom.heartbeat import beat_at
from ssl_zoo.phantom.labels import label_points
from ssl_zoo.phantom.machine import SITES, draw_exam
from ssl_zoo.phantom.planes import PLANES, Pose, nearest_plane, off_pose, pose_distance, standard_pose
from ssl_zoo.phantom.tissue import CODE, TISSUES

CHAMBERS = ("left_ventricle", "right_ventricle", "left_atrium", "right_atrium")
SEEN = {  # what a standard plane must show, and what it must not
    "4CH": ({*CHAMBERS, "ventricular_septum", "descending_aorta", "vertebra"}, {"arterial_duct", "trachea"}),
    "LVOT": ({"left_ventricle", "aorta", "ventricular_septum"}, {"arterial_duct", "trachea"}),
    "RVOT": ({"right_ventricle", "pulmonary_artery", "aorta", "superior_vena_cava"}, {"left_atrium"}),
    "3VV": ({"pulmonary_artery", "aorta", "superior_vena_cava"}, set(CHAMBERS)),
    "3VT": ({"aorta", "arterial_duct", "superior_vena_cava", "trachea", "thymus"}, set(CHAMBERS)),
}


def _cut(anatomy, pose: Pose, phase: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Codes [N] and points [3, N] of a 48 mm square of a plane, 0.25 mm apart."""
    side = np.arange(-24, 24, 0.25)
    x, y = (grid.ravel() for grid in np.meshgrid(side, side))
    normal = pose.normal
    z = pose.centre[2] - (normal[0] * (x - pose.centre[0]) + normal[1] * (y - pose.centre[1])) / normal[2]
    points = np.stack([x, y, z]).astype(np.float32)
    return label_points(anatomy, beat_at(phase), points)[0], points


@pytest.mark.parametrize("plane", PLANES)
def test_a_standard_plane_shows_what_it_is_named_after(plane):
    shows, hides = SEEN[plane]
    for seed in range(8):
        anatomy = draw_anatomy(np.random.default_rng(seed))
        codes, _ = _cut(anatomy, standard_pose(anatomy, plane))
        area = {tissue.name: np.count_nonzero(codes == code) / 16 for code, tissue in enumerate(TISSUES)}  # mm2
        assert {name for name in shows if area[name] < 0.8} == set(), seed
        assert {name for name in hides if area[name] > 4} == set(), seed


def test_the_three_vessels_lie_in_a_line_of_decreasing_size():
    sizes = []
    for seed in range(8):
        anatomy = draw_anatomy(np.random.default_rng(seed))
        codes, points = _cut(anatomy, standard_pose(anatomy, "3VV"))
        chest = points[1] > -8  # in front of the descending vessels
        found = [(codes == CODE[name]) & chest for name in ("pulmonary_artery", "aorta", "superior_vena_cava")]
        left = [points[0][vessel].mean() for vessel in found]
        assert left[0] > left[1] > left[2], seed
        sizes.append([np.count_nonzero(vessel) for vessel in found])
    lung, aorta, cava = np.mean(sizes, 0)
    assert lung > aorta > cava


def test_the_heart_points_left_and_the_arch_passes_left_of_the_windpipe():
    for seed in range(8):
        anatomy = draw_anatomy(np.random.default_rng(seed))
        codes, points = _cut(anatomy, standard_pose(anatomy, "4CH"))
        middle = {name: points[:2, codes == CODE[name]].mean(1) for name in CHAMBERS}
        assert middle["left_ventricle"][0] > middle["right_atrium"][0]
        assert middle["right_ventricle"][1] > middle["left_atrium"][1]  # right ventricle in front, left atrium behind
        codes, points = _cut(anatomy, standard_pose(anatomy, "3VT"))
        windpipe = points[0, codes == CODE["trachea"]].mean()
        assert points[0, codes == CODE["arterial_duct"]].mean() > windpipe
        beside = (codes == CODE["aorta"]) & (np.abs(points[1] + 7) < 2)
        assert points[0, beside].mean() > windpipe


def test_ventricles_empty_and_walls_thicken_in_systole():
    anatomy = draw_anatomy(np.random.default_rng(1))
    pose = standard_pose(anatomy, "4CH")
    rest, _ = _cut(anatomy, pose, 0.0)
    systole, _ = _cut(anatomy, pose, 0.36)
    for name in ("left_ventricle", "right_ventricle"):
        share = np.count_nonzero(systole == CODE[name]) / np.count_nonzero(rest == CODE[name])
        assert 0.3 < share < 0.8
    assert np.count_nonzero(systole == CODE["left_atrium"]) > np.count_nonzero(rest == CODE["left_atrium"])


def test_planes_are_apart_and_each_is_nearest_to_itself():
    rng = np.random.default_rng(0)
    for _ in range(10):
        anatomy = draw_anatomy(rng)
        poses = {plane: standard_pose(anatomy, plane) for plane in PLANES}
        for plane, pose in poses.items():
            name, distance = nearest_plane(anatomy, pose)
            assert (name, round(distance, 3)) == (plane, 0)
            assert all(pose_distance(pose, poses[other]) > 1.2 for other in PLANES if other != plane)
        assert nearest_plane(anatomy, off_pose(anatomy, rng))[0] == "none"


def test_blood_is_dark_lung_is_grey_and_bone_is_bright():
    seen = {name: [] for name in ("left_ventricle", "lung", "vertebra", "amniotic_fluid")}
    scatterers = make_scatterers(0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        anatomy = draw_anatomy(rng)
        scanner = make_scanner(draw_exam(rng, "internal", anatomy), scatterers, draw_seat(rng), rng)
        shot = image(scanner, anatomy, beat_at(0), standard_pose(anatomy, "4CH"), rng)
        for name, levels in seen.items():
            share = 90 if name == "vertebra" else 50  # the back of a bone lies in its own shadow
            levels.append(float(np.percentile(shot.grey[shot.codes == CODE[name]], share)))
        assert not shot.grey[shot.codes == 0].any()
    mean = {name: np.mean(levels) for name, levels in seen.items()}
    assert mean["left_ventricle"] < 40
    assert mean["amniotic_fluid"] < 40
    assert 60 < mean["lung"] < 190
    assert mean["vertebra"] > mean["lung"] + 30


def test_what_lies_behind_the_spine_is_in_its_shadow():
    rng = np.random.default_rng(2)
    anatomy = draw_anatomy(rng)
    exam = dataclasses.replace(draw_exam(rng, "internal", anatomy), approach=0.0)  # from the front, the spine below
    scanner = make_scanner(exam, make_scatterers(0), draw_seat(rng), rng)
    levels = []
    for height in np.arange(-34, -24, 0.7):  # some cuts meet vertebrae, others the discs between them
        pose = Pose(np.array([1.5, 0.5, height]), np.array([0.0, 0.0, 1.0]))
        shot = image(scanner, anatomy, beat_at(0), pose, rng)
        rows, columns = np.nonzero(shot.codes == CODE["vertebra"])
        skin = np.isin(shot.codes, [CODE["chest_muscle"], CODE["skin"]])
        if rows.size:
            behind = np.s_[rows.max() :, columns.min() : columns.max()]
            before = np.s_[: rows.min()]
            if np.count_nonzero(skin[behind]) > 20:
                levels.append((shot.grey[behind][skin[behind]].mean(), shot.grey[before][skin[before]].mean()))
    shadow, clear = np.mean(levels, 0)
    assert shadow < 0.7 * clear


def test_patients_differ_in_anatomy_and_lie_and_sites_in_machines():
    rng = np.random.default_rng(0)
    bodies = [draw_anatomy(rng) for _ in range(60)]
    inside = [draw_exam(rng, "internal", body) for body in bodies]
    outside = [draw_exam(rng, "external", body) for body in bodies]
    assert np.std([body.scale for body in bodies]) > 0.05
    assert {exam.mirrored for exam in inside} == {True, False}
    assert np.ptp([exam.approach for exam in inside]) > np.pi
    assert max(exam.frequency for exam in outside) < min(exam.frequency for exam in inside)
    assert not set(SITES["internal"].devices) & set(SITES["external"].devices)
