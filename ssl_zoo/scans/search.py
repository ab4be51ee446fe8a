"""Which scans lie in a folder and below: videos, DICOM files, stacks, volumes, and folders of images."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ssl_zoo.scans.base import UnreadableScan
from ssl_zoo.scans.image_folder import image_names, is_image_name
from ssl_zoo.scans.signatures import kind_of
from ssl_zoo.scans.volumes import is_volume, pixel_files

# Of the containers that a video may have, see `video.CONTAINERS`.
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpeg", ".mpg", ".gif", ".m4v", ".wmv", ".asf", ".flv")
VIDEO_SUFFIXES += (".ts", ".mts", ".m2ts", ".vob", ".3gp", ".3g2", ".qt", ".ogv", ".mxf", ".dv", ".nut", ".wtv")
VIDEO_SUFFIXES += (".rm", ".rmvb", ".amv", ".apng", ".m1v", ".m2v", ".mpv", ".h264", ".264", ".h265", ".265", ".hevc")
VIDEO_SUFFIXES += (".mjpeg", ".mjpg", ".ivf", ".obu", ".y4m")
OTHER_SUFFIXES = (".dcm", ".dicom", ".npy", ".h5", ".hdf5", ".nii", ".nii.gz", ".mhd", ".mha")
ALLOW = "scans.allow_outside=true, or --allow-outside, permits it"
SIDECARS = {"thumbs.db", "desktop.ini", "dicomdir"}  # DICOMDIR looks like a DICOM file, and is the list of others
# What lies beside scans and nobody takes for one, by suffix or name.
COMPANY = {".csv", ".tsv", ".txt", ".json", ".md", ".yaml", ".yml", ".xml", ".html", ".pdf", ".doc", ".docx", ".xls"}
COMPANY |= {".xlsx", ".ini", ".log", ".py", "license", "readme"}
MOST_KINDS = 5  # of files left alone, that are told


@dataclass
class Search:
    """What a search has found. `scans`: relative paths with forward slashes, sorted; `.` is the folder itself."""

    scans: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)  # files of kinds that are not read, by suffix
    stray_images: int = 0  # alone in their folder, or beside scans
    outside: int = 0  # links that lead out of the folder, not followed
    dangling: int = 0  # links that lead nowhere
    unnamed: int = 0  # files whose names are not UTF-8, which no table could hold
    torn: int = 0  # scans of several files, of which one is such a link or has such a name
    closed: int = 0  # files and folders that the user may not open, or the disk does not give

    @property
    def warnings(self) -> list[str]:
        """A sentence for each kind of thing that was left alone and may have been meant."""
        most = self.unknown.most_common(MOST_KINDS)
        kinds = ", ".join(f"{suffix or 'without suffix'} {count}" for suffix, count in most)
        said = [
            (
                self.stray_images,
                "image(s) lie alone or beside scans and were left alone (a scan is a folder of images)",
            ),
            (self.unknown.total(), f"file(s) are of no kind that is read, and were left alone ({kinds})"),
            (self.closed, "file(s) or folder(s) cannot be opened and were left alone"),
            (self.dangling, "link(s) lead nowhere"),
            (self.outside, f"link(s) lead out of the folder and were not followed ({ALLOW})"),
            (self.unnamed, "file(s) have names that are not UTF-8 and were left alone; rename them"),
            (self.torn, "scan(s) are made of several files, some of them such links or names, and were left alone"),
        ]
        return [f"{count} {sentence}" for count, sentence in said if count]


def find_scans(root: Path, *, allow_outside: bool = False) -> Search:
    """Search a folder and its subfolders.

    A file is a scan by its suffix, or else by its first bytes, so that DICOM files need none. A folder is a scan where
    it holds two images or more, and no other scan; the searched folder itself only where nothing else is found.
    Hidden files and folders, sidecars (`Thumbs.db`, `DICOMDIR`) and frame stores are left alone; so is all else, and
    counted unless it is usual company. Links are followed as far as they stay within `root`, or anywhere with
    `allow_outside`; a scan to which a file belongs that is left alone is left alone as a whole.
    """
    found = Search()
    bounds = None if allow_outside else root.resolve()
    _search(root, "", found, bounds, set())
    if not found.scans and len(_images(root)) > 1:
        found.stray_images = 0
        _add(".", root, found, bounds)
    found.scans.sort()
    return found


def leaves(path: Path, root: Path) -> bool:
    """Whether a scan lies outside `root`, links followed, or a file that belongs to it does; `root` has no links."""
    beside = [path / name for name in _images(path)] if path.is_dir() else pixel_files(path)
    links = [file for file in beside if file.is_symlink()]
    return not all(file.resolve().is_relative_to(root) for file in (path, *links))


def _search(folder: Path, prefix: str, found: Search, root: Path | None, seen: set[Path]) -> None:
    """Add what lies in `folder` and below; `root` is where links may lead, None: anywhere."""
    seen.add(folder.resolve())
    try:
        if (folder / "store.json").is_file() and (folder / "frames.npy").is_file():  # a frame store, made of scans
            return
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        found.closed += 1
        return
    scans: dict[str, Path] = {}
    images = 0
    for entry in ordered:
        if entry.name.startswith(".") or entry.name.lower() in SIDECARS:
            continue
        if not _is_text(entry.name):
            found.unnamed += 1
            continue
        path = folder / entry.name
        try:
            if root is not None and entry.is_symlink() and not path.resolve().is_relative_to(root):
                found.outside += 1
            elif entry.is_dir():
                if path.resolve() not in seen:  # a link to a folder above would never end
                    _search(path, f"{prefix}{entry.name}/", found, root, seen)
            elif not entry.is_file():
                found.dangling += entry.is_symlink()
            elif is_image_name(entry.name):
                images += 1
            elif _is_scan(path):
                scans[f"{prefix}{entry.name}"] = path
            elif not _is_company(path):
                found.unknown[path.suffix.lower()] += 1
        except (OSError, RuntimeError, UnreadableScan):  # RuntimeError: a link to itself
            found.closed += 1
    if images > 1 and not scans and prefix:
        scans[prefix.rstrip("/")] = folder
    else:
        found.stray_images += images
    for scan, path in scans.items():
        _add(scan, path, found, root)


def _add(scan: str, path: Path, found: Search, root: Path | None) -> None:
    """Add a scan, unless files belong to it that were left alone."""
    if (root is not None and leaves(path, root)) or not all(map(_is_text, _images(path))):
        found.torn += 1
    else:
        found.scans.append(scan)


def _images(folder: Path) -> list[str]:
    """The images that `folder` as a scan would have; none where it is no folder, or cannot be opened."""
    try:
        return image_names(folder) if folder.is_dir() else []
    except OSError:
        return []


def _is_scan(path: Path) -> bool:
    if path.name.lower().endswith(VIDEO_SUFFIXES + OTHER_SUFFIXES):
        return True  # also a broken one, which is then named
    return kind_of(path) != "" or is_volume(path)


def _is_company(path: Path) -> bool:
    """Whether nobody would take a file for a scan: tables, texts, the pixels of a MetaImage."""
    return (path.suffix.lower() or path.name.lower()) in COMPANY or path.with_suffix(".mhd").is_file()


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
