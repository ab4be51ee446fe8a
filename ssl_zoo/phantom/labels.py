"""Which tissue lies where: the codes of points in the thorax, and the material points that their speckle belongs to."""

from __future__ import annotations

import numpy as np

from ssl_zoo.phantom.anatomy import Anatomy, Tube, Vector
from ssl_zoo.phantom.heartbeat import Beat, at_rest, turned
from ssl_zoo.phantom.tissue import CODE

HEART_REACH = 25.0  # mm around the heart and the great vessels that move or need a closer look
HEART_MIDDLE = (1.0, 0.0, 5.0)
WALL = 4.2  # thickness of the chest wall, mm


def label_points(anatomy: Anatomy, beat: Beat, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tissue codes uint8 [N] and material points float32 [3, N] of thorax points float32 [3, N] (22-week mm).

    What lies outside the chest is amniotic fluid or uterus; the maternal wall belongs to the probe and is laid
    over it in the image.
    """
    x, y, z = points
    distance, angle = _chest(anatomy, x, y, z)
    codes = np.full(x.shape, CODE["amniotic_fluid"], np.uint8)
    outside = np.flatnonzero(distance > 0)
    codes[outside[distance[outside] > _pocket(anatomy, angle[outside], z[outside])]] = CODE["uterus_placenta"]
    wall = np.flatnonzero((distance <= 0) & (distance > -WALL))
    codes[wall] = _wall(anatomy, distance[wall], angle[wall], z[wall])
    inner = np.flatnonzero(distance <= -WALL)
    codes[inner] = _organs(anatomy, x[inner], y[inner], z[inner])

    material = points
    near = (x - HEART_MIDDLE[0]) ** 2 + (y - HEART_MIDDLE[1]) ** 2 + (z - HEART_MIDDLE[2]) ** 2 < HEART_REACH**2
    heart = np.flatnonzero(near & (distance <= -WALL + 1))
    if heart.size:
        crux = anatomy.crux.astype(np.float32)[:, None]
        rest = np.stack(at_rest(anatomy, beat, *turned(anatomy.axes, points[:, heart] - crux)))
        rest = rest.astype(np.float32, copy=False)  # [3, M], heart frame
        moved = turned(anatomy.axes.T, rest) + crux
        material = points.copy()
        material[:, heart] = moved
        codes[heart] = _heart_and_vessels(anatomy, beat, codes[heart], rest, moved)
    spine = np.flatnonzero((np.abs(x) < 7) & (y < -11) & (distance < -0.8))
    codes[spine] = _spine(codes[spine], x[spine], y[spine], z[spine])
    return codes, material


def _chest(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed distance to the skin (mm, negative inside) and angle around the chest (0 at the spine, +-pi in front)."""
    taper = 1 - 0.22 / (1 + np.exp((19 - z) / 4)) - 0.04 * np.clip((-z - 10) / 20, 0, 1)
    a, b = x / (anatomy.chest[0] * taper), (y + 1) / (anatomy.chest[1] * taper)
    radius = (np.abs(a) ** np.float32(2.4) + np.abs(b) ** np.float32(2.4)) ** np.float32(1 / 2.4)
    return (radius - 1) * np.float32(sum(anatomy.chest) / 2) * taper, np.arctan2(a, -b)


def _pocket(anatomy: Anatomy, angle: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Depth of the amniotic fluid around the chest, mm."""
    terms, turn = anatomy.pocket, angle + 0.02 * z
    waves = sum(terms[k] * np.cos(k * turn) + terms[k + 2] * np.sin(k * turn) for k in (1, 2))
    return np.maximum(terms[0] + waves + terms[5] * np.sin(0.15 * z), 0.5)


def _wall(anatomy: Anatomy, distance: np.ndarray, angle: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Skin, muscle and the ribs, which run down from the spine to the front and are cartilage near the sternum."""
    codes = np.where(distance > -0.8, CODE["skin"], CODE["chest_muscle"]).astype(np.uint8)
    first, pitch, drop = anatomy.ribs
    around = np.abs(angle) / np.pi
    height = (z - first + drop * (1 - np.cos(np.pi * around)) / 2) / pitch
    rib = (np.abs(height - np.round(height)) * pitch < 1.05) & (np.abs(distance + 3) < 0.8)
    codes[rib & (around > 0.12) & (around < 0.66)] = CODE["rib"]
    codes[distance < -WALL + 0.4] = np.where(rib, CODE["rib"], CODE["pericardium"])[distance < -WALL + 0.4]
    return codes


def _organs(anatomy: Anatomy, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Lungs above the diaphragm, liver and stomach below it, mediastinum and thymus in the middle."""
    codes = np.full(x.shape, CODE["lung"], np.uint8)
    dome = z - (-8.5 - 0.022 * (x * x + (y - 2) ** 2))  # above the diaphragm
    codes[dome < 0.5] = CODE["diaphragm"]
    codes[dome < -0.5] = CODE["liver"]
    stomach = ((x - 9) / 6) ** 2 + ((y + 3) / 5) ** 2 + ((z + 21) / 5.5) ** 2
    codes[(stomach < anatomy.stomach**2) & (dome < -0.5)] = CODE["stomach"]
    above = dome > 0.5
    middle = ((x - 0.2) / (7.5 + 0.1 * np.clip(z - 8, 0, 10))) ** 2 + ((y + 3.5) / 9) ** 2 < 1
    codes[above & middle & (z > 4)] = CODE["mediastinum"]
    thymus = (x / (8.5 + 0.3 * np.clip(z - 10, -4, 5))) ** 2 + ((y - 9.5) / 6.5) ** 2 + ((z - 18) / 11) ** 2 < 1
    codes[above & thymus] = CODE["thymus"]
    return codes


def _spine(codes: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Vertebral body and two arches (the three bright spots of an axial cut), cartilage and discs between."""
    gap = np.abs((z / 4.4) % 1 - 0.5) > 0.36  # the disc between two ossified centres
    body = x * x + (y + 15) ** 2
    codes[(body < 3.4**2) | (x * x / 5.5**2 + (y + 18.6) ** 2 / 2.8**2 < 1)] = CODE["spinal_soft_tissue"]
    codes[(body < 2.3**2) & ~gap] = CODE["vertebra"]
    arch = (np.abs(x) - 2.9 + 0.35 * (-18.2 - y)) ** 2 + ((y + 18.6) / 2) ** 2 * 1.6
    codes[(arch < 0.95**2) & (np.abs(y + 18.6) < 2)] = CODE["vertebra"]
    codes[x * x + (y + 18) ** 2 < 1.5**2] = CODE["stomach"]  # the canal, fluid
    return codes


def _ellipsoid(u: np.ndarray, v: np.ndarray, w: np.ndarray, centre: Vector, radii: Vector) -> np.ndarray:
    """Approximate signed distance to an ellipsoid, mm, negative inside."""
    parts = zip((u, v, w), centre, radii, strict=True)
    a, b, c = ((points - np.float32(middle)) * np.float32(1 / radius) for points, middle, radius in parts)
    level = np.sqrt(a * a + b * b + c * c)
    slope = np.sqrt((a / radii[0]) ** 2 + (b / radii[1]) ** 2 + (c / radii[2]) ** 2) + 1e-6
    return level * (level - 1) / slope


def _heart_and_vessels(
    anatomy: Anatomy, beat: Beat, codes: np.ndarray, rest: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Paint heart and vessels over the organs: `rest` [3, M] in the heart frame, `points` [3, M] in the thorax's."""
    u, v, w = rest
    size, right, atrium = anatomy.ventricle, anatomy.ventricle * anatomy.right_left, anatomy.atrium
    septum = anatomy.septum
    left_v = _ellipsoid(u, v, w, (4.6, septum + 3.2 * size, 0), (8.3 * size, 3.2 * size, 4.2 * size))
    right_v = _ellipsoid(u, v, w, (4.8, -septum - 3.4 * right, 0.3), (8.0 * right, 3.6 * right, 4.8 * right))
    left_a = _ellipsoid(u, v, w, (-3.8, 0.45 + 3.9 * atrium, 0), (4.7 * atrium, 3.9 * atrium, 4.4 * atrium))
    right_a = _ellipsoid(u, v, w, (-3.0, -0.45 - 4.0 * atrium, 0), (4.8 * atrium, 4.0 * atrium, 4.5 * atrium))
    thick = np.float32(2.2 * anatomy.wall)

    lumen, walls = _tubes(anatomy.tubes, points, 0.05 * beat.outflow)
    muscle = np.minimum(left_v - thick, right_v - 0.85 * thick)
    muscle = np.minimum(muscle, np.minimum(left_a, right_a) - 0.9)
    crux = np.sqrt(u * u + v * v + w * w) - 3.2
    outflow = lumen_distance(anatomy.tubes[-1].points[:3], anatomy.tubes[-1].radii[:3], points) - 1.3
    muscle = np.minimum(np.minimum(muscle, crux), outflow)

    codes = codes.copy()
    codes[muscle < 0.6] = CODE["pericardium"]
    codes[muscle < 0] = CODE["myocardium"]
    between = (np.abs(v) < septum + 0.25) & (np.abs(w) < 5.5)
    codes[between & (u > 0) & (muscle < 0) & (u < 13)] = CODE["ventricular_septum"]
    codes[between & (u <= 0) & (muscle < 0) & (np.abs(v) < 0.9)] = CODE["atrial_septum"]
    codes[walls < 0] = CODE["vessel_wall"]
    inside_v = (right_v < 0) & (u > 1.2)
    codes[inside_v & (left_v > 2 * septum - 0.1)] = CODE["right_ventricle"]
    codes[(left_v < 0) & (u > 0)] = CODE["left_ventricle"]
    codes[(right_a < 0) & (u <= 1.2) & (v < -0.4)] = CODE["right_atrium"]
    codes[(left_a < 0) & (u <= 0) & (v > 0.4)] = CODE["left_atrium"]
    codes[_foramen(anatomy, u, v, w)] = CODE["right_atrium"]
    codes[_flap(anatomy, u, v, w)] = CODE["atrial_septum"]
    for tube, inside in zip(anatomy.tubes, lumen, strict=True):
        codes[inside] = tube.code
    # the first pieces of the two outflow tubes lie inside the ventricles
    codes[(codes == CODE["aorta"]) & (left_v < 0.4) & (w < 2.2) & (u > 0.8)] = CODE["left_ventricle"]
    infundibulum = (codes == CODE["pulmonary_artery"]) & ((points - anatomy.pulmonary_valve[:, None])[2] < 0)
    codes[infundibulum] = CODE["right_ventricle"]
    codes[_trabeculae(u, v, w) & np.isin(codes, (CODE["right_ventricle"], CODE["left_ventricle"]))] = CODE["myocardium"]
    codes[_valves(anatomy, beat, u, v, w, points)] = CODE["valve"]
    x, y, z = points
    windpipe = np.sqrt((x + 1.7) ** 2 + (y + 8.3) ** 2)
    airway = (z > 8) & (windpipe < 1.9)
    codes[airway] = CODE["trachea_wall"]
    codes[airway & (windpipe < 1.15)] = CODE["trachea"]
    return codes


def lumen_distance(chain: np.ndarray, radii: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Signed distance (mm, negative inside) of `points` [3, N] to a chain of capsules `[K, 3]` with radii `[K]`."""
    nearest = np.full(points.shape[1], 1e3, np.float32)
    x, y, z = points
    for start, end, first, last in zip(chain[:-1], chain[1:], radii[:-1], radii[1:], strict=True):
        bx, by, bz = (end - start).astype(np.float32)
        px, py, pz = x - np.float32(start[0]), y - np.float32(start[1]), z - np.float32(start[2])
        along = (px * bx + py * by + pz * bz) * np.float32(1 / (bx * bx + by * by + bz * bz))
        np.clip(along, 0, 1, out=along)
        px -= along * bx
        py -= along * by
        pz -= along * bz
        reach = np.sqrt(px * px + py * py + pz * pz) - (np.float32(first) + along * np.float32(last - first))
        np.minimum(nearest, reach, out=nearest)
    return nearest


def _tubes(tubes: tuple[Tube, ...], points: np.ndarray, pulse: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Which points lie in each lumen (boolean [M] per tube), and the signed distance [M] to the nearest outer wall."""
    lumen, walls = [], np.full(points.shape[1], 1e3, np.float32)
    for tube in tubes:
        low = tube.points.min(0) - tube.radii.max() - 1
        high = tube.points.max(0) + tube.radii.max() + 1
        close = ((points > low[:, None]) & (points < high[:, None])).all(0)
        where = np.flatnonzero(close)
        inside = np.zeros(points.shape[1], bool)
        if where.size:
            distance = lumen_distance(tube.points, tube.radii * (1 + pulse), points[:, where])
            inside[where] = distance < 0
            walls[where] = np.minimum(walls[where], distance - tube.wall)
        lumen.append(inside)
    return lumen, walls


def _foramen(anatomy: Anatomy, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The oval foramen: the hole in the atrial septum."""
    return ((u + 4.0) ** 2 / 1.6**2 + w * w / 2.0**2 < 1) & (np.abs(v) < 1.0) & (u < 0)


def _flap(anatomy: Anatomy, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The foramen's flap, which the blood stream bows into the left atrium."""
    bow = 0.7 + anatomy.flap * np.clip(1 - ((u + 4.0) / 2.4) ** 2, 0, None)
    return (np.abs(v - bow) < 0.32) & (np.abs(u + 4.0) < 2.3) & (np.abs(w) < 2.8)


def _segment(u, v, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """Distance to a segment in the (u, v) plane."""
    bu, bv = end[0] - start[0], end[1] - start[1]
    along = np.clip(((u - start[0]) * bu + (v - start[1]) * bv) / (bu * bu + bv * bv), 0, 1)
    return np.hypot(u - start[0] - along * bu, v - start[1] - along * bv)


def _trabeculae(u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The moderator band near the right apex and the papillary muscles of the left ventricle."""
    band = (_segment(u, v, (7.2, -1.0), (9.2, -6.2)) < 0.75) & (np.abs(w) < 1.3)
    rough = (u > 10.2) & (v < -1) & (np.sin(2.6 * u) * np.sin(2.9 * v + 1) * np.sin(2.3 * w + 0.5) > 0.1)
    papillary = (np.hypot(v - 5.6, np.abs(w) - 2.4) < 0.95) & (np.abs(u - 6.8) < 2.2)
    return band | rough | papillary


def _valves(anatomy: Anatomy, beat: Beat, u, v, w, points: np.ndarray) -> np.ndarray:
    """Leaflets: mitral and tricuspid ones swing on their ring (the tricuspid's is nearer to the apex), arterial ones
    close in diastole."""
    found = np.zeros(u.shape, bool)
    for ring, side, size in ((0.0, 1.0, anatomy.ventricle), (1.2, -1.0, anatomy.ventricle * anatomy.right_left)):
        middle = side * (anatomy.septum + 3.1 * size)
        for hinge in (-2.75 * size, 2.75 * size):
            opened, closed = (ring + 3.0, middle + 0.72 * hinge), (ring + 0.9, middle + 0.04 * hinge)
            o = beat.inflow
            tip = (o * opened[0] + (1 - o) * closed[0], o * opened[1] + (1 - o) * closed[1])
            found |= (_segment(u, v, (ring, middle + hinge), tip) < 0.34) & (np.abs(w) < 3.2)
    if beat.outflow < 0.5:
        for tube in (anatomy.tubes[-2], anatomy.tubes[-1]):
            valve, before, after = tube.points[2], tube.points[1], tube.points[3]
            along = (after - before) / np.linalg.norm(after - before)
            offset = points - valve[:, None]
            depth = along @ offset
            found |= (np.abs(depth) < 0.3) & ((offset * offset).sum(0) - depth * depth < tube.radii[2] ** 2)
    return found
