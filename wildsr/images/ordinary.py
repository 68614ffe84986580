"""Pictures through Pillow."""

import contextlib
import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from wildsr.errors import UserError
from wildsr.images import meta as metadata
from wildsr.images.found import Found, Stream, by_strips
from wildsr.images.profiles import profile_of
from wildsr.images.reading import deep, quiet, require_pixels

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA", "TIFF")
_NAMES = {"PNG": "png", "JPEG": "jpeg", "MPO": "jpeg", "WEBP": "webp", "BMP": "bmp", "AVIF": "avif"}


def open_pillow(file: Stream, name: str, max_pixels: int) -> ImageFile.ImageFile:
    """A file as Pillow opens it, not decoded yet, and not too large."""
    with quiet():
        picture = Image.open(file, formats=_FORMATS)
    require_pixels(*picture.size, name, max_pixels)
    return picture


def read_ordinary(file: Stream, name: str, max_pixels: int) -> Found:
    """A file that Pillow reads as it is: JPEG, WebP, BMP, GIF, 8-bit AVIF, JPEG 2000, PPM, TGA."""
    with open_pillow(file, name, max_pixels) as picture:
        kind = picture.format or ""
        if deep(picture) or (kind == "JPEG2000" and _jpeg2000_bits(file) > 8):
            raise UserError(f"{name}: more than 8 bits a channel are not read from {kind}: convert it to PNG or TIFF")
        pixels, notes = pillow_pixels(picture, name)
        found = Found(pixels, format=_NAMES.get(kind, ""), notes=[*frames(picture), *notes])
        take_info(found, picture)
        found.icc = found.icc or profile_of(kind, file)
        return found


def frames(picture: ImageFile.ImageFile) -> list[str]:
    """A note where there are several frames."""
    with quiet():
        count = getattr(picture, "n_frames", 1)
    return [f"first of {count} frames"] if count > 1 else []


def take_info(found: Found, picture: ImageFile.ImageFile) -> None:
    """Fills in what Pillow found beside the samples."""
    info = picture.info
    found.icc, found.exif, found.xmp = info.get("icc_profile"), info.get("exif"), info.get("xmp")
    if picture.mode == "CMYK":
        found.icc = None  # it belonged to the inks
    if isinstance(found.xmp, str):
        found.xmp = found.xmp.encode()
    if 0x0404 in (info.get("photoshop") or {}):
        found.notes.append("IPTC (caption, byline, rights) is not kept")
    # Pillow makes up 72 for a JPEG whose EXIF has no resolution.
    if picture.format not in ("JPEG", "MPO") or info.get("jfif_unit") in (1, 2):
        found.dpi = metadata.sane(info.get("dpi"))


def pillow_pixels(picture: ImageFile.ImageFile, name: str) -> tuple[np.ndarray, list[str]]:
    """Loads a picture and gives its samples (H, W, C), with notes."""
    with quiet() if picture.format == "TIFF" else contextlib.nullcontext():  # Only TIFF's decoder warns.
        picture.load()
    mode, notes = picture.mode, []
    to_srgb = None
    if mode == "CMYK":
        to_srgb, notes = cmyk_to_srgb(picture.info.get("icc_profile"))
    elif mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "YCbCr", "I", "I;16", "F"):
        raise UserError(f"{name}: colour mode {mode} is not read: convert it to RGB")
    clear = picture.info.get("transparency")
    palette_alpha = mode == "PA" or (mode == "P" and (clear is not None or (picture.palette and picture.palette.mode == "RGBA")))
    grey_palette = mode == "P" and _is_grey(picture)
    # Without Adobe's marker, a JPEG's inks are not inverted; Pillow holds that they always are.
    inverted = mode == "CMYK" and picture.format in ("JPEG", "MPO") and "adobe" not in picture.info

    def convert(top: int, bottom: int) -> np.ndarray:
        strip = picture.crop((0, top, picture.width, bottom))
        if to_srgb is not None:
            inks = np.asarray(strip)
            return to_srgb(255 - inks if inverted else inks)
        if mode in ("P", "PA"):
            strip = strip.convert("RGBA" if palette_alpha else "RGB")
            if grey_palette:
                return np.asarray(strip)[..., 0:4:3]
        elif mode in ("1", "RGBa", "RGBX", "YCbCr"):
            strip = strip.convert({"1": "L", "RGBa": "RGBA"}.get(mode, "RGB"))
        samples = np.asarray(strip)
        if mode in ("I", "I;16"):
            samples = samples.astype(np.uint16)
        samples = samples[:, :, None] if samples.ndim == 2 else samples
        if clear is not None and mode in ("1", "L", "RGB"):
            samples = _with_key(samples, _clear_colour(clear, mode, picture))
        return samples

    if mode == "F":
        notes.append("floats are taken as they are, 0 as black and 1 as white")
    return by_strips(picture.height, picture.width, convert), notes


def _is_grey(picture: Image.Image) -> bool:
    colours = np.array(picture.getpalette("RGB") or [0, 1, 0]).reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _clear_colour(clear: Any, mode: str, picture: ImageFile.ImageFile) -> np.ndarray:
    """The transparent colour on the scale of 8 bits. PNG tells it on the scale of its file: 0 … 3 for 2 bits."""
    depth = picture.info.get("wildsr_depth", 1 if mode == "1" else 8)
    return np.atleast_1d(clear).astype(np.int64) * 255 // (2**depth - 1)


def _with_key(samples: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Adds an alpha channel that is 0 where a pixel has the transparent colour."""
    alpha = np.where((samples == clear).all(-1, keepdims=True), 0, 255)
    return np.concatenate([samples, alpha.astype(samples.dtype)], axis=2)


def cmyk_to_srgb(icc: bytes | None) -> tuple[Callable[[np.ndarray], np.ndarray], list[str]]:
    """A function from inks (h, w, 4) uint8, 0 for none, to sRGB (h, w, 3) uint8; and what is to be said of it."""
    from PIL import ImageCms

    transform = None
    if icc and metadata.space(icc) == "CMYK":
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            transform = ImageCms.buildTransform(
                ImageCms.ImageCmsProfile(io.BytesIO(icc)),
                ImageCms.createProfile("sRGB"),
                "CMYK",
                "RGB",
                ImageCms.Intent.RELATIVE_COLORIMETRIC,
                ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )

    def convert(inks: np.ndarray) -> np.ndarray:
        strip = Image.frombytes("CMYK", (inks.shape[1], inks.shape[0]), inks.tobytes())
        turned = strip.convert("RGB") if transform is None else ImageCms.applyTransform(strip, transform)
        return np.asarray(turned)

    if transform is not None:
        return convert, ["CMYK converted to sRGB through its profile"]
    return convert, [f"CMYK converted to RGB plainly, for it has {'a damaged' if icc else 'no'} profile"]


def _jpeg2000_bits(file: Stream) -> int:
    """The deepest channel, from the marker SIZ."""
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(b"\xff\x4f\xff\x51")
    if at < 0 or len(head) < at + 45:
        return 8
    channels = struct.unpack_from(">H", head, at + 40)[0]
    return max(((depth & 127) + 1 for depth in head[at + 42 : at + 42 + 3 * channels : 3]), default=8)
