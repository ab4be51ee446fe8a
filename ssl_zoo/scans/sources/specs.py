"""`name:/path`: which source, and where."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ssl_zoo.errors import unknown


def named_source(source: str) -> tuple[str, str]:
    """(name, path) of `name:/path`; ("", path) of a table or a folder.

    A path that exists is a path, whatever colons it holds, and one letter before a colon is a drive.
    """
    prefix, colon, rest = source.partition(":")
    if colon and len(prefix) > 1 and not Path(source).exists():
        return prefix, rest
    return "", source


def known_source(kind: str, source: str, names: Collection[str]) -> tuple[str, Path]:
    """`named_source` with the path made ready; UserError for a name that is not among `names`.

    `kind` names the sources in the error, as "plane source".
    """
    name, path = named_source(source)
    if name and name not in names:
        raise unknown(kind, name, names)
    return name, Path(path).expanduser()
