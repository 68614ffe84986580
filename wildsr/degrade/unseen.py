"""Test degradations of families that the two-order training pipeline does not hold, each at three severities: a frozen protocol.

What can be is exact: kernels are integers, tables hold the sRGB curve, all noise comes from the generator that the degradation is given.
WebP, JPEG 2000, JPEG and the median cut are Pillow's. All are around PIL's bicubic but where the list says otherwise.

A step takes the value that its severity sets, then what every step takes: picture (uint8), generator, scale."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from wildsr.degrade.fixed import Fixed, Picture, Step, correlate, through_codec

# ---------------------------------------------------------------------------------------------------------- kernels on the HR picture

UNIT = 1 << 16
"""What a kernel of two dimensions sums to."""

LINE_UNIT = 1 << 11
"""What each of two lines sums to that act one after the other, rows and columns."""


def fixed_point(weights: Float[np.ndarray, "h w"], unit: int) -> Int[np.ndarray, "h w"]:
    """Weights of odd sides, rounded to integers that sum to `unit`; the remainder goes to the centre."""
    taps = np.rint(weights * (unit / weights.sum())).astype(np.int64)
    taps[taps.shape[0] // 2, taps.shape[1] // 2] += unit - taps.sum()
    return taps


def gaussian_taps(sigma: float) -> Int[np.ndarray, "1 13"]:
    """A line of the discrete Gaussian, exp(-t) I_n(t) with t = σ² (Lindeberg 1990), for σ up to 1: its variance is σ² at any small σ.

    A sampled Gaussian of σ = 0.25 pixels would be no filter at all."""
    frequencies = np.arange(17) * (2 * np.pi / 32)
    line = np.fft.irfft(np.exp(sigma**2 * (np.cos(frequencies) - 1)))
    return fixed_point(np.roll(line, 6)[None, :13], LINE_UNIT)


@cache
def motion_taps(length: int, degrees: int) -> Int[np.ndarray, "side side"]:
    """The blur of a camera that moves evenly along a straight line: points on a segment, each shared among its four pixels.

    `length` in pixels; `degrees` turn from the columns towards the rows."""
    half = int(np.ceil(length / 2)) + 1
    along = ((np.arange(16 * length) + 0.5) / 16 - length / 2)[:, None, None]
    offsets = np.arange(-half, half + 1)
    x, y = along * np.cos(np.deg2rad(degrees)), along * np.sin(np.deg2rad(degrees))
    weights = (1 - abs(offsets - x)).clip(0) * (1 - abs(offsets[:, None] - y)).clip(0)
    return fixed_point(weights.mean(0), UNIT)


@cache
def disk_taps(radius: float) -> Int[np.ndarray, "side side"]:
    """The blur of a lens out of focus: a disk whose edge falls off linearly over one pixel."""
    half = int(np.ceil(radius))
    offsets = np.arange(-half, half + 1)
    return fixed_point((radius + 0.5 - np.hypot(offsets, offsets[:, None])).clip(0, 1), UNIT)


def prefilter(sigma: float, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """Gaussian blur of σ in LR pixels."""
    taps = gaussian_taps(sigma * scale)
    return correlate(picture, taps, taps.T)


def motion(length: int, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """Motion over `length` HR pixels in a direction that is drawn, in whole degrees."""
    return correlate(picture, motion_taps(length, int(rng.integers(180))))


def defocus(radius: int, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """A disk of `radius` HR pixels."""
    return correlate(picture, disk_taps(radius))


# ----------------------------------------------------------------------------------------------------------- noise on the LR picture


def speckle(sigma: float, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """Every sample times 1 + N(0, σ²), drawn in (3, H, W) order; clipped, and rounded half to even."""
    field = rng.normal(0, sigma, (3, *picture.shape[:2])).transpose(1, 2, 0)
    return np.rint((picture * (1 + field)).clip(0, 255)).astype(np.uint8)


def salt(share: float, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """Salt and pepper: of all pixels, half of `share` become white and half black."""
    draw = rng.random(picture.shape[:2])[..., None]
    return np.where(draw < share / 2, 255, np.where(draw < share, 0, picture)).astype(np.uint8)


WHITE = 65535
"""Full scale of linear light, in integers."""

_SRGB = np.arange(256) / 255
LINEAR: Int[np.ndarray, " 256"] = np.rint(np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4) * WHITE).astype(
    np.int64
)
"""sRGB's curve (IEC 61966-2-1): 8-bit level to linear light."""


@cache
def encoded() -> UInt8[np.ndarray, " 65536"]:
    """sRGB's curve the other way: linear light to the nearest 8-bit level."""
    light = np.arange(WHITE + 1) / WHITE
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.uint8)


READ_NOISE = 2
"""Standard deviation of the sensor's own noise, in electrons."""


def mosaic(light: Int[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
    """What is left of linear light behind a Bayer pattern: red at even rows and columns, blue at odd ones, green elsewhere (RGGB)."""
    raw = light[..., 1].copy()
    raw[::2, ::2] = light[::2, ::2, 0]
    raw[1::2, 1::2] = light[1::2, 1::2, 2]
    return raw


def demosaic(raw: Int[np.ndarray, "h w"]) -> Int[np.ndarray, "h w 3"]:
    """Bilinear: a colour that a pixel lacks is the mean of its two or four nearest neighbours that have it (reflect-101 at the edges)."""
    planes = np.zeros((*raw.shape, 3), raw.dtype)
    planes[::2, ::2, 0] = raw[::2, ::2]
    planes[::2, 1::2, 1] = raw[::2, 1::2]
    planes[1::2, ::2, 1] = raw[1::2, ::2]
    planes[1::2, 1::2, 2] = raw[1::2, 1::2]
    padded = np.pad(planes, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    # Where a colour is missing its plane is zero, so that one sum serves every place of the pattern.
    rows = padded[:-2] + padded[2:]
    columns = padded[1:-1, :-2] + padded[1:-1, 2:]
    cross = rows[:, 1:-1] + columns
    corners = (rows[:, :-2] + rows[:, 2:]) * np.array([1, 0, 1])
    return (4 * planes + cross * np.array([2, 1, 2]) + corners + 2) >> 2


def exposed(raw: Int[np.ndarray, "h w"], electrons: int, rng: np.random.Generator) -> Int[np.ndarray, "h w"]:
    """A sensor's reading of linear light: Poisson in electrons, `electrons` at full scale, and Gaussian noise of its own.

    At light x in [0, 1] the variance is (x + READ_NOISE² / electrons) / electrons, up to saturation; below zero nothing is cut off."""
    counts = rng.poisson(raw * (electrons / WHITE)) + rng.normal(0, READ_NOISE, raw.shape)
    return np.rint(counts * (WHITE / electrons)).clip(max=WHITE).astype(np.int64)


def sensor(electrons: int, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """The LR picture as a camera takes it that gathers `electrons` at white: linear light, Bayer pattern, noise, bilinear colours."""
    light = demosaic(exposed(mosaic(LINEAR[picture]), electrons, rng))
    return encoded()[light.clip(0, WHITE)]


# ------------------------------------------------------------------------------------------------ codecs and palettes on the LR picture


def webp(quality: int, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """Lossy WebP."""
    return through_codec(picture, "WEBP", quality=quality, method=4)


_JP2_HEADER = 150
"""Bytes of a JPEG 2000 codestream that are no picture, about."""


def jp2(bits: float, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """JPEG 2000 by the irreversible wavelet, in `bits` a pixel. The header is not counted, or a small picture would have nothing left."""
    pixels = picture.shape[0] * picture.shape[1]
    ratio = 3 * pixels / (_JP2_HEADER + bits / 8 * pixels)
    return through_codec(picture, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[ratio], no_jp2=True)


def double_jpeg(quality: int, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """JPEG, and again on a grid that lies 4 pixels further right and down, so that no block of one is a block of the other."""
    first = through_codec(picture, "JPEG", quality=quality)
    # With four pixels before the picture, blocks begin at 4, 12, 20 of its own, and those of halved colour (16 wide) at 12, 28, 44.
    padded = np.pad(first, ((4, 0), (4, 0), (0, 0)), mode="edge")
    return through_codec(padded, "JPEG", quality=quality)[4:, 4:]


def colours(count: int, picture: Picture, rng: np.random.Generator, scale: int) -> Picture:
    """A palette of `count` colours by Pillow's median cut, without dithering."""
    reduced = Image.fromarray(picture).quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return np.array(reduced.convert("RGB"))


# --------------------------------------------------------------------------------------------------------------------------- the list


def _three(
    family: str,
    words: str,
    values: Sequence[float],
    *,
    before: Callable[..., Picture] | None = None,
    resizer: Literal["bicubic", "bilinear", "nearest"] = "bicubic",
    after: Callable[..., Picture] | None = None,
) -> tuple[Fixed, ...]:
    def steps(step: Callable[..., Picture] | None, value: float) -> tuple[Step, ...]:
        return () if step is None else (partial(step, value),)

    return tuple(
        Fixed(f"{family}-{n}", f"{words}, severity {n} of 3", steps(before, value), resizer, steps(after, value), family, n, "unseen")
        for n, value in enumerate(values, 1)
    )


UNSEEN: tuple[Fixed, ...] = (
    Fixed("bilinear", "antialiased bilinear downsampling", (), "bilinear", (), family="bilinear", severity=0, seen="near"),
    *_three("nearest", "nearest-neighbour decimation", (1 / 4, 1 / 8, 0), before=prefilter, resizer="nearest"),
    *_three("motion", "motion blur", (6, 12, 20), before=motion),
    *_three("defocus", "defocus blur", (2, 4, 6), before=defocus),
    *_three("speckle", "speckle noise", (0.06, 0.12, 0.2), after=speckle),
    *_three("salt", "salt-and-pepper noise", (0.003, 0.01, 0.03), after=salt),
    *_three("sensor", "sensor noise through a Bayer mosaic", (1000, 250, 60), after=sensor),
    *_three("webp", "WebP", (80, 40, 5), after=webp),
    *_three("jp2", "JPEG 2000", (4, 2, 1), after=jp2),
    *_three("double-jpeg", "JPEG twice, on shifted grids", (90, 60, 30), after=double_jpeg),
    *_three("colours", "palette of few colours", (64, 32, 16), after=colours),
)
"""Ten families of three severities, and bilinear, which is near what training sees: nothing else of these is in its pipeline."""
