"""Parquet shards, local or far away: row counts come from their footers, pictures are read a row group at a time.

Anything that fsspec has a file system for can hold them: a folder, hf:// (the Hugging Face Hub), s3:// and others."""

import functools
import glob
import importlib
import json
import posixpath
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wildsr import files, images
from wildsr.datasets.folders import examine
from wildsr.datasets.part import Part, Record, require_sound
from wildsr.errors import UserError

SUFFIX = ".parquet"
"""What the name of a shard ends in."""

COLUMN = "image"
"""The column that holds the pictures, as files' bytes: binary, or the struct of bytes and path that Hugging Face datasets write."""

_TAIL = 1 << 16  # bytes read from the end of a shard at first; nearly every footer lies within
_WAITS = (1, 4, 15)  # seconds before what failed is tried again; the network's own library has tried several times by then


@dataclass(frozen=True)
class Shard:
    """One shard as its footer describes it."""

    path: str
    size: int
    stamp: str
    """Changes when the file does."""
    sha256: str
    """Of the footer, which holds the row groups' counts, places and sizes. A picture exchanged for one of equal length goes unnoticed."""
    column: str
    """"image", or "image.bytes" within the struct."""
    row_groups: tuple[tuple[int, int], ...]
    """(pictures, bytes in memory) of each."""


class Shards(Part):
    """The pictures of the shards that `name` stands for: a .parquet file, a folder or hf:// folder of them, or a pattern with * in it.

    Of what lies there, only footers are read beforehand, and none that `known` values of `to_json` describe. Raises UserError where there
    is no shard, for shards without a column of pictures, and for packages that are not installed."""

    def __init__(self, name: Path | str, known: Sequence[dict[str, Any]] = ()) -> None:
        self._system, paths = _find(str(name))
        self._footer = functools.lru_cache(64)(self._read_footer)
        seen = {value["path"]: value for value in known if value.keys() == Shard.__annotations__.keys()}
        with ThreadPoolExecutor(8) as pool:  # of a far place, it is the way to and fro that takes the time
            self.shards = list(pool.map(lambda path: self._look(path, seen.get(path)), paths))
        self.hashes = [shard.sha256 for shard in self.shards]
        self.row_groups = [group for shard in self.shards for group in shard.row_groups]
        self._ends = np.cumsum([pictures for pictures, _ in self.row_groups], dtype=np.int64)
        self._first_groups = np.cumsum([0, *(len(shard.row_groups) for shard in self.shards)])
        # Row groups at hand, or on their way; that least lately asked for comes first.
        self._held: OrderedDict[int, Future[Any]] = OrderedDict()
        self._room, self._lock, self._pool = 2, threading.Lock(), ThreadPoolExecutor(4)
        self._failure: UserError | None = None

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, i: int) -> UInt8[np.ndarray, "3 h w"]:
        return images.from_pillow(images.decode(self._bytes(i), self.name(i))).numpy()

    def name(self, i: int) -> str:
        shard, _ = self._shard(self._group(i))
        first = self._first_groups[shard]
        return f"{self.shards[shard].path}, row {i - (int(self._ends[first - 1]) if first else 0)}"

    def check(self) -> Iterator[Record]:
        for group, (pictures, _) in enumerate(self.row_groups):
            self._failure = None  # here, each speaks for itself
            for i in range(self._ends[group] - pictures, self._ends[group]):
                try:
                    data = self._bytes(i)
                    width, height = images.decode(data, self.name(i)).size
                except UserError as error:
                    yield Record(self.name(i), 0, 0, "", 0, 0, problem=str(error))
                else:
                    yield Record(self.name(i), len(data), 0, files.sha256(data), width, height)

    def to_json(self) -> list[dict[str, Any]]:
        return [asdict(shard) for shard in self.shards]

    def hold(self, groups: Sequence[int]) -> None:
        self._room = len(groups) + 2  # a thread may still need what was held before
        for group in groups:
            self._column(group)

    # ---------------------------------------------------------------------------------------------------------------------- footers

    def _look(self, path: str, known: dict[str, Any] | None) -> Shard:
        size, stamp = _patiently(path, lambda: (self._system.info(path)["size"], self._system.ukey(path)))
        if known is not None and (known["size"], known["stamp"]) == (size, stamp):
            return Shard(**{**known, "row_groups": tuple((pictures, bytes) for pictures, bytes in known["row_groups"])})
        sha256, footer = self._footer(path)
        column = _picture_column(footer.schema.to_arrow_schema(), path)
        number = next(i for i in range(footer.num_columns) if footer.schema.column(i).path == column)
        groups = (footer.row_group(i) for i in range(footer.num_row_groups))
        row_groups = tuple((group.num_rows, group.column(number).total_uncompressed_size) for group in groups)
        return Shard(path, size, stamp, sha256, column, row_groups)

    def _read_footer(self, path: str) -> tuple[str, Any]:
        """The hash of a shard's footer, and the footer."""
        size = _patiently(path, lambda: self._system.info(path)["size"])

        def end(length: int) -> bytes:
            return _patiently(path, lambda: self._system.cat_file(path, start=max(0, size - length), end=size))

        footer = end(_TAIL)
        length = int.from_bytes(footer[-8:-4], "little") + 8
        if footer[-4:] != b"PAR1" or length > size:
            raise UserError(f"{path}: not a whole Parquet file")
        footer = footer[-length:] if length <= len(footer) else end(length)
        try:
            return files.sha256(footer), _need("pyarrow.parquet").read_metadata(_need("pyarrow").BufferReader(b"PAR1" + footer))
        except Exception as error:  # Broken bytes meet the reader with whatever exception it happens to run into.
            raise UserError(f"{path}: its footer is damaged ({_line(error)})") from None

    # ----------------------------------------------------------------------------------------------------------------------- groups

    def _group(self, i: int) -> int:
        return int(np.searchsorted(self._ends, i, side="right"))

    def _shard(self, group: int) -> tuple[int, int]:
        """(shard, number within it) of a row group."""
        shard = int(np.searchsorted(self._first_groups, group, side="right")) - 1
        return shard, group - int(self._first_groups[shard])

    def _bytes(self, i: int) -> bytes:
        group = self._group(i)
        pictures, _ = self.row_groups[group]
        data = self._column(group).result()[i - int(self._ends[group]) + pictures].as_py()
        if data is None:
            raise UserError(f"{self.name(i)}: the picture itself is missing (null; perhaps only its path was stored)")
        return data

    def _column(self, group: int) -> "Future[Any]":
        """A row group's pictures, at hand or on their way."""
        with self._lock:
            if group not in self._held:
                self._held[group] = self._pool.submit(self._read_group, group)
            self._held.move_to_end(group)
            while len(self._held) > self._room:
                self._held.popitem(last=False)
            return self._held[group]

    def _read_group(self, group: int) -> Any:
        number, within = self._shard(group)
        shard = self.shards[number]

        def read() -> Any:
            with self._system.open(shard.path, "rb", cache_type="none") as file:
                parquet = _need("pyarrow.parquet").ParquetFile(file, metadata=self._footer(shard.path)[1], pre_buffer=True)
                return parquet.read_row_group(within, columns=[shard.column]).flatten().column(0)

        if self._failure is None:
            try:
                return _patiently(shard.path, read)
            except UserError as error:
                self._failure = error
        raise self._failure  # what one group met with stands for all: those that wait need not meet with it, too


def write_shards(folders: Sequence[Path | str], out: Path | str, *, rows: int = 1000, group_rows: int = 100) -> int:
    """Writes the pictures below some folders, their files' bytes unchanged, as Parquet shards of `rows` pictures to a new folder; returns
    how many shards. Hugging Face's datasets library reads them as pictures, too.

    Raises UserError for pictures that cannot be read, and for a folder that is there already."""
    arrow, parquet = _need("pyarrow"), _need("pyarrow.parquet")
    if rows < 1:
        raise UserError(f"rows = {rows}: use a positive number")
    out = Path(out)
    if out.exists():
        raise UserError(f"{out}: is there already: use another --out")
    found = examine(folders)
    require_sound(found, 1)
    features = json.dumps({"info": {"features": {COLUMN: {"_type": "Image"}}}})
    kind = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
    schema = arrow.schema([(COLUMN, kind)], metadata={"huggingface": features})
    count = -(-len(found) // rows)
    with files.atomic_directory(out) as folder:
        for shard in range(count):
            paths = [Path(record.path) for record in found[shard * rows : (shard + 1) * rows]]
            name = f"{shard:05d}-of-{count:05d}{SUFFIX}"
            # Pictures are compressed already, and no two are the same.
            with parquet.ParquetWriter(folder / name, schema, compression="none", use_dictionary=False) as writer:
                for start in range(0, len(paths), group_rows):
                    group = paths[start : start + group_rows]
                    values = [{"bytes": path.read_bytes(), "path": files.printable(path.name)} for path in group]
                    writer.write_table(arrow.table({COLUMN: arrow.array(values, kind)}, schema=schema))
    return count


def _find(name: str) -> tuple[Any, list[str]]:
    """The file system, and the full names of the shards in order."""
    far = "://" in name
    fsspec = _need("fsspec")
    try:
        system = fsspec.core.url_to_fs(name)[0] if far else fsspec.filesystem("file")
    except ImportError:
        mend = "pip install 'wildsr[parquet]'" if name.startswith("hf://") else "install the package that fsspec asks for"
        raise UserError(f"{name}: nothing installed reads such places: {mend}") from None
    except ValueError as error:
        raise UserError(f"{name}: no such kind of place ({_line(error)})") from None
    place = name if far else str(Path(name).resolve())

    def search() -> list[str]:
        if system.isfile(place):
            return [place]
        if glob.has_magic(place) and not system.isdir(place):
            return system.glob(place)
        return system.find(place)

    try:
        found = _patiently(name, search)
    except FileNotFoundError:
        found = []
    paths = sorted(path for path in found if path.endswith(SUFFIX) and not posixpath.basename(path).startswith("."))
    if not paths:
        more = ": the Hub's own copy in Parquet is called hf://datasets/OWNER/NAME@~parquet" if name.startswith("hf://") else ""
        raise UserError(f"{name}: holds no {SUFFIX} file{more}")
    return system, [system.unstrip_protocol(path) if far else path for path in paths]


def _picture_column(schema: Any, path: str) -> str:
    """The name of the column of pictures' bytes."""
    types = _need("pyarrow").types

    def binary(kind: Any) -> bool:
        return types.is_binary(kind) or types.is_large_binary(kind)

    if COLUMN in schema.names:
        kind = schema.field(COLUMN).type
        if binary(kind):
            return COLUMN
        if types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and binary(kind.field("bytes").type):
            return f"{COLUMN}.bytes"
    shown = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise UserError(f"{path}: no column {COLUMN!r} of pictures' bytes among its columns {shown}: rename the one that holds them")


def _patiently(path: str, work: Callable[[], Any]) -> Any:
    """Runs some work on a file; what fails on the network is tried again before it is an error."""
    for wait in (*(_WAITS if "://" in path else ()), None):
        try:
            return work()
        except (FileNotFoundError, MemoryError, UserError):
            raise
        except Exception as error:  # Every file system has errors of its own.
            status = getattr(getattr(error, "response", None), "status_code", None)
            if wait is None or status in (401, 403, 404) or isinstance(error, PermissionError):
                raise UserError(f"{path}: cannot be read ({_line(error)})") from None
            time.sleep(wait)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _need(module: str) -> Any:
    """A module of an extra. Raises UserError saying how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"Parquet shards need {module.split('.')[0]}: pip install 'wildsr[parquet]'") from None
