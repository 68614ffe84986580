"""TIFF files, through tifffile."""

import io
import logging
import math
import struct
from typing import Any

import numpy as np

from wildsr.errors import UserError
from wildsr.images import exif as blocks
from wildsr.images.found import Found, Stream, by_strips, divided
from wildsr.images.ordinary import cmyk_to_srgb, open_pillow, pillow_pixels
from wildsr.images.reading import require_pixels

_XMP, _ICC = 700, 34675
_SILENT = logging.NullHandler()


def read_tiff(file: Stream, name: str, max_pixels: int) -> Found:
    """A TIFF or BigTIFF file; of several pages the first."""
    import tifffile

    # It complains of damage in the log, which would reach the screen; what matters is raised.
    logging.getLogger("tifffile").addHandler(_SILENT)
    with tifffile.TiffFile(file, name="picture") as tif:
        page: Any = tif.pages.first
        require_pixels(page.imagewidth, page.imagelength, name, max_pixels)
        notes = [f"first of {count} pages"] if (count := _pages(tif)) > 1 else []
        size = file.seek(0, io.SEEK_END)
        try:
            told = _directory(file, page.offset, tif.byteorder, size, big=tif.is_bigtiff)
        except (ValueError, struct.error):
            told, notes = {}, [*notes, "metadata that cannot be parsed left out"]
        icc, xmp = (entry.data if isinstance(entry := told.get(tag), blocks.Entry) else None for tag in (_ICC, _XMP))
        orientation = tag.value if (tag := page.tags.get(blocks.ORIENTATION)) else 1
        dpi = blocks.resolution(told)
        if page.photometric == 3 or (page.photometric == 6 and page.compression in (6, 7)):
            file.seek(0)
            with open_pillow(file, name, max_pixels) as picture:
                pixels, more = pillow_pixels(picture, name)
                # Pillow turns TIFF while it reads.
                dpi = (dpi[1], dpi[0]) if dpi and orientation in range(5, 9) else dpi
                orientation = 1
        else:
            _require_known(page, name)
            _require_whole(page, size)
            pixels, more = _tiff_pixels(page, icc)
        notes += more
        return Found(
            pixels,
            icc if page.photometric != 5 else None,
            _exif_of(told),
            xmp,
            dpi,
            orientation if orientation in range(1, 9) else 1,
            "tiff",
            notes,
        )


def _directory(file: Stream, offset: int, order: str, size: int, *, big: bool) -> blocks.Directory:
    def fetch(at: int, length: int) -> bytes:
        if at < 0 or at + length > size:
            raise ValueError("a value lies beyond the end")
        file.seek(at)
        return file.read(length)

    keep = blocks.DESCRIPTIVE | {_XMP, _ICC, blocks.X_RESOLUTION, blocks.Y_RESOLUTION, blocks.RESOLUTION_UNIT}
    return blocks.read_directory(fetch, offset, order, big=big, keep=keep)


def _exif_of(told: blocks.Directory) -> bytes | None:
    """An EXIF block of what a TIFF file's directory says of the picture; None where that is nothing."""
    kept = {tag: value for tag, value in told.items() if tag in blocks.DESCRIPTIVE or not isinstance(value, blocks.Entry)}
    return blocks.build(kept) if kept else None


def _pages(tif: Any) -> int:
    """How many pages a file has, without the small copies of its pages."""
    return sum(1 for page in tif.pages if not getattr(page, "is_reduced", False)) if len(tif.pages) > 1 else 1


_COLOURS = {0: 1, 1: 1, 2: 3, 5: 4}


def _require_known(page: Any, name: str) -> None:
    """Refuses what has no place in a Photo."""
    photometric = getattr(page.photometric, "name", page.photometric)
    if 50706 in page.tags or page.photometric in (32803, 34892):
        raise UserError(f"{name}: a raw photograph (DNG): develop it to TIFF first")
    if page.photometric not in _COLOURS or (page.photometric == 5 and 332 in page.tags and page.tags[332].value != 1):
        raise UserError(f"{name}: TIFF's colour space {photometric} is not read: convert it to RGB")
    kind = {1: "unsigned", 2: "signed", 3: "float"}.get(page.sampleformat, "complex")
    bits = page.bitspersample
    whole = kind == "unsigned" and isinstance(bits, int) and 1 <= bits <= 16
    if not whole and not (kind == "float" and bits in (16, 32, 64)):
        raise UserError(f"{name}: {bits}-bit {kind} samples are not read: convert it to 8 or 16 bits, or to 32-bit floats")
    if page.photometric == 5 and not (whole and bits == 8):
        raise UserError(f"{name}: CMYK of {bits} bits is not read: convert it to 8 bits, or to RGB")
    if page.photometric == 0 and not whole:
        raise UserError(f"{name}: floats where 0 is white are not read: invert them")
    if page.imagedepth > 1 or not 0 <= page.samplesperpixel - _COLOURS[page.photometric] <= 8:
        raise UserError(f"{name}: {page.samplesperpixel} samples a pixel, {page.imagedepth} deep, are not read as a picture")


def _require_whole(page: Any, size: int) -> None:
    """tifffile leaves black what a truncated file lacks; here that is an error. Nor may a tile be far larger than the picture."""
    if len(page.dataoffsets) < math.prod(page.chunked) or len(page.databytecounts) < math.prod(page.chunked):
        raise ValueError("strips or tiles are missing")
    for at, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        if at <= 0 or length <= 0 or at + length > size:
            raise ValueError("the file is truncated")
    if math.prod(page.chunks) > max(1 << 24, 4 * page.imagewidth * page.imagelength * page.samplesperpixel):
        raise ValueError("its tiles are far larger than the picture")


def _tiff_pixels(page: Any, icc: bytes | None) -> tuple[np.ndarray, list[str]]:
    height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
    data = page.asarray()
    planar = page.planarconfig == 2 and samples > 1
    data = data.reshape((samples, height, width)).transpose(1, 2, 0) if planar else data.reshape((height, width, samples))
    bits, notes = page.bitspersample, []
    colours, whole = _COLOURS[page.photometric], 8 if bits <= 8 else 16
    extra = [int(kind) for kind in page.extrasamples] or [2] * (samples > colours)
    alpha = samples > colours and extra[0] in (1, 2)
    if samples > colours + alpha:
        notes.append(f"{samples - colours - alpha} channels without a meaning left out")
    if page.sampleformat == 3:
        if bits != 32:
            notes.append(f"{bits}-bit floats read as 32-bit ones")
    elif bits not in (1, 8, 16):
        notes.append(f"{bits} bits a channel widened to {whole}")
    if alpha and extra[0] == 1:
        notes.append("premultiplied alpha divided out")
    to_srgb = None
    if page.photometric == 5:
        to_srgb, more = cmyk_to_srgb(icc)
        notes += more
    table = None
    if page.sampleformat != 3 and bits not in (8, 16):
        table = np.round(np.arange(2**bits) * ((2**whole - 1) / (2**bits - 1))).astype(f"uint{whole}")

    def convert(top: int, bottom: int) -> np.ndarray:
        strip = data[top:bottom, :, : colours + alpha]
        if page.sampleformat == 3:
            strip = strip.astype(np.float32)
            if not np.isfinite(strip).all():
                raise ValueError("it holds samples that are no finite numbers")
        elif table is not None:
            strip = table[strip.astype(np.uint16)]
        else:
            strip = strip.astype(f"uint{whole}")
        if page.photometric == 0:
            strip[..., 0] = ~strip[..., 0]
        if alpha and extra[0] == 1:
            strip = divided(strip)
        if to_srgb is not None:
            inks = np.ascontiguousarray(strip[..., :4])
            strip = np.concatenate([to_srgb(inks), strip[..., 4:]], axis=2)
        return strip

    return by_strips(height, width, convert), notes
