"""From tissue to a B-mode image: scatterers, point-spread function, attenuation, envelope, log compression, sector.

The signal is complex baseband on the probe's own grid of depths and lines. Each point echoes with its tissue's
level times a complex scatterer from a fixed 3-D volume, read at the point's *material* position: speckle
therefore moves with the tissue and changes only as the plane leaves the thickness of the slice. The volume is
smoothed along the body axis, nearly the normal of all cardiac planes, which stands for the beam's elevational width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

from ssl_zoo.phantom.anatomy import Anatomy
from ssl_zoo.phantom.heartbeat import Beat, turned
from ssl_zoo.phantom.labels import label_points
from ssl_zoo.phantom.machine import Exam
from ssl_zoo.phantom.planes import Pose
from ssl_zoo.phantom.tissue import AMPLITUDE, ATTENUATION, CODE, IMPEDANCE

DEPTHS, LINES, MARGIN = 320, 160, 10  # samples along and across the sector; lines beyond each side, cut off again
VOXEL = 0.3  # mm, of the scatterer volume
VOLUME = (64, 256, 256)  # voxels along z, y, x; the volume repeats
SLICE = 0.9  # SD of the elevational beam width, mm
LEVEL = np.float32(2.0)  # brings uniform tissue back to its level: pulse and beam average many scatterers
LUMPS = 7.0  # the coarse echo texture of tissue is the same kind of volume, this much larger


@dataclass(frozen=True)
class Scatterers:
    """Two periodic volumes: complex scatterers with unit power, and a coarse texture with unit SD."""

    fine: np.ndarray  # complex64, VOLUME
    coarse: np.ndarray  # float32, VOLUME


@lru_cache(maxsize=1)
def make_scatterers(seed: int) -> Scatterers:
    """The scatterer volumes of a cohort. Patients read them at their own turn and offset, so none share speckle."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2**20]))
    blur = (SLICE / VOXEL, 0.6, 0.6)
    parts = [ndimage.gaussian_filter(rng.standard_normal(VOLUME, np.float32), blur, mode="wrap") for _ in range(2)]
    fine = (parts[0] + 1j * parts[1]).astype(np.complex64)
    coarse = ndimage.gaussian_filter(rng.standard_normal(VOLUME, np.float32), 1.0, mode="wrap")
    return Scatterers(fine / np.sqrt(np.mean(np.abs(fine) ** 2)), coarse / coarse.std())


@dataclass(frozen=True)
class Seat:
    """A patient's place in the scatterer volume: a turn about the body axis, an offset (mm), perhaps upside down."""

    turn: float
    offset: np.ndarray  # [3]
    flip: float


def draw_seat(rng: np.random.Generator) -> Seat:
    """A random seat."""
    return Seat(float(rng.uniform(0, 2 * np.pi)), rng.uniform(0, 100, 3), float(rng.choice([-1.0, 1.0])))


@dataclass(frozen=True)
class Scanner:
    """Everything about an exam that does not change from frame to frame, ready for `image`."""

    exam: Exam
    scatterers: Scatterers
    seat: Seat
    along: np.ndarray  # [DEPTHS, lines] mm along and across the middle line, from the probe's virtual apex
    across: np.ndarray
    depth: np.ndarray  # [DEPTHS] mm from the probe's face
    maternal: np.ndarray  # [DEPTHS, lines] bool
    layers: np.ndarray  # [DEPTHS, lines] echo of the maternal wall's fat, fascia and muscle against its mean
    blur_lines: np.ndarray  # [DEPTHS, lines] lateral transfer function
    blur_depth: np.ndarray  # [DEPTHS, 1] axial transfer function
    haze: np.ndarray  # [DEPTHS, lines] complex, near-field clutter, fixed to the probe
    noise: np.ndarray  # [DEPTHS, 1] level of the electronic noise
    pixels: np.ndarray  # [P] flat indices of the pixels inside the sector
    taps: np.ndarray  # [4, P] flat indices into the polar image
    weights: np.ndarray  # [4, P]
    nearest: np.ndarray  # [P] the tap with the largest weight
    size: int
    mm_per_pixel: float


def make_scanner(exam: Exam, scatterers: Scatterers, seat: Seat, rng: np.random.Generator, size: int = 256) -> Scanner:
    """Prepare an exam's grids, beam and scan conversion for square images of `size` pixels."""
    lines = LINES + 2 * MARGIN
    angle = (np.arange(lines) - (lines - 1) / 2) * (exam.sector / (LINES - 1))
    depth = np.linspace(exam.near, exam.depth, DEPTHS)
    radius = depth + exam.probe_radius
    step = (exam.depth - exam.near) / (DEPTHS - 1)
    # Diffraction: the beam is `beam` wide at the focus and spreads before and behind it, more at low frequency.
    spread = np.sqrt(1 + ((depth - exam.focus) / (0.42 * exam.focus)) ** 2) * (0.75 + 0.25 * depth / exam.focus)
    sd = exam.beam * spread / (radius * (exam.sector / (LINES - 1)))  # in lines
    omega = 2 * np.pi * np.fft.fftfreq(lines)
    core, lobes = (np.exp(-0.5 * (omega[None] * (sd * wide)[:, None]) ** 2) for wide in (1.0, 5.0))
    pulse = np.exp(-0.5 * (2 * np.pi * np.fft.fftfreq(DEPTHS) * exam.pulse / step) ** 2)
    noise = 10 ** ((exam.noise_db + 2 * exam.compensation * exam.frequency * (depth - 80) / 10) / 20)
    haze = rng.standard_normal((DEPTHS, lines, 2)) @ np.array([1, 1j])
    haze = ndimage.gaussian_filter1d(haze, 2.0, axis=0) * 2 * 10 ** (exam.haze_db / 20) * np.exp(-depth / 14)[:, None]
    wall, waves, phase = exam.maternal
    border = wall + waves * (np.sin(5 * angle + phase) + 0.5 * np.sin(11 * angle + 2 * phase))
    pixels, taps, weights, scale = _scan_conversion(exam, size)
    return Scanner(
        exam=exam,
        scatterers=scatterers,
        seat=seat,
        along=(radius[:, None] * np.cos(angle)).astype(np.float32),
        across=(radius[:, None] * np.sin(angle)).astype(np.float32),
        depth=depth.astype(np.float32),
        maternal=depth[:, None] < border,
        layers=_layers(rng, depth[:, None] - 0.6 * (border - wall)),
        blur_lines=((1 - exam.side_lobes) * core + exam.side_lobes * lobes).astype(np.float32),
        blur_depth=pulse[:, None].astype(np.float32),
        haze=haze.astype(np.complex64),
        noise=noise[:, None].astype(np.float32),
        pixels=pixels,
        taps=taps,
        weights=weights,
        nearest=np.take_along_axis(taps, weights.argmax(0)[None], 0)[0],
        size=size,
        mm_per_pixel=scale,
    )


def _layers(rng: np.random.Generator, depth: np.ndarray) -> np.ndarray:
    """Echo amplitude of the maternal wall's layers at depths in mm: bright sheets between darker ones, mean about 1."""
    at = np.arange(-10, 60, 0.25)
    waves = ndimage.gaussian_filter1d(rng.standard_normal(at.size), 2.5) * 2.2
    waves += ndimage.gaussian_filter1d(rng.standard_normal(at.size), 9.0) * 4.0
    return np.exp(np.interp(depth, at, 0.55 * waves)).astype(np.float32)


def _scan_conversion(exam: Exam, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Bilinear taps from the polar grid to the pixels of the sector, and the size of a pixel in mm."""
    half, start, end = exam.sector / 2, exam.probe_radius + exam.near, exam.probe_radius + exam.depth
    height, width = end - start * np.cos(half), 2 * end * np.sin(half)
    scale = max(height / (0.96 * size), width / (1.35 * size))  # a wide sector may leave the image at its sides
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    down = (rows - (size - 1) / 2) * scale + (end + start * np.cos(half)) / 2
    right = (columns - (size - 1) / 2) * scale
    radius, angle = np.hypot(down, right), np.arctan2(right, down)
    inside = (radius >= start) & (radius <= end) & (np.abs(angle) <= half)
    at_depth = (radius[inside] - start) / (end - start) * (DEPTHS - 1)
    at_line = (angle[inside] + half) / exam.sector * (LINES - 1)
    i, j = np.minimum(at_depth.astype(int), DEPTHS - 2), np.minimum(at_line.astype(int), LINES - 2)
    a, b = at_depth - i, at_line - j
    base = i * LINES + j
    taps = np.stack([base, base + 1, base + LINES, base + LINES + 1])
    weights = np.stack([(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b]).astype(np.float32)
    return np.flatnonzero(inside), taps, weights, float(scale)


@dataclass(frozen=True)
class Image:
    """One frame: grey levels and tissue codes (0 outside the sector), both uint8 [size, size]."""

    grey: np.ndarray
    codes: np.ndarray
    signal: np.ndarray  # polar envelope before compression, float32 [DEPTHS, LINES]


def image(
    scanner: Scanner,
    anatomy: Anatomy,
    beat: Beat,
    pose: Pose,
    rng: np.random.Generator,
    *,
    turn: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    before: np.ndarray | None = None,
) -> Image:
    """Form the image of `pose`. `turn` (radians) and `shift` (mm across and along) move the probe within the plane;
    `before` is the previous frame's `signal`, for persistence; `rng` gives the electronic noise alone."""
    exam = scanner.exam
    points = _points(scanner, anatomy, pose, turn, shift)  # [3, DEPTHS * lines]
    codes, material = label_points(anatomy, beat, points)
    codes = codes.reshape(scanner.along.shape)
    outside = codes <= CODE["amniotic_fluid"]
    outside |= codes == CODE["uterus_placenta"]
    codes[outside & scanner.maternal] = CODE["maternal_wall"]
    fine, coarse = _read(scanner, anatomy, material)
    echo = np.where(codes == CODE["maternal_wall"], scanner.layers, 1) * AMPLITUDE[codes]
    echo *= np.exp2(0.28 * coarse).reshape(codes.shape)
    signal = echo * fine.reshape(codes.shape) + _mirror(scanner, codes)
    signal *= _transmission(scanner, codes)
    signal += scanner.haze
    signal = fft.ifft(fft.fft(signal, axis=1) * scanner.blur_lines, axis=1)
    signal = fft.ifft(fft.fft(signal, axis=0) * scanner.blur_depth, axis=0)
    signal = np.asarray(signal)[:, MARGIN:-MARGIN] * LEVEL
    noise = rng.standard_normal((2, *signal.shape), np.float32)
    signal = signal + scanner.noise * (noise[0] + 1j * noise[1])
    power = signal.real**2 + signal.imag**2
    power = ndimage.gaussian_filter1d(power, exam.smooth, axis=1, truncate=2.5)
    envelope = np.sqrt(ndimage.gaussian_filter1d(power, 0.6, axis=0, truncate=2.0))
    if before is not None and exam.persistence:
        envelope = (1 - exam.persistence) * envelope + exam.persistence * before
    grey = np.zeros(scanner.size**2, np.uint8)
    shown = _compress(exam, envelope).ravel()
    grey[scanner.pixels] = np.einsum("kp,kp->p", shown[scanner.taps], scanner.weights) + 0.5
    labels = np.zeros(scanner.size**2, np.uint8)
    labels[scanner.pixels] = codes[:, MARGIN:-MARGIN].ravel()[scanner.nearest]
    square = (scanner.size, scanner.size)
    return Image(grey.reshape(square), labels.reshape(square), envelope)


def _points(scanner: Scanner, anatomy: Anatomy, pose: Pose, turn: float, shift: tuple[float, float]) -> np.ndarray:
    """The polar grid of a pose in thorax coordinates, float32 [3, N], 22-week mm."""
    exam = scanner.exam
    toward = exam.approach + turn
    down = -np.array([np.sin(toward), np.cos(toward), 0.0])
    down -= (down @ pose.normal) * pose.normal
    down /= np.linalg.norm(down)
    right = np.cross(pose.normal, down) * (-1 if exam.mirrored else 1)
    apex = pose.centre * anatomy.scale - down * (exam.probe_radius + exam.middle_depth - shift[1]) + right * shift[0]
    grid = [
        (np.float32(a) + scanner.along * np.float32(d) + scanner.across * np.float32(r)).ravel()
        for a, d, r in zip(apex, down, right, strict=True)
    ]
    return np.stack(grid) * np.float32(1 / anatomy.scale)


def _read(scanner: Scanner, anatomy: Anatomy, material: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scatterers (complex [N]) and coarse texture ([N]) at material points [3, N]."""
    seat = scanner.seat
    cosine, sine = np.cos(seat.turn), np.sin(seat.turn)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, seat.flip]])
    place = turned(turn * (anatomy.scale / VOXEL), material) + (seat.offset / VOXEL).astype(np.float32)[:, None]
    volumes = []
    for volume, size in ((scanner.scatterers.fine, 1.0), (scanner.scatterers.coarse, LUMPS)):
        x, y, z = np.floor(place if size == 1 else place * np.float32(1 / size)).astype(np.int32)
        depth, height, width = VOLUME  # powers of two: the mask is the remainder
        volumes.append(volume.ravel()[((z & (depth - 1)) * height + (y & (height - 1))) * width + (x & (width - 1))])
    return volumes[0], volumes[1]


def _mirror(scanner: Scanner, codes: np.ndarray) -> np.ndarray:
    """Specular echoes: jumps of impedance, strong where the surface faces the beam and weak where it runs along it."""
    impedance = ndimage.uniform_filter(IMPEDANCE[codes], 3)
    step = (scanner.depth[-1] - scanner.depth[0]) / (DEPTHS - 1)
    down = np.gradient(impedance, axis=0)
    spacing = scanner.along[:, LINES // 2, None] * np.float32(scanner.exam.sector / (LINES - 1))  # mm between lines
    side = np.gradient(impedance, axis=1) * (step / spacing)
    facing = down * down / (down * down + side * side + np.float32(1e-8))
    return np.float32(5.0) * np.abs(down) * facing * facing


def _transmission(scanner: Scanner, codes: np.ndarray) -> np.ndarray:
    """Amplitude left after the way there and back, with time gain compensation: bone shadows, fluid enhances."""
    exam = scanner.exam
    step = (exam.depth - exam.near) / (DEPTHS - 1) / 10  # cm
    loss = np.cumsum(ATTENUATION[codes], axis=0) * np.float32(exam.attenuation)
    gain = np.arange(DEPTHS, dtype=np.float32)[:, None] * np.float32(exam.compensation)
    decibel = (gain - loss) * np.float32(2 * exam.frequency * step)
    return np.exp(np.clip(decibel, -60, 8) * np.float32(np.log(10) / 20))


def _compress(exam: Exam, envelope: np.ndarray) -> np.ndarray:
    """Grey levels 0..255 of an envelope: logarithm over the dynamic range, then the machine's grey map."""
    level = 20 * np.log10(envelope + np.float32(1e-6)) + np.float32(exam.gain)
    grey = np.clip(1 + level / np.float32(exam.dynamic_range), 0, 1)
    return np.float32(255) * grey ** np.float32(exam.grey_curve)
