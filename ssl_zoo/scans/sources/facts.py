"""What is published about a data set: enough to find it, to cite it, and to see whether a copy of it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ssl_zoo.errors import UserError

UNITS = ("patient", "recording", "image")
SHOWN = 6  # names in a sentence, at most


@dataclass(frozen=True)
class Facts:
    """One data set, or one labelling of it.

    `counts`: published images (of scans: files) of each class or part; empty where nobody published them. `total`:
    published images (files) altogether; `n_patients`: published patients, or groups where `unit` is no patient.
    `unit`: what the data set tells apart: patients; only recordings, of which several may be of one patient; or single
    images. `unconfirmed`: `counts` are hearsay, so that a copy with other ones may well be whole.
    """

    title: str
    shows: str
    layout: str  # what lies in the folder that the source is given
    paper: str = ""
    licence: str = ""
    where: str = ""  # where to get it
    split: str = "none"
    patients: str = ""  # who counts as a patient
    unit: str = "patient"
    counts: Mapping[str, int] = field(default_factory=dict)
    total: int | None = None
    n_patients: int | None = None
    unconfirmed: bool = False
    unsure: str = ""  # what of the above is inferred or from third parties, and not stated by the authors

    def misfit(self, path: Path | str, problem: str) -> UserError:
        """The error for a folder that is not this data set: what is wrong, what should be there, where to get it."""
        source = f"; get it from {self.where}" if self.where else ""
        licence = f" (licence: {self.licence})" if self.licence else ""
        return UserError(f"{path}: {problem}; {self.title} has {self.layout}{source}{licence}")

    def deviations(self, counts: Mapping[str, int], n_patients: int | None = None, what: str = "images") -> list[str]:
        """Sentences on how a copy differs from what is published; none where all that is published agrees."""
        said = []
        differing = {name: given for name, given in self.counts.items() if counts.get(name, 0) != given}
        wrong = [f"{name} {counts.get(name, 0)} of {given}" for name, given in differing.items()]
        if wrong and self.unconfirmed:
            words = in_short([f"{counts.get(name, 0)} {name} (others: {given})" for name, given in differing.items()])
            said.append(
                f"{what} by class: {words}; the others' counts are not confirmed, so this copy may well be whole"
            )
        elif wrong:
            said.append(f"{what} that differ in number from those published: {in_short(wrong)}")
        if self.counts and (more := [name for name in counts if name not in self.counts]):
            said.append(f"not among what is published: {in_short(more)}")
        found = sum(counts.values())
        if self.total is not None and (not wrong or self.unconfirmed) and found != self.total:
            said.append(f"{found} {what}, where {self.total} are published")
        if n_patients is not None and self.n_patients is not None and n_patients != self.n_patients:
            said.append(f"{n_patients} {self.unit}s, where {self.n_patients} are published")
        return [f"{self.title}: {sentence}" for sentence in said]


def in_short(names: list[str], most: int = SHOWN) -> str:
    """`a, b, c and 4 more`."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def root_of(path: Path, marker: str, facts: Facts) -> Path:
    """The folder in which `marker` (a glob) matches: `path` itself, or one at most two folders below, as archives nest.

    Raises UserError where there is none, or several.
    """
    if not path.is_dir():
        raise facts.misfit(path, "no such folder")
    for depth in ("", "*/", "*/*/"):
        found = sorted({place for place in path.glob(f"{depth}{marker}") if not _is_litter(place.relative_to(path))})
        levels = marker.count("/") + 1
        roots = sorted({place.parents[levels - 1] for place in found})
        if len(roots) > 1:
            names = in_short([root.relative_to(path).as_posix() for root in roots], 3)
            raise UserError(f"{path}: {facts.title} is there several times ({names}); name one of these folders")
        if roots:
            return roots[0]
    raise facts.misfit(path, f"holds no '{marker}'")


def _is_litter(place: Path) -> bool:
    """Hidden files, and what a Mac leaves in archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in place.parts)
