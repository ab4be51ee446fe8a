"""Where unlabelled scans come from: your own table or folder, or a data set in its published layout.

A source is known by the prefix of `name:/path`. A new one is a file with a function that lists a folder and the data
set's facts, and a line below.
"""

from __future__ import annotations

from ssl_zoo.scans.base import DEFAULT_FPS
from ssl_zoo.scans.sources import camus, echonet
from ssl_zoo.scans.sources.facts import Facts
from ssl_zoo.scans.sources.listing import Source, published
from ssl_zoo.scans.sources.specs import known_source
from ssl_zoo.scans.table import Scans, read_scans

__all__ = ["SOURCES", "Facts", "Source", "open_scans"]

OWN = Facts(
    title="a folder of scans, or a scan table",
    shows="your own videos, DICOM files, stacks and folders of images",
    layout="scans, or a table with scan and patient_id in each row; optional: scan_id, site, device, fps, spacing_mm",
    patients="the column patient_id, or scans.patient_pattern, or PatientID; each file for itself without any",
)

SOURCES: dict[str, Source] = {
    "folder": Source(read_scans, OWN),
    "echonet_dynamic": published(echonet.dynamic, echonet.DYNAMIC),
    "echonet_pediatric": published(echonet.pediatric, echonet.PEDIATRIC),
    "camus": published(camus.sequences, camus.FACTS),
}


def open_scans(
    source: str, patient_pattern: str | None = None, *, fps: float = DEFAULT_FPS, allow_outside: bool = False
) -> Scans:
    """Scans of a table, a folder, or `name:/path` with a name in SOURCES; see `read_scans` for the arguments."""
    name, path = known_source("scan source", source, SOURCES)
    opens = SOURCES[name].opens if name else read_scans
    return opens(path, patient_pattern, fps=fps, allow_outside=allow_outside)
