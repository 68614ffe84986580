"""Files that are whole or absent, records that survive a crash, and names for bytes."""

import contextlib
import errno
import hashlib
import json
import lzma
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from wildsr import __version__
from wildsr.errors import UserError

try:
    import fcntl
except ImportError:
    fcntl = None


@contextlib.contextmanager
def atomic_write(path: Path | str) -> Iterator[BinaryIO]:
    """Opens `path` for binary writing; it takes its name only when it is whole and on the disk. Where several write one name at once, each
    writes a file of its own, and the last one's stays. Raises OSError naming `path`."""
    path = Path(path)
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, file = _begin(path)
        with file:
            try:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:  # there, no open file takes another name
                    file.close()
                os.replace(partial, path)
            except BaseException:
                # Under the lock still. The clean-up must not hide the error: what could not be written cannot be closed either.
                with contextlib.suppress(OSError):
                    if fcntl is None:
                        file.close()
                    partial.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise _named(error, path, instead_of=partial) from error


def _partial(path: Path, ours: str = "") -> Path:
    """The name of a file until it is whole. A name may have 255 bytes."""
    name = os.fsencode(path.name)
    fits = not ours and len(name) <= 240
    return path.with_name(f".{path.name}.partial" if fits else f".{sha256(name)[:32]}{ours}.partial")


def _begin(path: Path) -> tuple[Path, BinaryIO]:
    """An empty file, and its name until it is whole: the one that a killed process left, lest these pile up, unless another writer has it
    in hand."""
    partial = _partial(path)
    while fcntl is not None:
        file = open(partial, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666))  # noqa: SIM115
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            partial = _partial(path, ours=f"-{secrets.token_hex(8)}")
            break
        except OSError:  # no locks on this file system
            pass
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(partial)):
                file.truncate()
                return partial, file
        file.close()  # another writer's, that has taken its name since
    return partial, open(partial, "w+b")


def _named(error: OSError, path: Path, instead_of: Path | None = None) -> OSError:
    if error.errno is None or error.filename not in (None, str(instead_of), instead_of):
        return error
    return type(error)(error.errno, os.strerror(error.errno), str(path))


def describe_error(error: OSError) -> str:
    """What went wrong with which file, in plain words."""
    if not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


@contextlib.contextmanager
def claim(path: Path) -> Iterator[bool]:
    """Whether a lock is free; it is then held. The system frees it when the process ends, however it ends.

    Where there are no such locks (on Windows, on some network file systems), all are free."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        ours = True
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                ours = False
            except OSError:
                pass
        yield ours


@contextlib.contextmanager
def exclusive(path: Path, refusal: str) -> Iterator[None]:
    """Holds a lock, as `claim` does. Raises UserError(refusal) when another holds it."""
    with claim(path) as ours:
        if not ours:
            raise UserError(refusal)
        yield


def write_bytes(path: Path | str, data: bytes) -> None:
    """Writes a file atomically."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path | str, text: str) -> None:
    """Writes a UTF-8 file atomically; in JSON, also a file's name that is not UTF-8."""
    write_bytes(path, _encode(text))


def _encode(text: str) -> bytes:
    """Text in UTF-8. What Python has for a byte of a name that is not UTF-8 is written as \\udcXX, which JSON reads as just that."""
    return text.encode(errors="backslashreplace")


def printable(name: str) -> str:
    """A file's name as text that UTF-8 has: of a name that is not UTF-8, its bytes as \\xXX."""
    return os.fsencode(name).decode(errors="backslashreplace")


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; it takes the name `path`, which must be free, only when all is written."""
    partial = path.with_name(f".{path.name}.partial")
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def cache_folder() -> Path:
    """What can be made again, and is kept for the next time: $XDG_CACHE_HOME/wildsr, or ~/.cache/wildsr."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "wildsr"


def to_json(values: Any) -> str:
    """Indented JSON that ends in a newline."""
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def to_line(record: Mapping[str, Any]) -> str:
    """One JSON object on one line."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def append_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Appends records, one JSON object a line. A line torn by an earlier crash is closed first, so it can spoil no other.

    Raises OSError naming `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "a+b") as file:
            if file.tell() > 0:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            for record in records:
                file.write(_encode(to_line(record)))
    except OSError as error:
        raise _named(error, path) from error


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """Reads records, of a file compressed by xz too (.xz); a line that a crash cut short is passed over. Raises OSError naming `path`."""
    opened = lzma.open if Path(path).suffix == ".xz" else open
    try:
        with opened(path, "rt", encoding="utf-8", errors="replace") as file:
            lines = [line for line in file.read().split("\n") if line.strip()]
    except (lzma.LZMAError, EOFError) as error:
        raise OSError(errno.EINVAL, "not a whole xz file", str(path)) from error
    with contextlib.suppress(json.JSONDecodeError):
        # All at once, records share their keys, which halves the memory of hundreds of thousands.
        found = json.loads(f"[{','.join(lines)}]")
        if len(found) == len(lines) and all(isinstance(record, dict) for record in found):
            return found
    records = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            record = json.loads(line)
            if isinstance(record, dict):
                records.append(record)
    return records


def read_text(path: Path | str) -> str:
    """The text of a UTF-8 file. Raises UserError naming the file when it is missing or none."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise UserError(f"{path}: not a text file") from None


def read_json(path: Path | str) -> Any:
    """The value that a JSON file holds. Raises UserError naming the file when it is missing or damaged."""
    text = read_text(path)
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(f"{path}: not a JSON file") from None


def sha256(data: bytes | memoryview) -> str:
    """Hexadecimal SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_version() -> str:
    """The version and a hash of the package's own sources: equal code has an equal name, in a checkout and in a wheel alike."""
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(root.rglob("*.py")):
        digest.update(source.relative_to(root).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return f"{__version__}+src.{digest.hexdigest()[:12]}"
