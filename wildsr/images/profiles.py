"""ICC profiles in files of which Pillow does not read them."""

import struct

from wildsr.images.found import Stream

_MOST = 1 << 26
"""Bytes of the largest profile that is read."""

_GIF = b"\x21\xff\x0bICCRGBG1012"


def profile_of(kind: str, file: Stream) -> bytes | None:
    """The profile in a JPEG 2000, BMP or GIF file; None where there is none, or it is damaged."""
    read = {"JPEG2000": _jpeg2000, "BMP": _bmp, "GIF": _gif}.get(kind)
    try:
        return read(file) or None if read else None
    except (struct.error, ValueError, IndexError):
        return None


def _jpeg2000(file: Stream) -> bytes:
    """ISO 15444-1, annex I.5.3.3: the box of colours, by method 2."""
    at, end = 0, file.seek(0, 2)
    while at + 8 <= end:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"jp2h":
            at += 8
            continue
        if kind == b"colr":
            data = file.read(min(length - 8, _MOST))
            if data[0] == 2:
                return data[3:]
        if length < 8:
            break
        at += length
    return b""


def _bmp(file: Stream) -> bytes:
    """BITMAPV5HEADER with an embedded profile."""
    file.seek(14)
    head = file.read(124)
    (size,) = struct.unpack("<I", head[:4])
    if size < 124 or head[56:60] != b"DEBM":
        return b""
    offset, length = struct.unpack("<II", head[112:120])
    file.seek(14 + offset)
    return file.read(min(length, _MOST))


def _gif(file: Stream) -> bytes:
    """The application block ICCRGBG1, of pieces that each begin with their length."""
    file.seek(0)
    data = file.read(_MOST)
    at, found = data.find(_GIF) + len(_GIF), b""
    if at < len(_GIF):
        return b""
    while (length := data[at]) > 0:
        found += data[at + 1 : at + 1 + length]
        at += 1 + length
    return found
