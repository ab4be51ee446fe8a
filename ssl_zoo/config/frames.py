"""The keys of `frames` alone, for a store that belongs to no experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_zoo.config.load import refuse_unknown_keys, wrong_type
from ssl_zoo.config.schema import FramesConfig
from ssl_zoo.config.variants import frames_of
from ssl_zoo.errors import UserError


def frames_config(given: Mapping[str, Any], overrides: Sequence[str] = ()) -> FramesConfig:
    """The keys of `frames`: those `given`, and `key=value` overrides over them, with or without a leading `frames.`.

    Raises UserError for an unknown key (with the nearest valid one) or a wrong type.
    """
    for override in overrides:
        if "=" not in override:
            raise UserError(f"'{override}' is not an override; write key=value, such as per_scan=16")
    try:
        dotted = OmegaConf.from_dotlist([override.removeprefix("frames.") for override in overrides])
        keys = OmegaConf.to_container(OmegaConf.merge(dict(given), dotted), resolve=True)
        assert isinstance(keys, dict)
        refuse_unknown_keys(keys, FramesConfig, "frames")
        return frames_of(FramesConfig(), keys)  # pyright: ignore[reportArgumentType]
    except OmegaConfBaseException as error:
        raise wrong_type(error, "frames") from error
