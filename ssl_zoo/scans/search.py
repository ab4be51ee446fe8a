"""Which scans lie in a folder and below: videos, DICOM files, stacks, and folders of images."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ssl_zoo.scans.base import UnreadableScan
from ssl_zoo.scans.image_folder import image_names, is_image_name
from ssl_zoo.scans.signatures import kind_of

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpeg", ".mpg", ".gif", ".m4v")
OTHER_SUFFIXES = (".dcm", ".dicom", ".npy", ".h5", ".hdf5")
ALLOW = "scans.allow_outside=true, or --allow-outside, permits it"
SIDECARS = {"thumbs.db", "desktop.ini", "dicomdir"}  # DICOMDIR looks like a DICOM file, and is the list of others


@dataclass
class Search:
    """What a search has found. `scans`: relative paths with forward slashes, sorted; `.` is the folder itself."""

    scans: list[str] = field(default_factory=list)
    stray_images: int = 0  # alone in their folder, or beside scans
    outside: int = 0  # links that lead out of the folder, not followed
    unnamed: int = 0  # files whose names are not UTF-8, which no table could hold

    @property
    def warnings(self) -> list[str]:
        """A sentence for each kind of thing that was left alone and may have been meant."""
        said = [
            (
                self.stray_images,
                "image(s) lie alone or beside scans and were left alone (a scan is a folder of images)",
            ),
            (self.outside, f"link(s) lead out of the folder and were not followed ({ALLOW})"),
            (self.unnamed, "file(s) have names that are not UTF-8 and were left alone; rename them"),
        ]
        return [f"{count} {sentence}" for count, sentence in said if count]


def find_scans(root: Path, *, allow_outside: bool = False) -> Search:
    """Search a folder and its subfolders.

    A file is a scan by its suffix, or else by its first bytes, so that DICOM files need none. A folder is a scan where
    it holds two images or more, and no other scan; the searched folder itself only where nothing else is found.
    Hidden files and folders, sidecars (`Thumbs.db`, `DICOMDIR`), frame stores and all else are left alone. Links are
    followed as far as they stay within `root`, or anywhere with `allow_outside`.
    """
    found = Search()
    _search(root, "", found, None if allow_outside else root.resolve(), set())
    if not found.scans and found.stray_images > 1:
        found.scans, found.stray_images = ["."], 0
    found.scans.sort()
    return found


def leaves(path: Path, root: Path) -> bool:
    """Whether a path lies outside `root`, its links followed, or an image in that folder does; `root` has no links."""
    if not path.resolve().is_relative_to(root):
        return True
    if not path.is_dir():
        return False
    links = [path / name for name in image_names(path) if (path / name).is_symlink()]
    return any(not link.resolve().is_relative_to(root) for link in links)


def _search(folder: Path, prefix: str, found: Search, root: Path | None, seen: set[Path]) -> None:
    """Add what lies in `folder` and below; `root` is where links may lead, None: anywhere."""
    seen.add(folder.resolve())
    if (folder / "store.json").is_file() and (folder / "frames.npy").is_file():  # a frame store, made of scans
        return
    scans, images = [], []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") or entry.name.lower() in SIDECARS:
                continue
            if not _is_text(entry.name):
                found.unnamed += 1
                continue
            path = folder / entry.name
            if root is not None and entry.is_symlink() and not path.resolve().is_relative_to(root):
                found.outside += 1
            elif entry.is_dir():
                if path.resolve() not in seen:  # a link to a folder above would never end
                    _search(path, f"{prefix}{entry.name}/", found, root, seen)
            elif not entry.is_file():
                continue
            elif is_image_name(entry.name):
                images.append(entry.name)
            elif _is_scan(path):
                scans.append(f"{prefix}{entry.name}")
    if len(images) > 1 and not scans and prefix:
        scans.append(prefix.rstrip("/"))
    else:
        found.stray_images += len(images)
    found.scans += scans


def _is_scan(path: Path) -> bool:
    if path.suffix.lower() in VIDEO_SUFFIXES + OTHER_SUFFIXES:
        return True  # also a broken one, which is then named
    try:
        return kind_of(path) != ""
    except UnreadableScan:
        return False


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
