"""What the registry of published encoders says of each: how it is built, loaded and fed, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ssl_zoo.encoders.fitting import check_fitting

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Entry:
    """One published encoder. Facts come from its own repository, unless `inferred` says otherwise.

    Loading takes the first of the keys `unwrap` that holds the weights (a flat file needs none), strips `module.`,
    leaves out what `drop` matches, renames by `rename` (in order, each on the result of the one before), lets `adapt`
    reshape tensors, and sets what a file may lack by design to the constants of `fill`. What then remains must match
    the network key by key and shape by shape.
    """

    name: str
    title: str
    paper: str
    licence: str
    weights: str  # where to get them; they are never fetched
    backbone: str  # for `build_backbone`
    size: int  # pixels, square
    fitting: str  # one of FITTINGS
    resampling: str  # one of RESAMPLINGS
    mean: tuple[float, float, float]  # of colours scaled to 0..1
    std: tuple[float, float, float]
    pooling: str  # in words
    features: int  # D
    prefix_tokens: int  # tokens before the patches; 0 where the last layer is a map
    pretraining: str  # in words
    pretraining_data: tuple[str, ...]  # names of data sets; those that are sources of planes by the source's name
    arguments: Mapping[str, Any] = field(default_factory=dict)  # for `build_backbone`, plain values
    unwrap: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()  # regular expressions, searched in the published key
    rename: tuple[tuple[str, str], ...] = ()  # regular expression, replacement
    adapt: Callable[[Weights], Weights] | None = None
    fill: Mapping[str, float] = field(default_factory=dict)
    other_sizes: bool = True  # whether position tables can be resampled for another input size
    with_labels: tuple[str, ...] = ()  # of `pretraining_data`: those whose labels or masks were used as well
    tested_on: tuple[str, ...] = ()  # of `pretraining_data`: those of which its authors kept a test part out
    not_seen: tuple[str, ...] = ()  # data sets that its authors left out, or that its published list does not name
    data_is_known: bool = True  # whether `pretraining_data` is the whole list, so that what it lacks was not seen
    inferred: tuple[str, ...] = ()  # what we conclude, and nobody wrote
    unknown: tuple[str, ...] = ()  # what was looked for and not found, with our choice where one is needed

    def __post_init__(self) -> None:
        check_fitting(self.fitting, self.resampling)
