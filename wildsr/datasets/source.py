"""Many places of pictures as one."""

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wildsr import files, images
from wildsr.datasets import packed, shards
from wildsr.datasets.folders import Folders, examine, from_json
from wildsr.datasets.packed import Packed
from wildsr.datasets.part import Part, Record, require_sound, too_small
from wildsr.datasets.shards import Shards
from wildsr.errors import UserError

WINDOW_BYTES = 256 << 20
"""Memory for the row groups of shards whose pictures are mixed."""

_BESIDE_SHARDS = 100  # pictures that count as one row group, of a place that has none


def open(names: Sequence[Path | str], known: Any = (), *, mixed: bool = False) -> "Source":
    """The pictures of one or more places, each known by its name: a folder of pictures (or of Parquet shards alone), a packed
    .safetensors file, a .parquet file, or an address of shards such as hf://datasets/OWNER/NAME. Folders of pictures come first.

    `known` is what `to_json` gave at an earlier time; it spares reading what has not changed. Raises UserError for a place that is missing,
    empty, damaged, or named twice, and, unless `mixed`, for a folder with low resolution beside ground truth."""
    known = [value for value in known if isinstance(value, dict)] if isinstance(known, list) else []
    kinds = [(name, _kind(name)) for name in names]
    folders = [name for name, kind in kinds if kind is Folders]
    parts: list[Part] = [Folders(examine(folders, from_json(known), mixed=mixed))] if folders else []
    parts += [Packed(name) if kind is Packed else Shards(name, known) for name, kind in kinds if kind is not Folders]
    places = [value["path"] for part in parts[bool(folders) :] for value in part.to_json()]
    place, times = next(iter(Counter(places).most_common(1)), ("", 1))
    if times > 1:
        raise UserError(f"{place} is named twice: name each place once")
    return Source(parts)


def _kind(name: Path | str) -> type[Part]:
    text, path = str(name), Path(name)
    if "://" in text or text.endswith(shards.SUFFIX):
        return Shards
    if text.endswith(packed.SUFFIX) and not path.is_dir():
        return Packed
    if path.is_file():
        raise UserError(f"{name}: is a file; name a folder of pictures, or a file in {packed.SUFFIX} or {shards.SUFFIX}")
    if path.is_dir() and any(path.rglob(f"*{shards.SUFFIX}")):
        try:
            images.find(path)
        except UserError:  # no picture beside the shards
            return Shards
    return Folders  # also where there is nothing: reading it says so


class Source:
    """Pictures by number: those of several parts, one part after another."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self._starts = np.cumsum([0, *(len(part) for part in self.parts)])
        self._smallest = 1
        if len(self) == 0:
            raise UserError("there is no picture in what was named: name a place with pictures")

    def __len__(self) -> int:
        return int(self._starts[-1])

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the parts' hashes in order: the same pictures in the same order, wherever they lie."""
        return files.sha256("\n".join(sha256 for part in self.parts for sha256 in part.hashes).encode())

    def read(self, index: int) -> UInt8[np.ndarray, "3 h w"]:
        """Picture `index`; the array may be a view on a file, and must not be changed. Raises UserError naming what cannot be used."""
        part, i = self._part(index)
        picture = part.read(i)
        _, height, width = picture.shape
        if min(height, width) < self._smallest:
            raise UserError(f"{too_small(part.name(i), width, height, self._smallest)}: remove it")
        return picture

    def require_sound(self, smallest: int) -> None:
        """Raises UserError with a count and the names when a picture is unreadable or has a side below `smallest` pixels.

        Of shards, nothing is known before a picture is read: there, `read` raises it."""
        require_sound([record for part in self.parts for record in part.records], smallest)
        self._smallest = smallest

    def check(self) -> Iterator[Record]:
        """Reads every picture whole; one that cannot be used has its `problem` in the record."""
        for part in self.parts:
            yield from part.check()

    def to_json(self) -> list[dict[str, Any]]:
        """What was found, as plain values, for `open`."""
        return [value for part in self.parts for value in part.to_json()]

    # ------------------------------------------------------------------------------------------------- what is read together

    @functools.cached_property
    def groups(self) -> np.ndarray:
        """How many pictures are read at once, from first to last: the row groups of shards. Everywhere else it is one; beside shards,
        though, 100 together stand for a row group, so that both are spread over an epoch alike."""
        streamed = any(part.row_groups for part in self.parts)
        sizes: list[int] = []
        for part in self.parts:
            if part.row_groups or not streamed:
                sizes += [pictures for pictures, _ in part.row_groups] or [1] * len(part)
            else:
                sizes += [min(_BESIDE_SHARDS, len(part) - start) for start in range(0, len(part), _BESIDE_SHARDS)]
        return np.array(sizes)

    @functools.cached_property
    def window(self) -> int:
        """How many groups are mixed: of row groups, as many as fit in `WINDOW_BYTES`, from 2 to 32."""
        largest = max((size for part in self.parts for _, size in part.row_groups), default=0)
        return min(32, max(2, WINDOW_BYTES // max(largest, 1))) if largest else 1

    def hold(self, groups: Sequence[int]) -> None:
        """Starts to read these groups and keeps them at hand, until others are asked for."""
        first = 0
        for part in self.parts:
            if part.row_groups:
                part.hold([group - first for group in groups if first <= group < first + len(part.row_groups)])
            first += len(part.row_groups) or -(-len(part) // _BESIDE_SHARDS)

    def _part(self, index: int) -> tuple[Part, int]:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[number], index - int(self._starts[number])
