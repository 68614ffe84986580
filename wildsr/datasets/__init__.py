"""Where pictures come from: folders that are examined before work starts, packed files, Parquet shards; HR canvases; sample photographs."""

from wildsr.datasets.canvases import Canvases
from wildsr.datasets.folders import Folders, examine
from wildsr.datasets.packed import Packed, pack
from wildsr.datasets.part import Record, require_sound
from wildsr.datasets.photographs import HELD_OUT, samples
from wildsr.datasets.shards import Shards, write_shards
from wildsr.datasets.source import Source, open

__all__ = [
    "HELD_OUT",
    "Canvases",
    "Folders",
    "Packed",
    "Record",
    "Shards",
    "Source",
    "examine",
    "open",
    "pack",
    "require_sound",
    "samples",
    "write_shards",
]
