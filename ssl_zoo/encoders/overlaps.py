"""Which published encoders have seen which sources of planes in their pre-training."""

from __future__ import annotations

from ssl_zoo.encoders.entries import PUBLISHED

# The data sets that sources of planes are. Entries name them so.
DATA_SETS = {
    "fetal_planes_db": "FETAL_PLANES_DB",
    "african": "the African cohort",
    "feft": "FEFT",
    "cactus": "CACTUS",
    "camus": "CAMUS",
    "echonet_dynamic": "EchoNet-Dynamic",
    "echonet_pediatric": "EchoNet-Pediatric",
    "aul": "AUL",
    "butterfly": "Butterfly",
    "fatty_liver": "the B-mode fatty liver set",
    "gbcu": "GBCU",
    "mmotu": "MMOTU-2D",
    "pocus": "POCUS",
}
ULTRABENCH = ("aul", "butterfly", "camus", "fatty_liver", "gbcu", "mmotu", "pocus")  # behind its classification tasks
SEEN, NOT_SEEN, NOT_KNOWN = "seen", "not seen", "not known"


def known_overlap(encoder_name: str, source_name: str) -> str | None:
    """One sentence where a published encoder is known to have seen a source of planes in its pre-training, else None.

    `encoder_name`: as in the registry, also as a whole spec ("ultrasam@224:/path"); any other name gives None.
    `source_name`: "fetal_planes_db", "african", "feft", "cactus", "camus", "echonet_dynamic", "echonet_pediatric" or
    "ultrabench:<task>"; any other gives None. None is no promise: see `overlap`.
    """
    entry = PUBLISHED.get(_entry_name(encoder_name))
    if entry is None or overlap(entry.name, source_name) != SEEN:
        return None
    data = data_set(source_name)
    how = "with labels or masks" if data in entry.with_labels else "without labels"
    which = "test images included"
    if data in entry.tested_on:
        which = "but for a test part of its authors', which may be another than this one"
    return f"{entry.name} has seen {DATA_SETS.get(data, data)} in its pre-training ({how}), {which}"


def overlap(encoder_name: str, source_name: str) -> str:
    """SEEN, NOT_SEEN, or NOT_KNOWN where the list of what the encoder has seen is not published in full."""
    entry, data = PUBLISHED[_entry_name(encoder_name)], data_set(source_name)
    if data in entry.pretraining_data:
        return SEEN
    return NOT_SEEN if entry.data_is_known or data in entry.not_seen else NOT_KNOWN


def data_set(source_name: str) -> str:
    """The data set of a source, as entries name it: "camus" for "camus" and for "ultrabench:camus"."""
    collection, _, task = source_name.partition(":")
    if collection != "ultrabench":
        return collection
    return next((data for data in ULTRABENCH if task.startswith(data)), task)  # "aul_mass" is of AUL


def _entry_name(encoder: str) -> str:
    return encoder.partition(":")[0].partition("@")[0]
