"""Reading an experiment file: its keys, overrides from the command line, and everything that can be checked now."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_zoo.config.check import check
from ssl_zoo.config.schema import BUDGETS, Experiment, FramesConfig, PretrainConfig
from ssl_zoo.config.variants import SHARED, SHARED_FRAMES, frames_of, variant_of, writable
from ssl_zoo.errors import UserError

Section = TypeVar("Section", PretrainConfig, FramesConfig)


def load_experiment(path: Path | str, overrides: Sequence[str] = ()) -> Experiment:
    """Read an experiment file, apply `key.sub=value` overrides, check everything that can be checked now.

    Raises UserError that names the file and the key: unknown keys (with the nearest valid one), wrong types,
    impossible values.
    """
    path = Path(path)
    if not path.is_file():
        siblings = sorted(str(p) for p in path.parent.glob("*.yaml")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(str(path), siblings, n=1, cutoff=0.4)
        raise UserError(f"{path}: no such experiment file" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        given = OmegaConf.load(path)
    except Exception as error:  # PyYAML and OmegaConf raise many kinds here; each is told and none is swallowed
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not OmegaConf.is_dict(given):
        raise UserError(f"{path}: an experiment is a mapping of keys to values")
    for override in overrides:
        if "=" not in override:
            raise UserError(f"'{override}' is not an override; write key.sub=value")
    try:
        given = OmegaConf.merge(given, OmegaConf.from_dotlist(list(overrides)))
        keys = OmegaConf.to_container(given, resolve=False)
        refuse_unknown_keys(keys, Experiment, str(path))
        if "name" not in given:
            raise UserError(f"{path}: the key 'name' is missing")
        defaults: list[Any] = [writable(OmegaConf.structured(Experiment))]
        if any(OmegaConf.select(given, f"pretrain.budget.{kind}") is not None for kind in BUDGETS):
            # A budget that is given leaves nothing of the default one.
            defaults.append({"pretrain": {"budget": dict.fromkeys(BUDGETS)}})
        experiment = OmegaConf.to_object(OmegaConf.merge(*defaults, given))
    except OmegaConfBaseException as error:
        raise wrong_type(error, str(path)) from error
    assert isinstance(experiment, Experiment)
    if experiment.published:  # whether it is there is asked before work, not by those who read a run folder elsewhere
        experiment = dataclasses.replace(experiment, published=str((path.parent / experiment.published).resolve()))
    _check_variants(experiment, str(path))
    check(experiment, str(path))
    return experiment


def dump(experiment: Experiment) -> str:
    """The resolved experiment as YAML, loadable again."""
    return OmegaConf.to_yaml(OmegaConf.create(dataclasses.asdict(experiment)))


def _check_variants(experiment: Experiment, source: str) -> None:
    """Keys and types within `pretrain.variants`."""
    pretrain = experiment.pretrain
    if pretrain.frames:
        raise UserError(f"{source}: pretrain.frames: only a variant has frames of its own; set frames.* instead")
    for name, keys in pretrain.variants.items():
        prefix = f"pretrain.variants.{name}."
        _check_changes(keys, pretrain, SHARED, variant_of, source, "pretrain.", prefix)
        if "frames" in keys:
            _check_changes(
                keys["frames"], experiment.frames, SHARED_FRAMES, frames_of, source, "frames.", f"{prefix}frames."
            )


def _check_changes(
    changes: Any,
    section: Section,
    shared: Collection[str],
    merge: Callable[[Section, dict[str, Any]], Section],
    source: str,
    common: str,
    prefix: str,
) -> None:
    """Keys and types that a variant changes in a section; `common` and `prefix` open the keys of both."""
    refuse_unknown_keys(changes, type(section), source, prefix)
    for key in changes:
        if key in shared:
            raise UserError(f"{source}: {prefix}{key}: all variants share '{key}'; set {common}{key} instead")
    try:
        merge(section, changes)
    except OmegaConfBaseException as error:
        raise wrong_type(error, source, prefix) from error


def wrong_type(error: OmegaConfBaseException, source: str, prefix: str = "") -> UserError:
    """What OmegaConf says against a value, with the file and the key."""
    key = getattr(error, "full_key", None)
    reason = str(getattr(error, "msg", None) or error).splitlines()[0]
    return UserError(f"{source}: {f'{prefix}{key}: ' if key else ''}{reason}")


def refuse_unknown_keys(given: Any, schema: type, source: str, prefix: str = "") -> None:
    """Compare the keys of a mapping with the fields of a dataclass, level by level."""
    hints = typing.get_type_hints(schema)
    if not isinstance(given, dict):
        raise UserError(f"{source}: {prefix.rstrip('.')}: a mapping of keys is needed, not {given!r}")
    for key, value in given.items():
        if key not in hints:
            near = difflib.get_close_matches(str(key), list(hints), n=1, cutoff=0.5)
            hint = f"; did you mean '{prefix}{near[0]}'?" if near else f" (known: {', '.join(hints)})"
            raise UserError(f"{source}: unknown key '{prefix}{key}'{hint}")
        if dataclasses.is_dataclass(hints[key]) and isinstance(hints[key], type):
            refuse_unknown_keys(value, hints[key], source, f"{prefix}{key}.")
        elif (parts := typing.get_args(hints[key])) and dataclasses.is_dataclass(parts[-1]) and isinstance(value, dict):
            for name, entry in value.items():
                refuse_unknown_keys(entry, typing.cast(type, parts[-1]), source, f"{prefix}{key}.{name}.")
