"""Formats that may hold more than 8 bits, which Pillow alone would not give: PNG, AVIF, HEIC."""

import io
import struct
import zlib

import numpy as np
from PIL import UnidentifiedImageError

from wildsr.errors import UserError
from wildsr.images.found import Found, Stream, divided, widened
from wildsr.images.ordinary import frames, open_pillow, pillow_pixels, read_ordinary, take_info
from wildsr.images.reading import require_pixels

_PNG = 8
"""Bytes of PNG's signature."""
_MOST_META = 1 << 26
"""Bytes that are read of what AVIF tells of a picture; profiles lie there, too."""


def read_png(file: Stream, name: str, max_pixels: int) -> Found:
    """A PNG file of any depth."""
    head = file.read(32)
    file.seek(0)
    with open_pillow(file, name, max_pixels) as picture:
        depth = head[24] if len(head) > 24 else 8
        chunks = _png_chunks(file)
        notes = frames(picture)
        if depth == 16:
            import imagecodecs

            file.seek(0)
            pixels = np.asarray(imagecodecs.png_decode(file.read()))
            pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        else:
            file.seek(0)
            picture.info["wildsr_depth"] = depth
            pixels, more = pillow_pixels(picture, name)
            notes += more
        found = Found(pixels, format="png", notes=notes)
        take_info(found, picture)
        # Written after the samples, they are seen by Pillow only when it has read those.
        found.exif, found.xmp = chunks.get(b"eXIf", found.exif), chunks.get(b"iTXt", found.xmp)
        if found.xmp == b"":
            found.xmp, found.notes = None, [*found.notes, "damaged XMP left out"]
        if found.exif is None and "Raw profile type exif" in picture.info:
            found.exif = picture.getexif().tobytes()
        if b"cICP" in chunks:
            found.notes.append("PNG's code points of colour (cICP) are not kept")
        elif b"gAMA" in chunks and not found.icc and b"sRGB" not in chunks and abs(int.from_bytes(chunks[b"gAMA"], "big") - 45_455) > 500:
            found.notes.append("PNG's gamma (gAMA) is neither applied nor kept")
        return found


def _png_chunks(file: Stream) -> dict[bytes, bytes]:
    """The small chunks that tell of colour, EXIF and XMP; iTXt stands for the XMP packet alone."""
    found: dict[bytes, bytes] = {}
    file.seek(_PNG)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind in (b"gAMA", b"cICP", b"sRGB", b"eXIf", b"iTXt") and length < 1 << 26:
            data = file.read(length)
            if kind == b"iTXt":
                key, _, rest = data.partition(b"\0")
                if key != b"XML:com.adobe.xmp" or len(rest) < 4:
                    file.seek(4, io.SEEK_CUR)
                    continue
                data = rest[2:].split(b"\0", 2)[-1]
                try:
                    data = zlib.decompressobj().decompress(data, 1 << 26) if rest[0] else data
                except zlib.error:  # the pixels do not hang on it
                    data = b""
            found.setdefault(kind, data)
            file.seek(4, io.SEEK_CUR)
        else:
            file.seek(length + 4, io.SEEK_CUR)
    return found


def read_heif(file: Stream, name: str, max_pixels: int) -> Found:
    """A HEIC file, through pillow_heif."""
    try:
        import pillow_heif
    except ImportError:
        raise UserError(f"{name}: HEIC is read with the extra heif: pip install 'wildsr[heif]'") from None
    opened = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
    picture = opened[opened.primary_index]
    require_pixels(*picture.size, name, max_pixels)
    mode, bits = picture.mode, int(picture.info.get("bit_depth") or 8)
    pixels = np.asarray(picture)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    notes = [f"first of {len(opened)} frames"] if len(opened) > 1 else []
    if pixels.dtype == np.uint16:
        # They come shifted to the left.
        pixels, more = widened(pixels >> (16 - bits), bits)
        notes += more
    if mode.startswith("RGBa"):
        pixels, notes = divided(pixels), [*notes, "premultiplied alpha divided out"]
    info = picture.info
    told = info.get("nclx_profile") or {}
    if not info.get("icc_profile"):
        notes += _colours(told.get("color_primaries"), told.get("transfer_characteristics"))
    # HEIC turns by boxes of its own, which the decoder obeys; what EXIF says is already done.
    return Found(np.array(pixels), info.get("icc_profile"), info.get("exif"), info.get("xmp"), orientation=1, notes=notes)


def _colours(primaries: int | None, transfer: int | None) -> list[str]:
    """A note where code points (ITU-T H.273) tell of colours that plain sRGB, or nothing told, would not show."""
    if primaries in (None, 1, 2) and transfer in (None, 1, 2, 6, 13, 14, 15):
        return []
    return [f"the file's code points of colour (primaries {primaries}, transfer {transfer}; 1 and 13 are sRGB) are not kept"]


def _avif_colours(box: bytes) -> list[str]:
    """The note on an AVIF file's colours, from its box of them."""
    at = box.find(b"colrnclx")
    return _colours(*struct.unpack(">HH", box[at + 8 : at + 12])) if 0 <= at <= len(box) - 12 else []


def _avif_bits(box: bytes) -> int:
    """8, 10 or 12, from AV1's configuration box."""
    at = box.find(b"av1C")
    told = box[at + 6] if 0 <= at < len(box) - 6 else 0
    return 8 if not told & 0x40 else 12 if told & 0x20 else 10


def _meta_box(file: Stream) -> bytes:
    """The box that tells of the picture, wherever it lies (ISO 14496-12, sections 4.2 and 8.11.1); empty where there is none."""
    at = 0
    while file.seek(at) == at and len(head := file.read(16)) >= 8:
        length, kind = struct.unpack(">I4s", head[:8])
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if kind == b"meta":
            file.seek(at)
            return file.read(min(length or _MOST_META, _MOST_META))
        if length < 8:
            break
        at += length
    return b""


def _deep_avif(file: Stream, bits: int) -> tuple[np.ndarray, list[str]]:
    import imagecodecs

    file.seek(0)
    pixels = np.asarray(imagecodecs.avif_decode(file.read()))
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return widened(pixels, bits)


def read_avif(file: Stream, name: str, max_pixels: int) -> Found:
    """An AVIF file. Pillow would read 10 and 12 bits as 8 without a word."""
    box = _meta_box(file)
    bits = _avif_bits(box)
    file.seek(0)
    if bits == 8:
        try:
            found = read_ordinary(file, name, max_pixels)
        except UnidentifiedImageError:
            raise ValueError("truncated, or of a kind that Pillow does not know") from None
    else:
        with open_pillow(file, name, max_pixels) as picture:
            pixels, notes = _deep_avif(file, bits)
            found = Found(pixels, format="avif", notes=[*frames(picture), *notes])
            take_info(found, picture)
    found.notes += [] if found.icc else _avif_colours(box)
    return found
