"""From published keys to a network's own, with every key accounted for."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from ssl_zoo.encoders.entry import Entry, Weights

SHOWN = 4  # names of a kind that a sentence lists


@dataclass(frozen=True)
class Accounting:
    """What became of every key: of the network's those matched, missing or of another shape, of the file's the rest."""

    matched: list[str]
    missing: list[str]
    unexpected: list[str]
    reshaped: list[str] = field(default_factory=list)  # "name [found] instead of [wanted]"
    left_out: list[str] = field(default_factory=list)  # published keys that are no part of the encoder, by the entry
    filled: list[str] = field(default_factory=list)  # set to a constant, by the entry

    @property
    def complete(self) -> bool:
        """Whether the file and the network have the same keys and shapes."""
        return not (self.missing or self.unexpected or self.reshaped)

    def sentence(self) -> str:
        """ "150 matched, 0 missing, 0 unexpected; 2 left out (head.bias, head.weight)"."""
        text = f"{len(self.matched)} matched, {_listed(self.missing, 'missing')}"
        text += f", {_listed(self.unexpected, 'unexpected')}"
        if self.reshaped:
            text += f", {_listed(self.reshaped, 'of another shape')}"
        aside = [
            _listed(names, words)
            for names, words in ((self.left_out, "left out"), (self.filled, "not in the file, set to a constant"))
            if names
        ]
        return "; ".join([text, *aside])


def account_for(
    weights: Mapping[str, Tensor],
    wanted: Mapping[str, torch.Size],
    *,
    left_out: list[str] | None = None,
    filled: list[str] | None = None,
) -> Accounting:
    """The account of `weights`, named as a network of the shapes `wanted` names them."""
    both = wanted.keys() & weights.keys()
    reshaped = {key for key in both if weights[key].shape != wanted[key]}
    return Accounting(
        matched=sorted(both - reshaped - set(filled or [])),
        missing=sorted(wanted.keys() - weights.keys()),
        unexpected=sorted(weights.keys() - wanted.keys()),
        reshaped=[f"{key} {list(weights[key].shape)} instead of {list(wanted[key])}" for key in sorted(reshaped)],
        left_out=left_out or [],
        filled=filled or [],
    )


def match(
    entry: Entry, published: Mapping[str, Tensor], wanted: Mapping[str, torch.Size]
) -> tuple[Weights, Accounting]:
    """The weights of a file under the network's keys, and the account; `wanted` are the network's shapes.

    Whether the weights may be used, the account says.
    """
    left_out = sorted(key for key in published if any(re.search(rule, key) for rule in entry.drop))
    weights = {_renamed(entry, key): value for key, value in published.items() if key not in set(left_out)}
    if entry.adapt is not None:
        weights = entry.adapt(weights)
    filled = sorted(key for key in entry.fill if key in wanted and key not in weights)
    for key in filled:
        weights[key] = torch.full(tuple(wanted[key]), float(entry.fill[key]))
    return weights, account_for(weights, wanted, left_out=left_out, filled=filled)


def say(sentence: str) -> None:
    """Print what became of a file's keys."""
    print(sentence, file=sys.stderr)


@lru_cache(maxsize=256)
def say_once(sentence: str) -> None:
    """Print it, but never twice in a process."""
    say(sentence)


def _renamed(entry: Entry, key: str) -> str:
    for rule, replacement in entry.rename:
        key = re.sub(rule, replacement, key)
    return key


def _listed(names: list[str], words: str) -> str:
    some = f" ({', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''})" if names else ""
    return f"{len(names)} {words}{some}"
