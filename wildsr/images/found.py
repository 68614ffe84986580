"""What a decoder gives, and what decoders share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

Stream: TypeAlias = Any
"""An open binary file, at its beginning; `typing.BinaryIO` has no instances in Python's own eyes."""

_STRIP = 1 << 20
"""About as many pixels are converted at once: what is held twice stays small."""


@dataclass
class Found:
    """A picture before it is put upright. pixels: as of a Photo; orientation: None where EXIF and XMP are to be asked."""

    pixels: np.ndarray
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    orientation: int | None = None
    format: str = ""
    notes: list[str] = field(default_factory=list)


def by_strips(height: int, width: int, convert: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """The picture that convert(top, bottom) gives piece by piece, each (h, W, C)."""
    rows = max(1, _STRIP // width)
    first = convert(0, min(rows, height))
    if len(first) == height:
        return np.array(first)
    whole = np.empty((height, *first.shape[1:]), first.dtype)
    whole[: len(first)] = first
    for top in range(rows, height, rows):
        whole[top : top + rows] = convert(top, min(top + rows, height))
    return whole


def widened(samples: np.ndarray, bits: int) -> tuple[np.ndarray, list[str]]:
    """Samples of some bits on the whole scale of 8 or 16 bits, with a note where that is not the same scale."""
    whole = 8 if bits <= 8 else 16
    if bits == whole:
        return samples, []
    table = np.round(np.arange(2**bits) * ((2**whole - 1) / (2**bits - 1))).astype(f"uint{whole}")
    height, width = samples.shape[:2]
    widened = by_strips(height, width, lambda top, bottom: table[np.minimum(samples[top:bottom], 2**bits - 1)])
    return widened, [f"{bits} bits a channel widened to {whole}"] if bits > 1 else []


def divided(samples: np.ndarray) -> np.ndarray:
    """Colour (…, C) over the alpha that stands last, where it was multiplied by it; black where all is clear."""
    colour, alpha = samples[..., :-1].astype(np.float64), samples[..., -1:].astype(np.float64)
    if samples.dtype.kind == "f":
        divided = np.divide(colour, alpha, out=np.zeros_like(colour), where=alpha > 0)
    else:
        top = np.iinfo(samples.dtype).max
        divided = np.divide(colour * top, alpha, out=np.zeros_like(colour), where=alpha > 0).round().clip(0, top)
    return np.concatenate([divided.astype(samples.dtype), samples[..., -1:]], axis=2)
