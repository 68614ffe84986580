"""Archives from elsewhere, unpacked with care: nothing is written outside the folder, and nothing grows beyond all measure.

Zip, tar (plain, gzip, bzip2, xz) and Parquet with a column of pictures are told apart by their content, not by their names."""

import bz2
import gzip
import importlib
import io
import lzma
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from wildsr import images
from wildsr.errors import UserError

MOST_FILES = 200_000
"""Files that an archive may hold."""
MOST_BYTES = 1 << 30
"""Bytes that a file in it may have."""
RATIO, FLOOR = 20, 64 << 20
"""All files together may have so many times the bytes of the archive, and this many in any case. Pictures are compressed already."""

_CHUNK = 1 << 20
_READ = 16 << 20  # bytes that an archive's own records may ask for at once
_HIDDEN = ("__MACOSX",)
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error, ValueError, NotImplementedError)


def unpack(archive: Path, folder: Path, *, inside: str = "", name: str = "") -> None:
    """Unpacks an archive into a folder, which may hold something already; its own folders are kept. A single picture is put there as
    `name`. inside: takes only what lies below this folder of the archive, and drops that path. Hidden files are left out.

    Raises UserError, naming the entry: for what would be written outside the folder, links, devices, encrypted entries, two entries that
    are one file on some system; for more files or bytes than an archive of pictures of its size holds, announced or found; for what is
    damaged, or no archive at all."""
    room = _Room(archive, folder)
    with open(archive, "rb") as file:
        start = file.read(512)
    with _damage_as_errors(archive):
        if start[:4] == b"PAR1":
            _parquet(archive, room)
        elif start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            _zip(archive, room, PurePosixPath(inside))
        elif (opened := _tar_stream(archive, start)) is not None:
            with opened as stream:
                _tar(stream, room, PurePosixPath(inside))
        elif PurePosixPath(name).suffix.lower() in images.SUFFIXES and suffix_of(start) is not None:
            with open(archive, "rb") as source:
                room.write(PurePosixPath(name), source, archive.stat().st_size)
        else:
            raise UserError(f"{archive.name}: no zip, tar or Parquet file, and no picture: it begins with {start[:16]!r}")
    if not room.files:
        raise UserError(f"{archive.name}: holds no file" + (f" below {inside}" if inside else ""))


def suffix_of(data: bytes) -> str | None:
    """The ending that a picture's file should have, by how it begins; None for what is no picture of the usual kinds."""
    for start, suffix in ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"BM", ".bmp"), (b"II*\0", ".tif"), (b"MM\0*", ".tif")):
        if data.startswith(start):
            return suffix
    return ".webp" if data[:4] == b"RIFF" else None


class _Room:
    """The folder that is filled, and how much it may still take."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.files: set[str] = set()
        self._folders: set[str] = set()
        self._name, self._folder = archive.name, folder
        self._bytes = max(FLOOR, RATIO * archive.stat().st_size)

    def place(self, name: str, size: int, inside: PurePosixPath) -> PurePosixPath | None:
        """Where an entry belongs in the folder; None where it is not wanted. Raises UserError for a name or a size that none has."""
        plain = name.replace("\\", "/")
        path = PurePosixPath(plain)
        if not path.parts or path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", plain) or not plain.isprintable():
            raise self.refusal(name, "would be written outside its folder, or has a name that no file has")
        if size > MOST_BYTES:
            raise self.refusal(name, f"has {size:,} bytes, more than a picture has")
        if any(part.startswith(".") or part in _HIDDEN for part in path.parts) or inside not in path.parents:
            return None
        return path.relative_to(inside)

    def require(self, name: str, size: int) -> None:
        """Raises UserError where there is no room for an announced size."""
        if size > self._bytes:
            raise self.refusal(name, "makes it many times as large as the archive, which pictures never are")

    def reserve(self, name: str, size: int) -> None:
        """Takes an announced size from what is left."""
        self.require(name, size)
        self._bytes -= size

    def write(self, path: PurePosixPath, source: Any, size: int) -> None:
        """Writes an entry of a reserved size."""
        keys = [_key("/".join(path.parts[: i + 1])) for i in range(len(path.parts))]
        target = self._folder.joinpath(*path.parts)
        if keys[-1] in self.files | self._folders or self.files.intersection(keys) or target.exists():
            raise self.refusal(str(path), "would be written over another one")
        if len(self.files) >= MOST_FILES:
            raise self.refusal(str(path), f"is one more than {MOST_FILES:,} files")
        self.files.add(keys[-1])
        self._folders.update(keys[:-1])
        target.parent.mkdir(parents=True, exist_ok=True)
        left = size
        with open(target, "xb") as file:
            while chunk := source.read(min(_CHUNK, left + 1)):
                left -= len(chunk)
                if left < 0:
                    raise self.refusal(str(path), f"has more than the {size:,} bytes that it announces")
                file.write(chunk)
        if left:
            raise self.refusal(str(path), f"has {size - left:,} bytes, and announces {size:,}")

    def refusal(self, name: str, why: str) -> UserError:
        return UserError(f"{self._name}: refused: its entry {name!r} {why}")


def _key(name: str) -> str:
    """Equal for names that some file system does not tell apart: "A.png" and "a.png", or two ways to write "ä"."""
    return unicodedata.normalize("NFC", name).casefold()


@contextmanager
def _damage_as_errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (*_DAMAGE, RuntimeError) as error:
        raise UserError(f"{archive.name}: the archive is damaged ({' '.join(str(error).split()) or type(error).__name__})") from None
    except OSError as error:
        if error.errno is not None:  # of the disk; decompressors raise it bare
            raise
        raise UserError(f"{archive.name}: the archive is damaged ({error})") from None


def _zip(archive: Path, room: _Room, inside: PurePosixPath) -> None:
    with zipfile.ZipFile(archive) as file:
        entries: list[tuple[zipfile.ZipInfo, PurePosixPath]] = []
        for entry in file.infolist():
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise room.refusal(entry.filename, "is a link or a device")
            if entry.is_dir() or (path := room.place(entry.filename, entry.file_size, inside)) is None:
                continue
            if entry.flag_bits & 1:
                raise room.refusal(entry.filename, "is encrypted")
            room.reserve(entry.filename, entry.file_size)
            entries.append((entry, path))
        for entry, path in entries:  # none is written before all have been looked at
            with file.open(entry) as source:
                room.write(path, source, entry.file_size)


def _tar_stream(archive: Path, start: bytes) -> Any:
    """The uncompressed bytes of what may be a tar file, None where it is not."""
    openers: tuple[tuple[bytes, Callable[[Path], Any]], ...] = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
    for magic, opener in openers:
        if start.startswith(magic):
            return opener(archive)
    return open(archive, "rb") if start[257:262] == b"ustar" else None


def _tar(stream: Any, room: _Room, inside: PurePosixPath) -> None:
    # Entries are skipped by reading them: each is looked at before the next is asked for.
    limited: Any = _Limited(stream, room)
    with tarfile.open(fileobj=limited, mode="r:") as file:
        for entry in file:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise room.refusal(entry.name, "is a link or a device")
            path = room.place(entry.name, entry.size, inside)
            room.reserve(entry.name, entry.size)
            if path is not None and (source := file.extractfile(entry)) is not None:
                with source:
                    room.write(path, source, entry.size)


class _Limited:
    """A stream whose reader cannot ask for much at once: an archive's own records, which are read whole, might announce any size."""

    def __init__(self, stream: Any, room: _Room) -> None:
        self._stream, self._room = stream, room
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _READ:
            raise self._room.refusal("header", f"asks for {size:,} bytes at once")
        return self._stream.read(size)


def _parquet(archive: Path, room: _Room) -> None:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UserError("Parquet files need pyarrow: pip install 'wildsr[parquet]'") from None
    try:
        with parquet.ParquetFile(archive) as file:
            column = _picture_column(file.schema_arrow, archive)
            for i in range(file.metadata.num_row_groups):
                room.require(f"row group {i}", file.metadata.row_group(i).total_byte_size)
            row = 0
            for batch in file.iter_batches(batch_size=16, columns=[column]):
                for value in batch.column(0).to_pylist():
                    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
                    if not data or (suffix := suffix_of(data)) is None:
                        raise UserError(f"{archive.name}, row {row}: not a picture")
                    name = PurePosixPath((path or "").replace("\\", "/")).name
                    usable = PurePosixPath(name).suffix.lower() in images.SUFFIXES and room.place(name, len(data), PurePosixPath())
                    if not usable:
                        name = f"{row:05d}{suffix}"
                    elif _key(name) in room.files:
                        name = f"{row:05d}-{name}"
                    room.reserve(name, len(data))  # equal values are stored once: what a row group announces is less than it holds
                    room.write(PurePosixPath(name), io.BytesIO(data), len(data))
                    row += 1
    except (UserError, MemoryError):
        raise
    except Exception as error:  # Broken bytes meet the reader with whatever exception it happens to run into.
        raise UserError(f"{archive.name}: the Parquet file is damaged ({' '.join(str(error).split())})") from None


def _picture_column(schema: Any, archive: Path) -> str:
    """The one column of pictures' bytes: "image" where there is one of that name."""
    types = importlib.import_module("pyarrow").types

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and holds_bytes(kind.field("bytes").type)
        return types.is_binary(kind) or types.is_large_binary(kind)

    found = [field.name for field in schema if holds_bytes(field.type)]
    if "image" in found:
        return "image"
    if len(found) == 1:
        return found[0]
    shown = ", ".join(f"{field.name} ({field.type})" for field in schema)
    raise UserError(f"{archive.name}: not one column of pictures' bytes, but {len(found)}, among its columns {shown}")
