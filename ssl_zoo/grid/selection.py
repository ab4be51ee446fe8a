"""A part of a plan: the cells of some inits, modes or label fractions, or those that have failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ssl_zoo.errors import unknown
from ssl_zoo.grid.plan import Cell, Plan

AXES = ("init", "mode", "fraction")


@dataclass(frozen=True)
class Selection:
    """What is wanted of a plan; by default, all of it."""

    only: tuple[str, ...] = ()  # patterns, of which a cell matches one: "simclr", "linear/0.1", "simclr@*/finetune"
    retry_failed: bool = False  # only cells that have failed before

    @property
    def is_all(self) -> bool:
        return not self.only and not self.retry_failed


def select(plan: Plan, wanted: Selection, failed: Mapping[str, str]) -> Plan:
    """The part of the plan that is wanted, with the pre-training that it needs.

    A pattern's parts, between slashes, are names of inits, modes and fractions, with * and ? as in a shell. Parts of
    one kind add up, parts of several kinds must all match. Raises UserError for a part that matches nothing, with the
    nearest name.
    """
    if wanted.is_all:
        return plan
    cells = plan.cells
    names = names_of(plan)
    if wanted.only:
        asked = [_axes_of(pattern, names) for pattern in wanted.only]
        # of each kind the names that match, so that 100,000 cells are compared with sets and not with patterns
        cells = [cell for cell in cells if any(_matches(cell, axes) for axes in asked)]
    if wanted.retry_failed:
        cells = [cell for cell in cells if cell.key in failed]
    inits = {cell.init for cell in cells}
    return Plan([pretraining for pretraining in plan.pretrainings if pretraining.init in inits], cells)


def names_of(plan: Plan) -> dict[str, list[str]]:
    """All names that a pattern may have, by their kind."""
    found: dict[str, dict[str, None]] = {axis: {} for axis in AXES}
    for cell in plan.cells:
        for axis, name in zip(AXES, _names(cell), strict=True):
            found[axis][name] = None
    return {axis: list(names) for axis, names in found.items()}


def _names(cell: Cell) -> tuple[str, str, str]:
    return cell.init.name, cell.mode, f"{cell.fraction:g}"


def _axes_of(pattern: str, names: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """The names of each kind that a pattern asks for; kinds that it does not speak of are left out."""
    asked: dict[str, set[str]] = {}
    for part in pattern.split("/"):
        part = part.strip()
        found = {axis: {name for name in names[axis] if _is_like(name, part, axis)} for axis in AXES}
        if not any(found.values()):
            every = [name for axis in AXES for name in names[axis]]
            raise unknown("init, mode or fraction", part, every)
        for axis, matching in found.items():
            if matching:
                asked.setdefault(axis, set()).update(matching)
                break  # "*" alone is every init
    return asked


def _is_like(name: str, part: str, axis: str) -> bool:
    if axis == "fraction":
        try:
            return float(part) == float(name)  # 0.10 is 0.1
        except ValueError:
            pass
    return fnmatchcase(name, part)


def _matches(cell: Cell, asked: Mapping[str, set[str]]) -> bool:
    return all(name in asked[axis] for axis, name in zip(AXES, _names(cell), strict=True) if axis in asked)
