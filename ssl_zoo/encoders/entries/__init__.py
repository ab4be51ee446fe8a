"""The published encoders, one file each. Adding one is a file here and its name in this list."""

from __future__ import annotations

from ssl_zoo.encoders.entries.dinov3 import DINOV3
from ssl_zoo.encoders.entries.fetalclip import FETALCLIP
from ssl_zoo.encoders.entries.mofo import MOFO
from ssl_zoo.encoders.entries.ultrasam import ULTRASAM
from ssl_zoo.encoders.entries.usf_mae import USF_MAE
from ssl_zoo.encoders.entries.usfm import USFM
from ssl_zoo.encoders.entry import Entry

PUBLISHED: dict[str, Entry] = {entry.name: entry for entry in (USF_MAE, USFM, MOFO, ULTRASAM, FETALCLIP, DINOV3)}
