"""How many different frames a store amounts to, how near its frames are to each other, and how that grows with size.

Frames are compared by the cosine of their descriptors (see `descriptors`).

Effective number: the Vendi score (Friedman and Dieng, TMLR 2023), exp of the entropy of the eigenvalues of the frames'
Gram matrix divided by their number. It is N for N frames that have nothing in common, 1 for N copies, k for k groups of
copies of equal size, and at most the number of bytes of a descriptor, 248. The Gram matrix `[N, N]` and its dual
`[248, 248]` share their eigenvalues, so that the smaller one is taken, and the cost grows with N alone.

Nearest neighbour: the cosine distance (1 - cosine) of a frame to the nearest other one; a frame whose nearest one is
within `NEAR` has a near duplicate. Comparing all with all would grow with N²: beyond `PAIRS` pairs (`OWN_PAIRS` within
a scan or patient), mean and share are those of frames drawn by lot, each of which is still compared with all others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_zoo import files
from ssl_zoo.scans.descriptors import describe_all
from ssl_zoo.scans.store import FrameStore

VERSION = 1
FILE = "diversity.json"  # beside store.json
NEAR = 0.01  # cosine distance; a change of gain or a new compression stays below, a shift by 1/64 of the width does not
PAIRS = 400_000_000  # seconds of work, not minutes
OWN_PAIRS = 4_000_000
FEWEST = 1000  # frames whose neighbours are looked for, however large the store
ORDERS = 5  # in which frames, and scans, are added to draw a curve
PER_DECADE = 4  # points of a curve
BLOCK = 4096  # frames compared at a time


@dataclass(frozen=True)
class Spread:
    """How different some frames are from each other.

    `effective`: 1 to `frames`. `nearest`: mean cosine distance to the nearest other frame, 0 to 2, None for a frame
    alone. `near_duplicates`: share of the frames that have one, 0 to 1.
    """

    frames: int
    effective: float
    nearest: float | None
    near_duplicates: float


@dataclass(frozen=True)
class CurvePoint:
    """The effective number among the first `frames` in a random order: mean, least and most of `ORDERS` orders.

    Where whole scans are added, `frames` is the mean number that so many scans have.
    """

    frames: float
    effective: float
    low: float
    high: float


@dataclass(frozen=True)
class Diversity:
    """The diversity of a store: as a whole, within each scan and within each patient, and of growing parts of it.

    `compared`: how many frames' nearest neighbours `whole` rests on. `by_frames` adds single frames in random order,
    `by_scans` whole scans: where the second lies lower, frames of the same scan repeat each other.
    """

    store: str  # its fingerprint
    seed: int
    compared: int
    whole: Spread
    scans: dict[str, Spread]
    patients: dict[str, Spread]
    by_frames: tuple[CurvePoint, ...]
    by_scans: tuple[CurvePoint, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it, with what the numbers depend on."""
        return {"version": VERSION, "near": NEAR, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, card: dict[str, Any]) -> Diversity:
        """What `to_json` wrote."""
        scans, patients = ({k: Spread(**entry) for k, entry in card[name].items()} for name in ("scans", "patients"))
        frames, wholes = (tuple(CurvePoint(**entry) for entry in card[name]) for name in ("by_frames", "by_scans"))
        return cls(
            card["store"], card["seed"], card["compared"], Spread(**card["whole"]), scans, patients, frames, wholes
        )

    def sentence(self) -> str:
        """One line for people."""
        nearest = "" if self.whole.nearest is None else f"; to the nearest other one {self.whole.nearest:.3f}"
        return (
            f"{self.whole.frames:,} frames of {len(self.scans):,} scans are as diverse as {self.whole.effective:.1f} "
            f"that have nothing in common{nearest}; {self.whole.near_duplicates:.0%} have a near duplicate"
        )


def diversity(store: FrameStore, *, seed: int = 0) -> Diversity:
    """Describe every frame of a store and measure their diversity; about 20 seconds for 100,000 frames."""
    descriptors = np.concatenate(list(describe_all(store.frames)))
    scans, patients = (store.index[name].to_numpy(str) for name in ("scan_id", "patient_id"))
    return measure(descriptors, scans, patients, store=store.fingerprint, seed=seed)


def known_diversity(store: FrameStore) -> Diversity:
    """The diversity that stands in diversity.json beside the store; measured and written there where it is missing."""
    path = store.path / FILE
    if path.is_file():
        card = files.read_json(path)
        if (card.get("version"), card.get("near"), card.get("store")) == (VERSION, NEAR, store.fingerprint):
            return Diversity.from_json(card)
    found = diversity(store)
    files.write_json(path, found.to_json())
    return found


def measure(
    descriptors: np.ndarray, scans: np.ndarray, patients: np.ndarray, *, store: str = "", seed: int = 0
) -> Diversity:
    """The diversity of frames with these descriptors `[N, D]`, scans and patients (str `[N]`)."""
    rng = np.random.default_rng([seed])
    queries = _some(len(descriptors), PAIRS, rng)
    alone = np.arange(len(descriptors))
    return Diversity(
        store=store,
        seed=seed,
        compared=len(queries),
        whole=spread(descriptors, queries),
        scans=_within(descriptors, scans, rng),
        patients=_within(descriptors, patients, rng),
        by_frames=_curve(descriptors, [_shuffled(alone, rng) for _ in range(ORDERS)]),
        by_scans=_curve(descriptors, [_shuffled(scans, rng) for _ in range(ORDERS)]),
    )


def spread(descriptors: np.ndarray, queries: np.ndarray | None = None) -> Spread:
    """How different some frames are; `queries` are the rows whose nearest neighbours are looked for (None: all)."""
    n_frames = len(descriptors)
    nearest = nearest_distances(descriptors, np.arange(n_frames) if queries is None else queries)
    alone = n_frames < 2
    return Spread(
        frames=n_frames,
        effective=effective_number(descriptors),
        nearest=None if alone else float(nearest.mean()),
        near_duplicates=0.0 if alone else float((nearest <= NEAR).mean()),
    )


def effective_number(descriptors: np.ndarray) -> float:
    """The Vendi score of the frames with these descriptors `[N, D]`, none of which is all zeros."""
    n_frames, size = descriptors.shape
    if n_frames < size:
        unit = _unit(descriptors)
        return _exp_entropy(unit @ unit.T, n_frames)
    moment = np.zeros((size, size))
    for block in _blocks(descriptors, np.arange(n_frames)):
        moment += _dual(block)
    return _exp_entropy(moment, n_frames)


def nearest_distances(descriptors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The cosine distance from each of the rows `queries` (int `[Q]`) to the nearest other row: float64 `[Q]`."""
    closest = np.full(len(queries), -1.0)
    for begin in range(0, len(queries), BLOCK):
        rows = queries[begin : begin + BLOCK]
        unit = _unit(descriptors[rows]).astype(np.float32)
        best = closest[begin : begin + BLOCK]
        for start in range(0, len(descriptors), BLOCK):
            block = _unit(descriptors[start : start + BLOCK]).astype(np.float32)
            cosine = unit @ block.T  # [q, b]
            itself = (rows >= start) & (rows < start + len(block))
            cosine[itself, rows[itself] - start] = -1
            np.maximum(best, cosine.max(axis=1), out=best)
    return np.maximum(1 - closest, 0)


def _some(n_frames: int, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """The frames whose nearest neighbours are looked for: all, or as many as `pairs` allows, drawn by lot."""
    return rng.permutation(n_frames)[: max(FEWEST, pairs // n_frames)]


def _groups(names: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of each name, ascending."""
    known, member = np.unique(names, return_inverse=True)
    rows = np.split(np.argsort(member, kind="stable"), np.cumsum(np.bincount(member))[:-1])
    return dict(zip(map(str, known), rows, strict=True))


def _within(descriptors: np.ndarray, names: np.ndarray, rng: np.random.Generator) -> dict[str, Spread]:
    """The spread of the frames of each scan, or patient."""
    return {name: spread(descriptors[rows], _some(len(rows), OWN_PAIRS, rng)) for name, rows in _groups(names).items()}


def _shuffled(names: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """All rows, group by group in random order: int64 `[N]`; and where each group ends: int64 `[groups]`."""
    member = np.unique(names, return_inverse=True)[1]
    rank = rng.permutation(member.max() + 1)[member]  # of each row's group
    return np.argsort(rank, kind="stable"), np.cumsum(np.bincount(rank))


def _curve(descriptors: np.ndarray, orders: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[CurvePoint, ...]:
    """The effective number among the first groups of each order, at about `PER_DECADE` sizes per decade."""
    n_groups = len(orders[0][1])
    decades = np.arange(PER_DECADE * np.log10(n_groups) + 1) / PER_DECADE
    sizes = np.unique(np.minimum(np.round(10**decades), n_groups).astype(np.int64))
    frames = np.array([ends[sizes - 1] for _, ends in orders])  # [orders, sizes]
    effective = np.zeros(frames.shape)
    for number, (rows, _) in enumerate(orders):
        moment = np.zeros((descriptors.shape[1], descriptors.shape[1]))
        before = 0
        for place, n_frames in enumerate(frames[number]):
            for block in _blocks(descriptors, rows[before:n_frames]):
                moment += _dual(block)
            before = n_frames
            effective[number, place] = _exp_entropy(moment, n_frames)
    columns = frames.mean(0), effective.mean(0), effective.min(0), effective.max(0)
    return tuple(CurvePoint(*map(float, point)) for point in zip(*columns, strict=True))


def _blocks(descriptors: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BLOCK):
        yield descriptors[rows[start : start + BLOCK]]


def _unit(descriptors: np.ndarray) -> np.ndarray:
    """Scaled to length 1, float64."""
    points = np.asarray(descriptors, np.float64)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def _dual(descriptors: np.ndarray) -> np.ndarray:
    unit = _unit(descriptors)
    return unit.T @ unit


def _exp_entropy(moment: np.ndarray, n_frames: int) -> float:
    """exp of the entropy of a symmetric matrix's eigenvalues, divided by `n_frames` so that their sum is 1."""
    values = np.linalg.eigvalsh(moment / n_frames)
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))
