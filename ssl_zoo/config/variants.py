"""Variants: several settings of pre-training in one study, each laid over what all of them share.

    variants:
      same_frame: {pairing: same_frame}
      near: {pairing: temporal, window_s: 0.2}
      apart: {methods: [simclr, moco], exclude_same_scan: true}

makes the inits `simclr@same_frame`, `simclr@near`, ... in one run folder, evaluated on the same cells. Under the key
`frames` a variant changes what it is trained on: `few: {frames: {per_scan: 4}}` has a frame store of its own.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ssl_zoo.config.schema import FramesConfig, PretrainConfig

SHARED = ("variants", "seeds", "monitor_knn")  # keys that no variant has of its own
SHARED_FRAMES = ("size", "channels")  # keys of `frames` that none has: the labelled planes have one shape for all


def variants_of(pretrain: PretrainConfig) -> dict[str, PretrainConfig]:
    """The settings of each variant by its name; under the name "" those of an experiment without variants.

    A variant replaces lists and the budget, and extends mappings (`views`, `params`, `recipes`, `budgets`).
    """
    if not pretrain.variants:
        return {"": pretrain}
    return {name: variant_of(pretrain, keys) for name, keys in pretrain.variants.items()}


def variant_of(pretrain: PretrainConfig, keys: dict[str, Any]) -> PretrainConfig:
    """`pretrain` with the keys of one variant. OmegaConf's errors name the key below `pretrain`."""
    shared = {name: value for name, value in dataclasses.asdict(pretrain).items() if name != "variants"}
    if "budget" in keys:
        shared["budget"] = dict.fromkeys(shared["budget"])
    merged = OmegaConf.merge(writable(OmegaConf.structured(PretrainConfig)), shared, keys)
    found = OmegaConf.to_object(merged)
    assert isinstance(found, PretrainConfig)
    return found


def frames_of(frames: FramesConfig, changes: dict[str, Any]) -> FramesConfig:
    """`frames` with the keys that a variant changes. OmegaConf's errors name the key below `frames`."""
    merged = OmegaConf.merge(writable(OmegaConf.structured(FramesConfig)), dataclasses.asdict(frames), changes)
    found = OmegaConf.to_object(merged)
    assert isinstance(found, FramesConfig)
    return found


def writable(node: DictConfig) -> DictConfig:
    """Lift the read-only flag that OmegaConf takes over from frozen dataclasses, so that values can be merged in."""
    OmegaConf.set_readonly(node, None)
    for key in node:
        if OmegaConf.is_dict(child := node._get_node(key)) and not child._is_none():  # pyright: ignore
            writable(child)  # pyright: ignore[reportArgumentType]
    return node
