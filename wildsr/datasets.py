"""Where pictures come from: folders that are examined before work starts, the photographs inside installed wheels, and HR canvases."""

import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from wildsr import chance, files, images
from wildsr.errors import UserError


@dataclass(frozen=True)
class Record:
    """One picture of a folder, examined: its size in pixels and the SHA-256 of its file, or what is wrong with it."""

    path: str
    size: int
    modified: int
    sha256: str
    width: int
    height: int
    problem: str | None = None


def examine(folders: Sequence[Path | str], known: Sequence[Record] = ()) -> list[Record]:
    """Reads every picture below the folders once, whole, in the order of the folders and of the paths within each.

    A picture that cannot be read gets a record with its `problem`. `known` records, from an earlier look, spare those files that have
    the same size and time since. Raises UserError for a folder that is missing, empty, or named twice."""
    paths: list[Path] = []
    for folder in folders:
        paths += images.find(folder)
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


def require_sound(records: Sequence[Record], smallest: int) -> None:
    """Raises UserError with a count and the names when a picture is unreadable or has a side below `smallest` pixels."""
    problems = [record.problem for record in records if record.problem]
    problems += [
        f"{record.path}: {record.width}×{record.height} is smaller than the HR patch of {smallest}×{smallest}"
        for record in records
        if not record.problem and min(record.width, record.height) < smallest
    ]
    if problems:
        shown = "; ".join(problems[:10]) + (f"; and {len(problems) - 10} more" if len(problems) > 10 else "")
        raise UserError(f"{len(problems)} of {len(records)} pictures cannot be used (remove or mend them): {shown}")


def fingerprint(records: Sequence[Record]) -> str:
    """SHA-256 over the files' hashes in order: the same pictures in the same order, wherever they lie."""
    return files.sha256("\n".join(record.sha256 for record in records).encode())


def to_json(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Records as plain values, for `from_json`."""
    return [asdict(record) for record in records]


def from_json(values: Sequence[dict[str, Any]]) -> list[Record]:
    """The inverse of `to_json`."""
    try:
        return [Record(**value) for value in values]
    except TypeError:  # of another version, or damaged: the pictures are read again
        return []


class Canvases:
    """HR canvases, each a pure function of (seed, n): n, the count of HR pictures drawn since the start of the run, fixes the picture,
    the place of the canvas in it, and the flip.

    Every epoch is a new permutation of the pictures. A picture smaller than the canvas is reflect-padded at right and bottom (without
    repeating the edge), as in the reference. Decoded pictures are kept in memory up to `cache_bytes`."""

    def __init__(self, records: Sequence[Record], side: int, seed: int, *, cache_bytes: int = 2 << 30) -> None:
        self.records, self.side, self.seed = list(records), side, seed
        # Which pictures stay in memory is settled beforehand, in order, so that the cache has nothing to evict.
        total = np.cumsum([3 * record.width * record.height for record in self.records])
        self._cached = int(np.searchsorted(total, cache_bytes, side="right"))
        self._pictures: dict[int, UInt8[Tensor, "3 h w"]] = {}
        self._order = lru_cache(2)(lambda epoch: chance.generator(seed, "order", epoch).permutation(len(self.records)))

    def index(self, n: int) -> int:
        """Which picture sample n comes from."""
        return int(self._order(n // len(self.records))[n % len(self.records)])

    def __call__(self, n: int) -> UInt8[Tensor, "3 side side"]:
        picture = self._read(self.index(n))
        _, height, width = picture.shape
        if min(height, width) < self.side:
            pad = ((0, 0), (0, max(0, self.side - height)), (0, max(0, self.side - width)))
            # NumPy's reflection goes back and forth where the padding is wider than the picture.
            picture = torch.from_numpy(np.pad(picture.numpy(), pad, mode="reflect"))
            _, height, width = picture.shape
        rng = chance.generator(self.seed, "canvas", n)
        top, left = int(rng.integers(height - self.side + 1)), int(rng.integers(width - self.side + 1))
        canvas = picture[:, top : top + self.side, left : left + self.side]
        return canvas.flip(-1) if rng.random() < 0.5 else canvas.clone()

    def _read(self, index: int) -> UInt8[Tensor, "3 h w"]:
        if index in self._pictures:
            return self._pictures[index]
        picture = images.read(self.records[index].path)
        if index < self._cached:
            self._pictures[index] = picture
        return picture


HELD_OUT = ("chelsea", "china", "coffee")
"""The sample photographs that the demo keeps for measuring; chosen by hand for their variety before anything was trained."""

_SAMPLES = {
    "skimage": (
        "data",
        "astronaut.png chelsea.png coffee.png hubble_deep_field.jpg ihc.png motorcycle_left.png motorcycle_right.png retina.jpg rocket.jpg",
    ),
    "sklearn": ("datasets/images", "china.jpg flower.jpg"),
}


def samples() -> list[Path]:
    """The colour photographs that the scikit-image and scikit-learn wheels carry, sorted by name. Nothing is downloaded.

    Raises UserError when the packages are not installed."""
    found: list[Path] = []
    for package, (folder, names) in _SAMPLES.items():
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise UserError(f"the sample photographs lie in {package}, which is not installed: pip install 'wildsr[demo]'")
        found += [Path(spec.origin).parent / folder / name for name in names.split()]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise UserError(f"the sample photograph {missing[0]} is missing: reinstall scikit-image and scikit-learn")
    return sorted(found, key=lambda path: path.name)
