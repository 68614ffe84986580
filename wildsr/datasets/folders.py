"""Folders of pictures, examined before work starts."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wildsr import files, images
from wildsr.datasets.layouts import require_ground_truth
from wildsr.datasets.part import Part, Record
from wildsr.errors import UserError


def examine(folders: Sequence[Path | str], known: Sequence[Record] = (), *, mixed: bool = False) -> list[Record]:
    """Reads every picture below the folders once, whole, in the order of the folders and of the paths within each.

    A picture that cannot be read gets a record with its `problem`. `known` records, from an earlier look, spare those files that have
    the same size and time since. Raises UserError for a folder that is missing, empty, or named twice, and, unless `mixed`, for one with
    low resolution beside ground truth."""
    paths: list[Path] = []
    for folder in folders:
        paths += images.find(folder)
        if not mixed:
            require_ground_truth(Path(folder))
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"the folders {', '.join(str(folder) for folder in folders)} hold the same pictures twice: name each folder once")
    seen = {record.path: record for record in known}

    def look(path: Path) -> Record:
        try:
            status = path.stat()
        except OSError as error:  # a link to nothing, say
            return Record(str(path), 0, 0, "", 0, 0, problem=f"{path}: cannot be read ({error.strerror})")
        old = seen.get(str(path.resolve()))
        if old is not None and (old.size, old.modified) == (status.st_size, status.st_mtime_ns):
            return old
        stamp: dict[str, Any] = {"path": str(path.resolve()), "size": status.st_size, "modified": status.st_mtime_ns}
        try:
            width, height = images.open_picture(path).size
        except UserError as error:
            return Record(**stamp, sha256="", width=0, height=0, problem=str(error))
        return Record(**stamp, sha256=files.sha256_file(path), width=width, height=height)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(look, paths))


def from_json(values: Sequence[dict[str, Any]]) -> list[Record]:
    """The records among the values of `to_json`."""
    try:
        return [Record(**value) for value in values if "width" in value]
    except TypeError:  # of another version, or damaged: the pictures are read again
        return []


class Folders(Part):
    """The pictures of examined folders. Decoded ones are kept in memory up to `cache_bytes`."""

    def __init__(self, records: Sequence[Record], *, cache_bytes: int = 2 << 30) -> None:
        self.records = list(records)
        self.hashes = [record.sha256 for record in records]
        # Which pictures stay in memory is settled beforehand, in order, so that the cache has nothing to evict.
        total = np.cumsum([3 * record.width * record.height for record in records])
        self._cached = int(np.searchsorted(total, cache_bytes, side="right"))
        self._pictures: dict[int, UInt8[np.ndarray, "3 h w"]] = {}

    def __len__(self) -> int:
        return len(self.records)

    def read(self, i: int) -> UInt8[np.ndarray, "3 h w"]:
        if i in self._pictures:
            return self._pictures[i]
        picture = images.read(self.records[i].path).numpy()
        if i < self._cached:
            self._pictures[i] = picture
        return picture

    def name(self, i: int) -> str:
        return self.records[i].path

    def check(self) -> Iterator[Record]:
        yield from self.records

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(record) for record in self.records]
