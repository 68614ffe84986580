"""Where pictures come from: folders that are examined before work starts, packed files, Parquet shards; HR canvases; sample photographs;
the sets that are measured on, by name, fetched, and found in the usual layouts."""

from wildsr.datasets.canvases import Canvases
from wildsr.datasets.fetch import fetch
from wildsr.datasets.folders import Folders, examine
from wildsr.datasets.layouts import ground_truths, pairs, set_name, survey
from wildsr.datasets.named import NAMED, Download, NamedSet, canonical_name, pixels_digest, require_whole
from wildsr.datasets.packed import Packed, pack
from wildsr.datasets.part import Record, require_sound
from wildsr.datasets.photographs import HELD_OUT, samples
from wildsr.datasets.shards import Shards, write_shards
from wildsr.datasets.source import Source, open

__all__ = [
    "HELD_OUT",
    "NAMED",
    "Canvases",
    "Download",
    "Folders",
    "NamedSet",
    "Packed",
    "Record",
    "Shards",
    "Source",
    "canonical_name",
    "examine",
    "fetch",
    "ground_truths",
    "open",
    "pack",
    "pairs",
    "pixels_digest",
    "require_sound",
    "require_whole",
    "samples",
    "set_name",
    "survey",
    "write_shards",
]
