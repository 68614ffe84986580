"""The fixed test degradations that the benchmark measures on, on uint8: a frozen protocol.

Source: Reflash Dropout (Kong et al. 2022), Section 5.3, as its authors' generator makes them. `unseen.py` has families beside these."""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, features
from torch import Tensor

from wildsr import chance, images
from wildsr.config import nearest
from wildsr.errors import UserError

Picture = UInt8[np.ndarray, "h w 3"]

Step = Callable[[Picture, np.random.Generator, int], Picture]
"""A picture, the generator of all chance, and the scale to the changed picture."""

Seen = Literal["seen", "near", "unseen"]

RESIZERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR, "nearest": Image.Resampling.NEAREST}
"""Pillow's; the first two widen by the scale and so are antialiased, the last takes single pixels."""


@dataclass(frozen=True)
class Fixed:
    """A test degradation: steps before resizing, at HR's size; a resizer; and steps after it, at LR's size.

    `words` says what it is in plain English. `family` and `severity` (1 to 3, the strongest; 0 where there are none) order those of one
    kind. `seen` tells whether the two-order training pipeline covers this kind."""

    name: str
    words: str
    before: tuple[Step, ...]
    resizer: Literal["bicubic", "bilinear", "nearest"]
    after: tuple[Step, ...]
    family: str
    severity: int
    seen: Seen


def fixed(hr: UInt8[Tensor, "3 h w"], degradation: str | Fixed, *, seed: int, scale: int = 4) -> UInt8[Tensor, "3 h2 w2"]:
    """A test degradation (or the preset of that name) of a picture whose sides are multiples of 12, to the byte: a frozen protocol.

    All chance is NumPy's Philox keyed by (seed, the degradation's name, SHA-256 of the HR pixels), so that it depends on neither the file's
    name nor the order of work. In the presets, samples are truncated to 8 bits after noise, not rounded, as the papers' generator does
    (half a grey level darker)."""
    if isinstance(degradation, str):
        if degradation not in PRESETS:
            raise UserError(f"unknown degradation {degradation!r}: {nearest(degradation, PRESETS)}")
        degradation = PRESETS[degradation]
    rng = chance.generator(seed, degradation.name, images.pixels_sha256(hr))
    picture = hr.permute(1, 2, 0).contiguous().numpy()
    for step in degradation.before:
        picture = step(picture, rng, scale)
    height, width = picture.shape[:2]
    picture = np.asarray(Image.fromarray(picture).resize((width // scale, height // scale), RESIZERS[degradation.resizer]))
    for step in degradation.after:
        picture = step(picture, rng, scale)
    return images.from_pillow(Image.fromarray(picture))


# ------------------------------------------------------------------------------------------------------------------ blur, in integers


def correlate(picture: Picture, *kernels: Int[np.ndarray, "_ _"]) -> Picture:
    """Correlates with kernels of odd sides, one after the other, in exact integers, and rounds once in the end (half up).

    The picture goes on evenly beyond its edges (reflect-101). The sums of the kernels must multiply to a power of two, 2^22 at most."""
    total = math.prod(int(kernel.sum()) for kernel in kernels)
    shift = total.bit_length() - 1
    assert total == 1 << shift <= 1 << 22, "255 times the total must fit in 32 bits"
    height, width = picture.shape[:2]
    sums = picture.astype(np.int32)
    product = np.empty_like(sums)
    for kernel in kernels:
        tall, wide = kernel.shape
        padded = np.pad(sums, ((tall // 2, tall // 2), (wide // 2, wide // 2), (0, 0)), mode="reflect")
        sums = np.zeros_like(sums)
        for row, column in zip(*(places.tolist() for places in kernel.nonzero()), strict=True):
            sums += np.multiply(padded[row : row + height, column : column + width], int(kernel[row, column]), out=product)
    sums += (1 << shift) >> 1
    return (sums >> shift).astype(np.uint8)


_BLUR_TAPS = np.array([[1, 2, 7, 16, 31, 45, 52, 45, 31, 16, 7, 2, 1]])


def blur_uint8(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """OpenCV's GaussianBlur(picture, (21, 21), 2) on uint8, bit for bit, in integers: 8-bit taps, rows then columns, one rounding.

    Raises UserError when a side is shorter than 7 pixels."""
    if min(picture.shape[:2]) <= _BLUR_TAPS.size // 2:
        raise UserError(f"a picture of {picture.shape[1]}×{picture.shape[0]} is too small for the test blur: 7 pixels a side are needed")
    return correlate(picture, _BLUR_TAPS, _BLUR_TAPS.T)


# ------------------------------------------------------------------------------------------------------------------- noise and codecs


def noise_uint8(
    picture: UInt8[np.ndarray, "h w 3"], sigma: float, rng: np.random.Generator, *, rounded: bool = False
) -> UInt8[np.ndarray, "h w 3"]:
    """Adds N(0, σ²) in grey levels to every sample, drawn in (3, H, W) order, clips, and truncates to 8 bits (or rounds half to even)."""
    noisy = picture.transpose(2, 0, 1) / 255 + rng.normal(0, sigma / 255, picture.transpose(2, 0, 1).shape)
    levels = noisy.clip(0, 1).astype(np.float32) * 255
    return (levels.round() if rounded else levels).astype(np.uint8).transpose(1, 2, 0).copy()


def through_codec(picture: UInt8[np.ndarray, "h w 3"], codec: str, **options: Any) -> UInt8[np.ndarray, "h w 3"]:
    """Encoded by Pillow (codec: JPEG, WEBP or JPEG2000) and decoded again.

    Raises UserError where this Pillow was built without the codec."""
    if not features.check({"JPEG": "jpg", "WEBP": "webp", "JPEG2000": "jpg_2000"}[codec]):
        raise UserError(
            f"this Pillow was built without {codec}, which the degradation needs: install Pillow's own wheel (pip install pillow)"
        )
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format=codec, **options)
    with Image.open(buffer) as decoded:
        return np.array(decoded.convert("RGB"))


# ------------------------------------------------------------------------------------------------------------------------ the presets


def _blur(picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    return blur_uint8(picture)


def _noise(rounded: bool, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    return noise_uint8(picture, 20, rng, rounded=rounded)


def _jpeg(picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    return through_codec(picture, "JPEG", quality=50)


def _seen(name: str, words: str, before: tuple[Step, ...], after: tuple[Step, ...]) -> Fixed:
    return Fixed(name, words, before, "bicubic", after, family=name, severity=0, seen="seen")


def _eight(noise: Step) -> tuple[Fixed, ...]:
    return (
        _seen("clean", "clean", (), ()),
        _seen("blur", "blur", (_blur,), ()),
        _seen("noise", "noise", (), (noise,)),
        _seen("jpeg", "JPEG", (), (_jpeg,)),
        _seen("b+n", "blur and noise", (_blur,), (noise,)),
        _seen("b+j", "blur and JPEG", (_blur,), (_jpeg,)),
        _seen("n+j", "noise and JPEG", (), (noise, _jpeg)),
        _seen("b+n+j", "blur, noise and JPEG", (_blur,), (noise, _jpeg)),
    )


_NEAREST = Fixed("nearest", "nearest-neighbour decimation", (), "nearest", (), family="nearest", severity=0, seen="unseen")

PRESETS: dict[str, Fixed] = {made.name: made for made in (*_eight(partial(_noise, False)), _NEAREST)}
"""The papers' test degradations: blur with σ = 2, then PIL's bicubic by the scale, then noise with σ = 20, then JPEG at quality 50; and
PIL's nearest-neighbour resizing alone (Reflash Dropout, Figure 2)."""

ROUNDED: tuple[Fixed, ...] = _eight(partial(_noise, True))
"""The eight of the presets under the same names, with the same noise, but with samples rounded after it (half to even), not truncated."""
