"""Cleaning of scans: from a machine's screen to frames that show nothing but ultrasound.

`look` at some frames of a scan gives a `ScanCleaning`, whose `clean` crops, masks and inpaints every frame; then
`reason_to_drop` says whether a frame is worth keeping, and `near_duplicate_rows` which rows of a whole store repeat.
"""

from ssl_zoo.scans.cleaning.drops import REASONS, reason_to_drop
from ssl_zoo.scans.cleaning.duplicates import frame_hash, frame_hashes, near_duplicate_rows
from ssl_zoo.scans.cleaning.look import ScanCleaning, look
from ssl_zoo.scans.cleaning.settings import CleaningSettings

__all__ = [
    "REASONS",
    "CleaningSettings",
    "ScanCleaning",
    "frame_hash",
    "frame_hashes",
    "look",
    "near_duplicate_rows",
    "reason_to_drop",
]
