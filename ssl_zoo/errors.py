"""The one exception that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave is wrong; the message is one clear sentence that names it.

    The command line prints the sentence without a traceback and exits with status 2.
    """


def unknown(kind: str, name: str, names: Iterable[str]) -> UserError:
    """The error for a name that is not among `names`, with the nearest valid one.

    >>> str(unknown("method", "barlow", ["barlow_twins", "byol"]))
    "unknown method 'barlow'; did you mean 'barlow_twins'? (known: barlow_twins, byol)"
    """
    names = sorted(names)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return UserError(f"unknown {kind} '{name}'{hint} (known: {', '.join(names) or 'none'})")
