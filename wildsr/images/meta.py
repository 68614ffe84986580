"""What belongs to a picture beside its samples."""

import math
import re
from dataclasses import dataclass

from wildsr.images import exif as blocks


@dataclass(frozen=True)
class Meta:
    """Kept from input to output.

    icc: ICC profile of the samples as they are; exif: a whole EXIF block with its head "Exif", xmp: an XMP packet, both with their
    orientation reset, for pictures are turned upright when they are read; dpi: dots per inch, across and down."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


NOTHING = Meta()
"""Of a picture that is nothing but samples."""

_IN_XMP = re.compile(rb"(tiff:Orientation\s*=\s*[\"']|<tiff:Orientation>\s*)([1-8])")


def settled(
    icc: bytes | None,
    exif: bytes | None,
    xmp: bytes | None,
    dpi: tuple[float, float] | None,
    *,
    channels: int,
    orientation: int | None = None,
) -> tuple[Meta, int, list[str]]:
    """Metadata as found in a file -> what is kept of it, the orientation (1 to 8) of the samples, and what was left out.

    orientation: where the file itself tells it; else EXIF does, or XMP."""
    notes: list[str] = []
    if exif:
        try:
            exif, said = blocks.upright(exif)
        except ValueError:
            exif, said = None, None
        orientation = said if orientation is None else orientation
        if exif is None:
            notes.append("an EXIF block that cannot be parsed left out")
        else:
            dpi = dpi or blocks.resolution(blocks.parse(exif))
    if xmp:
        told = _IN_XMP.search(xmp)
        if orientation is None and told:
            orientation = int(told[2])
        xmp = _IN_XMP.sub(rb"\g<1>1", xmp)
    turned = orientation if orientation is not None and 1 <= orientation <= 8 else 1
    if icc and not fits(icc, channels):
        notes.append(f"an ICC profile for {space(icc) or 'nothing known'} does not belong to these samples and was left out")
        icc = None
    dpi = sane(dpi)
    if dpi and turned >= 5:
        dpi = (dpi[1], dpi[0])
    return Meta(icc or None, exif or None, xmp or None, dpi), turned, notes


def space(icc: bytes) -> str:
    """The colour space of a profile's samples: "RGB", "GRAY", "CMYK"; "" of what is no profile."""
    return icc[16:20].decode("latin-1").strip() if len(icc) > 128 and icc[36:40] == b"acsp" else ""


def fits(icc: bytes, channels: int) -> bool:
    """Whether a profile is one for grey, or for RGB samples."""
    return space(icc) == ("GRAY" if channels < 3 else "RGB")


def sane(dpi: object) -> tuple[float, float] | None:
    """A resolution, where it is one."""
    try:
        across, down = (float(value) for value in dpi)  # pyright: ignore[reportGeneralTypeIssues]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (across, down) if all(math.isfinite(value) and 0 < value < 1e6 for value in (across, down)) else None
