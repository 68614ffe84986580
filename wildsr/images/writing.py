"""Files of pictures, written whole or not at all, with what belongs to a picture."""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin, features
from torch import Tensor

from wildsr import files
from wildsr.errors import UserError
from wildsr.images import exif as blocks
from wildsr.images.meta import NOTHING, Meta
from wildsr.images.pixels import to_pillow
from wildsr.images.reading import read


@dataclass(frozen=True)
class Format:
    """A file format that can be written.

    dtypes: of its samples; alpha, grey: whether it holds transparency, and one channel as one; max_side: most pixels a side; metadata:
    which of Meta's fields it keeps; lossy: whether it knows a quality (webp is lossless without one)."""

    name: str
    suffixes: tuple[str, ...]
    dtypes: tuple[str, ...] = ("uint8",)
    alpha: bool = True
    grey: bool = True
    max_side: int | None = None
    metadata: frozenset[str] = frozenset({"icc", "exif", "xmp", "dpi"})
    lossy: bool = False


FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Format("png", (".png",), ("uint8", "uint16"), max_side=2**31 - 1),
        Format("jpeg", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, max_side=65_500, lossy=True),
        Format("webp", (".webp",), grey=False, max_side=16_383, metadata=frozenset({"icc", "exif", "xmp"}), lossy=True),
        Format("tiff", (".tif", ".tiff"), ("uint8", "uint16", "float32")),
        Format("avif", (".avif",), grey=False, max_side=32_768, metadata=frozenset({"icc", "exif", "xmp"}), lossy=True),
        Format("bmp", (".bmp",), alpha=False, metadata=frozenset({"dpi"}), max_side=2**31 - 1),
    )
    if form.name != "avif" or features.check("avif")
}
"""Formats that can be written here, by name."""

_KINDS = {"uint8": "8 bit", "uint16": "16 bit", "float32": "float"}
_WORDS = {"icc": "the ICC profile", "exif": "EXIF", "xmp": "XMP", "dpi": "the resolution"}
_LONGEST = 65_500
"""Bytes of EXIF or XMP that fit into one segment of a JPEG file."""

_STRIP_BYTES = 2**20
_CLASSIC_BYTES = 3_900_000_000
"""Bytes of samples up to which a TIFF file has 32-bit offsets."""


def format_of(path: Path) -> str | None:
    """The name in FORMATS that the ending of a file stands for, or None."""
    return next((form.name for form in FORMATS.values() if path.suffix.lower() in form.suffixes), None)


def require_writable(format: str, *, height: int, width: int, channels: int, dtype: str) -> None:
    """Raises UserError where `format` cannot hold such a picture, naming those that can: nothing is converted down without a word."""

    def holds(form: Format) -> bool:
        fits = form.max_side is None or max(height, width) <= form.max_side
        return fits and dtype in form.dtypes and (form.alpha or channels in (1, 3))

    form = FORMATS[format]
    if holds(form):
        return
    if dtype not in form.dtypes:
        why = f"{format} holds no {_KINDS[dtype]} samples"
    elif channels in (2, 4) and not form.alpha:
        why = f"{format} holds no transparency"
    else:
        why = f"{format} holds at most {form.max_side:,} pixels a side, the result has {max(height, width):,}"
    raise UserError(f"{why}: use --format {' or '.join(name for name, other in FORMATS.items() if holds(other))}")


def write_photo(
    target: Path | Any,
    format: str,
    strips: Iterable[np.ndarray],
    *,
    height: int,
    width: int,
    channels: int,
    dtype: str,
    meta: Meta = NOTHING,
    quality: int | None = None,
) -> tuple[str, ...]:
    """Writes a picture that comes in strips (h, width, channels) from top to bottom, as in a Photo; returns what the format could not keep.

    target: a path, whose file takes its name only when it is whole, or an open binary file, to which all is written at the end. A TIFF file
    is written while strips come, as BigTIFF where it may pass 4 GB; other formats are encoded when all are there. quality: 1 to 100, of
    JPEG (95), AVIF (90) and WebP (lossless) where something is said. Raises UserError as `require_writable`, and ValueError for strips that
    do not make up the picture."""
    require_writable(format, height=height, width=width, channels=channels, dtype=dtype)
    if quality is not None and not 1 <= quality <= 100:
        raise UserError(f"quality = {quality}: use 1 to 100")
    form = FORMATS[format]
    notes = [_dropped(form, meta)] if _dropped(form, meta) else []
    shape = (height, width, channels)

    def encode(file: Any) -> None:
        if format == "tiff":
            _tiff(file, _even(strips, shape, max(1, _STRIP_BYTES // (width * channels * np.dtype(dtype).itemsize))), shape, dtype, meta)
            return
        pixels = np.empty(shape, dtype)
        top = 0
        for strip in _even(strips, shape, None):
            pixels[top : top + len(strip)] = strip
            top += len(strip)
        notes.extend(_ENCODERS[format](file, pixels, meta, quality))

    if isinstance(target, Path):
        with files.atomic_write(target) as file:
            encode(file)
    else:
        buffer = io.BytesIO()
        encode(buffer)
        target.write(buffer.getbuffer())
    return tuple(notes)


def _dropped(form: Format, meta: Meta) -> str:
    lost = [word for name, word in _WORDS.items() if getattr(meta, name) and name not in form.metadata]
    return f"{form.name} does not keep {' and '.join(lost)}" if lost else ""


def _even(strips: Iterable[np.ndarray], shape: tuple[int, int, int], rows: int | None) -> Iterator[np.ndarray]:
    """Strips of so many rows, the last of what is left; as they come where rows is None. Raises ValueError where they fill no picture."""
    held: list[np.ndarray] = []
    count = total = 0
    for strip in strips:
        total += len(strip)
        if strip.shape[1:] != shape[1:] or total > shape[0]:
            raise ValueError(f"strips of {strip.shape}, {total} rows so far, are none of a picture of {shape}")
        if rows is None:
            yield strip
            continue
        held.append(strip)
        count += len(strip)
        if count >= rows:
            joined = np.concatenate(held)
            whole = count // rows * rows
            yield from (joined[top : top + rows] for top in range(0, whole, rows))
            held, count = [joined[whole:]], count - whole
    if total != shape[0]:
        raise ValueError(f"{total} rows of {shape[0]} were written")
    if count:
        yield np.concatenate(held)


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _png(file: Any, pixels: np.ndarray, meta: Meta, quality: int | None) -> list[str]:
    if pixels.dtype == np.uint16:
        import imagecodecs

        data = imagecodecs.png_encode(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, level=6)
        head = 8 + 25  # signature and IHDR
        file.write(data[:head] + b"".join(_chunks(meta)) + data[head:])
        return []
    info = PngImagePlugin.PngInfo()
    if meta.xmp:
        info.add_itxt("XML:com.adobe.xmp", meta.xmp.decode("utf-8", "replace"))
    _picture(pixels).save(file, "PNG", pnginfo=info, **_options(meta, "icc_profile", "exif", "dpi"))
    return []


def _chunks(meta: Meta) -> Iterator[bytes]:
    """Of a PNG file (W3C, PNG 3rd edition, section 11.3)."""
    if meta.icc:
        yield _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(meta.icc))
    if meta.dpi:
        yield _chunk(b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in meta.dpi), 1))
    if meta.exif:
        yield _chunk(b"eXIf", meta.exif.removeprefix(blocks.HEAD))
    if meta.xmp:
        yield _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + meta.xmp)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _jpeg(file: Any, pixels: np.ndarray, meta: Meta, quality: int | None) -> list[str]:
    too_long = [name for name in ("exif", "xmp") if len(getattr(meta, name) or b"") > _LONGEST]
    options = {name: value for name, value in _options(meta, "icc_profile", "exif", "xmp", "dpi").items() if name not in too_long}
    _picture(pixels).save(file, "JPEG", quality=95 if quality is None else quality, subsampling="4:4:4", **options)
    return [f"jpeg has no room for {len(getattr(meta, name)):,} bytes of {_WORDS[name]}" for name in too_long]


def _webp(file: Any, pixels: np.ndarray, meta: Meta, quality: int | None) -> list[str]:
    # Exact: else colours under full transparency are replaced.
    how: dict[str, Any] = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
    meta, notes = _for_colour("webp", pixels, meta)
    _coloured(pixels).save(file, "WEBP", **how, **_options(meta, "icc_profile", "exif", "xmp"))
    return notes


def _avif(file: Any, pixels: np.ndarray, meta: Meta, quality: int | None) -> list[str]:
    meta, notes = _for_colour("avif", pixels, meta)
    options = _options(meta, "icc_profile", "exif", "xmp")
    _coloured(pixels).save(file, "AVIF", quality=90 if quality is None else quality, subsampling="4:4:4", **options)
    return notes


def _bmp(file: Any, pixels: np.ndarray, meta: Meta, quality: int | None) -> list[str]:
    _picture(pixels).save(file, "BMP", **_options(meta, "dpi"))
    return []


_ENCODERS: dict[str, Callable[[Any, np.ndarray, Meta, int | None], list[str]]] = {
    "png": _png,
    "jpeg": _jpeg,
    "webp": _webp,
    "avif": _avif,
    "bmp": _bmp,
}


def _options(meta: Meta, *names: str) -> dict[str, Any]:
    """Pillow's options for what there is."""
    values = {"icc_profile": meta.icc, "exif": meta.exif, "xmp": meta.xmp, "dpi": meta.dpi}
    return {name: values[name] for name in names if values[name]}


def _coloured(pixels: np.ndarray) -> Image.Image:
    picture = _picture(pixels)
    return picture.convert({1: "RGB", 2: "RGBA"}[pixels.shape[2]]) if pixels.shape[2] < 3 else picture


def _for_colour(name: str, pixels: np.ndarray, meta: Meta) -> tuple[Meta, list[str]]:
    """What is kept, and said, where grey becomes RGB: a profile for grey would not belong to it."""
    if pixels.shape[2] > 2:
        return meta, []
    without = ", without its profile for grey" if meta.icc else ""
    return replace(meta, icc=None), [f"{name} knows no grey: written as RGB{without}"]


def _tiff(file: Any, strips: Iterator[np.ndarray], shape: tuple[int, int, int], dtype: str, meta: Meta) -> None:
    """Strips of deflated differences (TIFF's predictors 2 and 3), compressed while they come; then what EXIF says, as directories."""
    import imagecodecs
    import tifffile

    def encoded() -> Iterator[bytes]:
        for strip in strips:
            predict = imagecodecs.floatpred_encode if dtype == "float32" else imagecodecs.delta_encode
            yield bytes(imagecodecs.deflate_encode(predict(np.ascontiguousarray(strip), axis=-2).tobytes(), level=6))

    height, width, channels = shape
    raw = height * width * channels * np.dtype(dtype).itemsize
    big = raw > _CLASSIC_BYTES
    with tifffile.TiffWriter(file, bigtiff=big, byteorder="<") as writer:
        writer.write(
            encoded(),
            shape=shape if channels > 1 else shape[:2],
            dtype=dtype,
            rowsperstrip=max(1, _STRIP_BYTES // (width * channels * np.dtype(dtype).itemsize)),
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression="zlib",
            predictor=True,
            iccprofile=meta.icc,
            resolution=meta.dpi,
            resolutionunit="inch" if meta.dpi else None,
            extratags=[(700, 1, len(meta.xmp), meta.xmp, True)] if meta.xmp else [],
            metadata=None,
            software=False,
        )
    if meta.exif:
        _add_exif(file, meta.exif, big)


def _add_exif(file: Any, block: bytes, big: bool) -> None:
    """Appends the first directory once more, with what EXIF says, and has the file begin there."""
    told = blocks.parse(block)
    more = {tag: value for tag, value in told.items() if tag in blocks.DESCRIPTIVE or not isinstance(value, blocks.Entry)}
    pointer, form = (8, "<Q") if big else (4, "<I")

    def fetch(at: int, length: int) -> bytes:
        file.seek(at)
        return file.read(length)

    (offset,) = struct.unpack(form, fetch(pointer, struct.calcsize(form)))
    place = file.seek(0, io.SEEK_END)
    place += file.write(b"\0" * (place % 2))
    directory = blocks.extended(fetch, offset, more, place, big=big)
    file.seek(place)
    file.write(directory)
    file.seek(pointer)
    file.write(struct.pack(form, place))
    file.seek(0, io.SEEK_END)


def png(picture: Image.Image, *, fast: bool = False) -> bytes:
    """The bytes of a PNG file; equal pictures give equal bytes under one Pillow. fast: a quarter of the time, for a sixth more bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1 if fast else 6)
    return buffer.getvalue()


def write(path: Path | str, picture: UInt8[Tensor, "3 h w"], *, fast: bool = False) -> bytes:
    """Writes a PNG atomically and returns its bytes; `fast` as in `png`."""
    data = png(to_pillow(picture), fast=fast)
    files.write_bytes(path, data)
    return data


def write_once(path: Path, picture: UInt8[Tensor, "3 h w"]) -> None:
    """Writes a PNG atomically, or leaves a file alone that holds the same pixels. Raises UserError where one with others is there."""
    if not path.is_file():
        write(path, picture)
        return
    try:
        same = torch.equal(read(path), picture)
    except UserError:  # no picture, or one that cannot be read faithfully: not ours
        same = False
    if not same:
        raise UserError(f"{path}: is there already and holds another picture: use another --out, or take it away")
