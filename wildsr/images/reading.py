"""The strict way to read, for training and measuring: 8 bits a channel, and what cannot be read faithfully is refused."""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from wildsr.errors import UserError
from wildsr.images.pixels import from_pillow

MAX_PIXELS = 178_956_970
"""Largest picture that is opened unless asked otherwise: where Pillow, too, refuses by default (half a gigabyte of 24-bit RGB)."""

SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jxl"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""Files with these endings are pictures, also where this Pillow cannot read them and says so; others in a folder are left alone."""

_ANIMATED = {"GIF", "PNG", "WEBP"}


def open_picture(path: Path | str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Reads a file into a Pillow picture of mode L, LA, RGB or RGBA, upright (EXIF orientation applied), 8 bits a channel.

    Raises UserError naming the file and the mend for: a missing or empty file, what is no picture, a truncated picture, more than
    `max_pixels` pixels (read from the header, before memory is taken), animations, several pages, CMYK, 16-bit and float samples."""
    path = Path(path)
    require_file(path)
    return _open(path, path, max_pixels)


def require_file(path: Path) -> None:
    """Raises UserError for what is missing, no file, or empty."""
    if not path.is_file():
        raise UserError(f"{path}: no such file" if not path.exists() else f"{path}: is not a file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty (0 bytes)")


def decode(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture that the bytes of a file hold, as `open_picture` gives it; errors call it `name`."""
    if not data:
        raise UserError(f"{name}: the picture is empty (0 bytes)")
    return _open(io.BytesIO(data), name, max_pixels)


@contextlib.contextmanager
def plainly(name: Path | str) -> Iterator[None]:
    """Whatever decoders raise, as a UserError that names the picture."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UserError(f"{name}: not a picture (its content is no format that Pillow knows)") from None
    except Exception as error:  # Decoders meet hostile bytes with whatever exception they happen to run into.
        if isinstance(error, OSError) and error.errno and error.filename:
            raise UserError(f"{name}: cannot be read ({error.strerror})") from None
        why = " ".join(str(error).split())[:300]
        raise UserError(f"{name}: the picture is damaged ({why or type(error).__name__})") from None


def _open(file: Path | io.BytesIO, path: Path | str, max_pixels: int) -> Image.Image:
    with plainly(path):
        with quiet():
            picture = Image.open(file)
        with picture:
            with quiet():
                _refuse_unreadable(picture, path, max_pixels)
            # Only TIFF's decoder warns; others may run in several threads at once.
            with quiet() if picture.format == "TIFF" else contextlib.nullcontext():
                picture.load()
            upright = _upright(picture)
    if "transparency" in upright.info and upright.mode in ("P", "RGB"):
        return upright.convert("RGBA")
    if "transparency" in upright.info and upright.mode in ("1", "L"):
        return upright.convert("L").convert("LA")
    return upright.convert({"1": "L", "P": "RGB", "PA": "RGBA"}.get(upright.mode, upright.mode))


def deep(picture: ImageFile.ImageFile) -> bool:
    """Whether samples have more than 8 bits. Pillow reads 16-bit colour as 8 bits without a word; only what its decoders are told gives
    it away: raw mode, or PPM's maximum."""
    told: list[Any] = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in picture.tile]
    return ";16" in str(told) or (picture.format == "PPM" and any(isinstance(part, int) and part > 255 for part in told[0]))


_PILLOW = threading.Lock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lifts Pillow's bound on pixels, which would warn first and refuse only at twice its size (ours stands in for it), and silences its
    warnings. Both belong to the whole process, so this is done for one thread at a time."""
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _upright(picture: Image.Image) -> Image.Image:
    try:
        with quiet():
            return ImageOps.exif_transpose(picture)
    except Exception:  # The pixels are whole; an orientation that cannot be read is none.
        return picture.copy()


def require_pixels(width: int, height: int, name: Path | str, max_pixels: int) -> None:
    """Raises UserError for a picture that is larger than the bound."""
    if width * height > max_pixels:
        raise UserError(
            f"{name}: {width}×{height} is {width * height:,} pixels, more than the bound of {max_pixels:,}: "
            "a larger bound must be asked for (upscale has --max-pixels)"
        )


def _refuse_unreadable(picture: ImageFile.ImageFile, path: Path | str, max_pixels: int) -> None:
    require_pixels(*picture.size, path, max_pixels)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format in _ANIMATED:
        raise UserError(f"{path}: an animation of {frames} frames: save the frame that you want as a picture of its own")
    if frames > 1 and picture.format == "TIFF":
        raise UserError(f"{path}: {frames} pages: save the page that you want as a picture of its own")
    if picture.mode.startswith("I") or deep(picture):
        raise UserError(f"{path}: 16 bits a channel are not supported yet: convert it to 8 bits")
    if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise UserError(f"{path}: colour mode {picture.mode} is not supported: convert it to RGB")


def read(path: Path | str, max_pixels: int = MAX_PIXELS) -> UInt8[Tensor, "3 h w"]:
    """Reads a file as RGB. Greyscale is repeated on the three channels; transparency is dropped. Raises UserError as `open_picture`."""
    return from_pillow(open_picture(path, max_pixels))


def find(folder: Path | str) -> list[Path]:
    """All picture files below a folder, by their endings, in the order of their paths; hidden ones are left out.

    Raises UserError when the folder is missing or holds none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder" if not folder.exists() else f"{folder}: is a file; name a folder of pictures")
    found: list[Path] = []
    seen: set[str] = set()  # a link may lead back to a folder above it
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        seen.add(os.path.realpath(parent))
        folders[:] = [name for name in folders if not name.startswith(".") and os.path.realpath(os.path.join(parent, name)) not in seen]
        found += [Path(parent, name) for name in names if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")]
    if not found:
        raise UserError(f"{folder}: holds no picture ({', '.join(sorted(SUFFIXES))})")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: the folder cannot be read ({error.strerror})")


def unique_stems(paths: Iterable[Path]) -> dict[str, Path]:
    """Stem -> path. Raises UserError when two pictures would be written under one name."""
    stems: dict[str, Path] = {}
    seen: dict[str, Path] = {}
    for path in paths:
        # Some file systems do not tell "A.png" from "a.png".
        other = seen.setdefault(path.stem.casefold(), path)
        if other is not path:
            raise UserError(f"{other} and {path} would both be written as {path.stem!r}: rename one")
        stems[path.stem] = path
    return stems
