"""Decoded pictures packed into one file, which is memory-mapped when it is read.

The file is a safetensors file: one uint8 tensor (3, H, W) a picture, in order, and the SHA-256 of each picture's pixels among the
metadata. Equal pictures under equal names give equal bytes."""

import bisect
import json
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError, safe_open
from torch import Tensor

from wildsr import chance, files, images
from wildsr.datasets.folders import examine
from wildsr.datasets.part import Part, Record, require_sound
from wildsr.errors import UserError

SUFFIX = ".safetensors"
"""What the name of a packed file ends in."""

LARGEST_HEADER = 100_000_000
"""Bytes of names that safetensors reads."""

_VERSION = 1


def pack(
    folders: Sequence[Path | str], out: Path | str, *, max_bytes: int | None = None, side: int | None = None, seed: int = 0
) -> tuple[int, int]:
    """Decodes the pictures of some folders into one file; returns how many it holds, and how many there were.

    `side` cuts each picture to its middle side×side at most. A file that would be larger than `max_bytes` gets as many pictures, drawn
    with `seed`, as fit. Raises UserError for pictures that cannot be read, where not a single one fits, for more than a header may name,
    and where `out` is a file of another kind."""
    out = Path(out)
    if out.suffix != SUFFIX:
        raise UserError(f"{out}: the name of a packed file ends in {SUFFIX}")
    for name, value in (("max-bytes", max_bytes), ("side", side)):
        if value is not None and value < 1:
            raise UserError(f"{name} = {value}: use a positive number")
    _require_free(out)
    found = examine(folders)
    require_sound(found, 1)
    cut = side or max(max(record.width, record.height) for record in found)
    records = [replace(record, width=min(record.width, cut), height=min(record.height, cut)) for record in found]
    chosen = list(range(len(records)))
    if max_bytes is not None:
        order = chance.generator(seed, "pack").permutation(len(records)).tolist()

        def size(count: int) -> int:
            taken = [records[i] for i in sorted(order[:count])]
            return len(_header(taken, [record.sha256 for record in taken])) + sum(3 * record.width * record.height for record in taken)

        fitting = bisect.bisect_right(range(1, len(records) + 1), max_bytes, key=size)
        if fitting == 0:
            raise UserError(f"max-bytes = {max_bytes}: room for no picture, the first alone takes {size(1)}: raise it, or set a --side")
        chosen = sorted(order[:fitting])
    taken = [records[i] for i in chosen]
    if len(_header(taken, [record.sha256 for record in taken])) > LARGEST_HEADER:
        raise UserError(
            f"{len(taken)} pictures are more than one packed file can name (about 600,000): pack them as several files, and name them all"
        )

    hashes: list[str] = []
    with files.atomic_write(out) as file:
        file.write(_header(taken, [record.sha256 for record in taken]))  # of the right length; its hashes are not yet those of the pixels
        for record in taken:
            picture = _middle(images.read(record.path), record.width, record.height)
            hashes.append(images.pixels_sha256(picture))
            file.write(picture.contiguous().numpy().tobytes())
        file.seek(0)
        file.write(_header(taken, hashes))
    return len(taken), len(records)


def _require_free(out: Path) -> None:
    """A packed file may be replaced; a model's weights, which end alike, must not be lost to a slip."""
    if not out.exists():
        return
    try:
        Packed(out)
    except UserError:
        raise UserError(f"{out}: is there already, and is no whole file of packed pictures: use another --out, or remove it") from None


def _middle(picture: UInt8[Tensor, "3 h w"], width: int, height: int) -> UInt8[Tensor, "3 y x"]:
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width]


def _header(records: Sequence[Record], hashes: Sequence[str]) -> bytes:
    """The beginning of the file: eight bytes of length, and JSON. Its own length hangs on names and sizes alone."""
    metadata = {"wildsr.pictures": str(_VERSION), "wildsr.sha256": json.dumps(hashes)}
    values: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for i, record in enumerate(records):
        start, end = end, end + 3 * record.width * record.height
        # Numbered, for pictures of several folders may share a name.
        name = f"{i:06d} {files.printable(Path(record.path).name)}"
        values[name] = {"dtype": "U8", "shape": [3, record.height, record.width], "data_offsets": [start, end]}
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


class Packed(Part):
    """The pictures of a packed file. Nothing is read before a picture's pixels are touched.

    Raises UserError for a file that is missing, damaged, cut short, or holds something else."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        if not self._path.is_file():
            raise UserError(f"{path}: no such file")
        try:
            with safe_open(self._path, framework="np") as file:  # sees to it that header and length are whole
                metadata = dict(file.metadata() or {})
        except SafetensorError as error:
            raise UserError(f"{path}: not a whole file of packed pictures ({error}): pack it again") from None
        if not {"wildsr.pictures", "wildsr.sha256"} <= metadata.keys():
            raise UserError(f"{path}: holds no packed pictures: make such a file with wildsr data pack")
        if metadata["wildsr.pictures"] != str(_VERSION):
            raise UserError(f"{path}: packed in format {metadata['wildsr.pictures']}, this version reads {_VERSION}: pack it again")
        with open(self._path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            values = json.loads(file.read(length))
            self._bytes = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        del values["__metadata__"]
        try:
            self.hashes = json.loads(metadata["wildsr.sha256"])
            pictures = zip(values.items(), self.hashes, strict=True)
            self.records = [self._record(name, sha256, **value) for (name, value), sha256 in pictures]
        except (TypeError, ValueError):  # a sound file of tensors, but not of ours
            raise UserError(f"{path}: its list of pictures is damaged: pack it again") from None
        self._starts = [8 + length + value["data_offsets"][0] for value in values.values()]

    def _record(self, name: str, sha256: str, dtype: str, shape: list[int], data_offsets: list[int]) -> Record:
        channels, height, width = shape
        if (dtype, channels) != ("U8", 3):
            raise ValueError
        start, end = data_offsets
        return Record(f"{self._path}: {name}", end - start, 0, sha256, width, height)

    def __len__(self) -> int:
        return len(self.records)

    def read(self, i: int) -> UInt8[np.ndarray, "3 h w"]:
        start, record = self._starts[i], self.records[i]
        return self._bytes[start : start + record.size].reshape(3, record.height, record.width)

    def name(self, i: int) -> str:
        return self.records[i].path

    def check(self) -> Iterator[Record]:
        for i, record in enumerate(self.records):
            sound = images.pixels_sha256(torch.from_numpy(self.read(i).copy())) == record.sha256
            yield record if sound else replace(record, problem=f"{record.path}: the pixels are damaged: pack the file again")

    def to_json(self) -> list[dict[str, Any]]:
        contents = files.sha256("\n".join(self.hashes).encode())
        return [{"path": str(self._path.resolve()), "pictures": len(self), "sha256": contents}]
