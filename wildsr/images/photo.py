"""Pictures as they are: samples of any depth, alpha, and what belongs to a picture beside its samples.

Pillow reads 16-bit colour as 8 bits without a word, so deep PNG is read by imagecodecs (libpng) and TIFF by tifffile."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wildsr.errors import UserError
from wildsr.images import meta as metadata
from wildsr.images.found import Found, Stream
from wildsr.images.meta import NOTHING, Meta
from wildsr.images.reading import MAX_PIXELS, plainly, require_file


@dataclass(frozen=True)
class Photo:
    """A picture as it lies in its file, upright.

    pixels: (H, W, C), C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGB + alpha (not premultiplied); uint8, uint16 (0 … 65535) or float32 (as
    in the file, where 0 is black and 1 is white). format: the name in FORMATS of the file that it was read from, "" for one from memory or
    of a format that is not written. notes: what reading changed, in plain words."""

    pixels: np.ndarray
    meta: Meta = NOTHING
    format: str = ""
    notes: tuple[str, ...] = ()


_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIC = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def read_photo(source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Photo:
    """Reads a file, or the bytes of one, with all that belongs to the picture; errors call it `name` (the path, or "standard input").

    Reads JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC (with the extra `heif`), JPEG 2000, PPM and TGA. Of several frames or pages the first
    is taken. CMYK becomes sRGB through its own profile (relative colorimetric, with black point compensation), or plainly where it has
    none. Raises UserError for what cannot be read faithfully: missing, empty and damaged files, more than `max_pixels` pixels (read
    from the header, before memory is taken), colour spaces and sample types that have no place in a Photo."""
    called = name or ("standard input" if isinstance(source, bytes) else str(source))
    if isinstance(source, bytes):
        if not source:
            raise UserError(f"{called}: the picture is empty (0 bytes)")
    else:
        require_file(source)
    with plainly(called), _binary(source) as file:
        return _finished(_decoder(file)(file, called, max_pixels))


@contextlib.contextmanager
def _binary(source: Path | bytes) -> Iterator[Stream]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    else:
        with open(source, "rb") as file:
            yield file


def _decoder(file: Stream) -> Callable[[Stream, str, int], Found]:
    """Who reads such a file, by its first bytes."""
    from wildsr.images import deep, ordinary, tiff

    head = file.read(1 << 16)
    file.seek(0)
    if head[:4] in _TIFF:
        return tiff.read_tiff
    if head.startswith(_PNG):
        return deep.read_png
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC and not (b"av01" in head and b"hvc1" not in head):
        return deep.read_heif
    if head[4:8] == b"ftyp" and (head[8:12] in (b"avif", b"avis") or b"av01" in head):
        return deep.read_avif
    return ordinary.read_ordinary


def _finished(found: Found) -> Photo:
    """Puts a picture upright and leaves out what does not belong to its samples."""
    channels = found.pixels.shape[2]
    meta, orientation, notes = metadata.settled(
        found.icc, found.exif, found.xmp, found.dpi, channels=channels, orientation=found.orientation
    )
    return Photo(_upright(found.pixels, orientation), meta, found.format, (*found.notes, *notes))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    across = pixels.transpose(1, 0, 2)
    turned = {
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: across,
        6: across[:, ::-1],
        7: across[::-1, ::-1],
        8: across[::-1],
    }.get(orientation, pixels)
    return np.ascontiguousarray(turned)
