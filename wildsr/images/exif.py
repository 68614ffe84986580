"""EXIF blocks and TIFF's directories, as bytes: what Pillow would drop or rewrite stays as it is.

Sources: TIFF 6.0, section 2; EXIF 2.32, section 4.6; BigTIFF."""

import contextlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

HEAD = b"Exif\0\0"

ORIENTATION, EXIF, GPS, INTEROPERABILITY = 0x0112, 0x8769, 0x8825, 0xA005
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
DESCRIPTIVE = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298})
"""Of a TIFF file's first directory: description, make, model, software, date, artist, copyright."""

_FOLDERS = frozenset({EXIF, GPS, INTEROPERABILITY})
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SWAPPED = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_MOST = 1 << 26
"""Bytes that one value may have."""
_MOST_ENTRIES = 4096
"""Of one directory."""


@dataclass(frozen=True)
class Entry:
    """One value of a directory: TIFF's type, and its bytes, the lowest first."""

    kind: int
    data: bytes


Directory: TypeAlias = dict[int, "Entry | Directory"]
Fetch = Callable[[int, int], bytes]
"""Bytes of a file: from where, and how many. Raises ValueError beyond its end."""


def _turned(kind: int, data: bytes, order: str) -> bytes:
    """Values with their bytes in the other order, where that is not the lowest first."""
    size = _SWAPPED.get(kind, 1)
    if order == "<" or size == 1:
        return data
    return b"".join(data[at : at + size][::-1] for at in range(0, len(data), size))


def read_directory(
    fetch: Fetch, offset: int, order: str, *, big: bool = False, keep: frozenset[int] | None = None, depth: int = 0
) -> Directory:
    """The directory at an offset, and those that it points to. order: "<" or ">"; keep: only these tags, and the directories below. A value
    or a directory below that is damaged is left out alone; raises ValueError where the directory itself is."""
    count_form, entry_form, inline = ("Q", "HHQ8s", 8) if big else ("H", "HHI4s", 4)
    width = struct.calcsize(order + entry_form)
    (count,) = struct.unpack(order + count_form, fetch(offset, struct.calcsize(order + count_form)))
    if count > _MOST_ENTRIES or depth > 3:
        raise ValueError("a directory is damaged")
    table = fetch(offset + struct.calcsize(order + count_form), count * width)
    found: Directory = {}
    entered: set[int] = set()  # once each, lest damage lead through the same ones again and again
    for tag, kind, length, value in struct.iter_unpack(order + entry_form, table):
        if kind not in _SIZES or tag in entered or not (keep is None or tag in keep or tag in _FOLDERS):
            continue
        size = length * _SIZES[kind]
        with contextlib.suppress(ValueError):
            if tag in _FOLDERS:
                entered.add(tag)
                place = int.from_bytes(value[: _SIZES[kind]], "little" if order == "<" else "big")
                found[tag] = read_directory(fetch, place, order, big=big, depth=depth + 1)
            elif size <= _MOST:
                data = value[:size] if size <= inline else fetch(struct.unpack(order + ("Q" if big else "I"), value)[0], size)
                found[tag] = Entry(kind, _turned(kind, data, order))
    return found


def write_directory(directory: Mapping[int, "Entry | Directory | bytes"], offset: int, *, big: bool = False) -> bytes:
    """A directory, the lowest byte first, and all that it points to, for a place `offset` in a file. Values of bytes are whole entries."""
    count_form, entry_form, inline = ("<Q", "<HHQ8s", 8) if big else ("<H", "<HHI4s", 4)
    table = struct.calcsize(count_form) + len(directory) * struct.calcsize(entry_form) + inline
    entries, behind = [], b""
    for tag, value in sorted(directory.items(), key=lambda item: item[0]):
        place = offset + table + len(behind)
        if isinstance(value, bytes):
            entries.append(value)
            continue
        if isinstance(value, Entry):
            kind, data = value.kind, value.data
            count = len(data) // _SIZES[kind]
            if len(data) > inline:
                behind += data + b"\0" * (len(data) % 2)
                data = place.to_bytes(inline, "little")
        else:
            kind, count, data = (18 if big else 4), 1, place.to_bytes(inline, "little")
            behind += write_directory(value, place, big=big)
        entries.append(struct.pack(entry_form, tag, kind, count, data.ljust(inline, b"\0")))
    return struct.pack(count_form, len(directory)) + b"".join(entries) + b"\0" * inline + behind


def extended(fetch: Fetch, offset: int, more: Mapping[int, "Entry | Directory"], place: int, *, big: bool = False) -> bytes:
    """The directory at an offset, lowest byte first, with more entries, for another place in the same file: what it points to stays."""
    count_form, width = ("<Q", 20) if big else ("<H", 12)
    (count,) = struct.unpack(count_form, fetch(offset, struct.calcsize(count_form)))
    table = fetch(offset + struct.calcsize(count_form), count * width)
    there = {int.from_bytes(table[at : at + 2], "little"): table[at : at + width] for at in range(0, len(table), width)}
    return write_directory({**more, **there}, place, big=big)


def _fetch(block: bytes) -> Fetch:
    def fetch(at: int, length: int) -> bytes:
        if at < 0 or at + length > len(block):
            raise ValueError("a value lies beyond the end")
        return block[at : at + length]

    return fetch


def _start(block: bytes) -> tuple[str, int]:
    """Byte order, and where the first directory lies. Raises ValueError."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        raise ValueError("no EXIF block")
    return order, struct.unpack(order + "I", block[4:8])[0]


def parse(block: bytes) -> Directory:
    """The first directory of an EXIF block, with or without its head. Raises ValueError where it is damaged."""
    block = block.removeprefix(HEAD)
    order, offset = _start(block)
    return read_directory(_fetch(block), offset, order)


def build(directory: Mapping[int, "Entry | Directory"]) -> bytes:
    """An EXIF block, with its head."""
    return HEAD + b"II*\0" + struct.pack("<I", 8) + write_directory(directory, 8)


def upright(block: bytes) -> tuple[bytes | None, int | None]:
    """A block with its orientation reset to 1 and without its thumbnail, which would not be turned, or None where its directory is cut
    short; and the orientation that it told, also then: None for nothing.

    All else stays where it is, for makers' notes count from the beginning of the block. Raises ValueError for what is no block."""
    block = block.removeprefix(HEAD)
    order, offset = _start(block)
    (count,) = struct.unpack(order + "H", _fetch(block)(offset, 2))
    following = offset + 2 + 12 * count
    changed, said = bytearray(block), None
    for at in range(offset + 2, min(following, len(block) - 11), 12):
        tag, kind, length = struct.unpack(order + "HHI", block[at : at + 8])
        if tag == ORIENTATION and kind in (3, 4) and length == 1:  # 4 is against the standard, and met
            form = order + ("H" if kind == 3 else "I")
            (said,) = struct.unpack_from(form, block, at + 8)
            struct.pack_into(form, changed, at + 8, 1)
    if following > len(block) or count > _MOST_ENTRIES:
        return None, said
    if following + 4 <= len(block):
        changed[following : following + 4] = b"\0\0\0\0"
    return HEAD + bytes(changed), said


def resolution(directory: Mapping[int, "Entry | Directory"]) -> tuple[float, float] | None:
    """Dots per inch, across and down, that a directory tells."""
    found = []
    for tag in (X_RESOLUTION, Y_RESOLUTION):
        entry = directory.get(tag)
        if not isinstance(entry, Entry) or entry.kind != 5 or len(entry.data) != 8:
            return None
        over, under = struct.unpack("<II", entry.data)
        found.append(over / under if under else 0.0)
    unit = directory.get(RESOLUTION_UNIT)
    told = int.from_bytes(unit.data[:2], "little") if isinstance(unit, Entry) else 2
    if told not in (2, 3):
        return None
    across, down = (value * (2.54 if told == 3 else 1) for value in found)
    return across, down
