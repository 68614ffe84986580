"""Numbers as colours: two perceptually uniform scales, worked out in OKLab, and sheets of many small maps in one picture.

OKLab (Ottosson, 2020) is a colour space in which equal distances look about equal. Both scales are walks through it in equal steps, from
dark, which is nothing, to bright; so a step of the number is the same step to the eye anywhere, also in grey and to the colour-blind."""

import base64
import io
import math
from functools import cache

import numpy as np
from PIL import Image, features

QUALITY = 82
"""Of the lossy sheets."""


def _linear(lab: np.ndarray) -> np.ndarray:
    """(n, 3) OKLab to linear light in sRGB's primaries."""
    long = lab @ np.array([[1.0, 1.0, 1.0], [0.3963377774, -0.1055613458, -0.0894841775], [0.2158037573, -0.0638541728, -1.2914855480]])
    return long**3 @ np.array(
        [
            [4.0767416621, -1.2684380046, -0.0041960863],
            [-3.3077115913, 2.6097574011, -0.7034186147],
            [0.2309699292, -0.3413193965, 1.7076147010],
        ]
    )


def _walk(lightness: np.ndarray, chroma: np.ndarray, hue: np.ndarray, steps: int) -> np.ndarray:
    """(steps, 3) uint8 sRGB: a walk in equal steps of OKLab; what a screen cannot show is made paler until it can."""

    def lab(strength: np.ndarray) -> np.ndarray:
        angle = np.radians(hue)
        return np.stack([lightness, strength * chroma * np.cos(angle), strength * chroma * np.sin(angle)], axis=1)

    low, high = np.zeros(len(lightness)), np.ones(len(lightness))
    for _ in range(20):
        middle = (low + high) / 2
        light = _linear(lab(middle))
        shown = ((light >= 0) & (light <= 1)).all(axis=1)
        low, high = np.where(shown, middle, low), np.where(shown, high, middle)
    points = lab(low)
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    even = np.linspace(0, walked[-1], steps)
    light = _linear(np.stack([np.interp(even, walked, points[:, axis]) for axis in range(3)], axis=1)).clip(0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (encoded * 255).round().astype(np.uint8)


@cache
def shades() -> np.ndarray:
    """(256, 3) uint8: nothing is dark violet, much is bright yellow."""
    t = np.linspace(0, 1, 2000)
    return _walk(0.14 + 0.82 * t, 0.06 + 0.14 * np.sin(math.pi * t**0.8), 285 + 175 * t, 256)


@cache
def poles() -> np.ndarray:
    """(511, 3) uint8: nothing, in the middle, is dark; below it blue, above it orange, as bright on both sides."""
    t = np.linspace(0, 1, 2000)
    lightness, chroma = 0.16 + 0.78 * t, 0.17 * np.sin(math.pi * t**0.75)
    below, above = (_walk(lightness, chroma, np.full(2000, hue) + turn * t, 256) for hue, turn in ((262, -30), (35, 50)))
    # Both begin at one dark grey, which stands once.
    return np.concatenate([below[:0:-1], above])


def saliency_colours(values: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 of values in [0, 1]; colour goes with the square root, as few values are large."""
    return shades()[(np.sqrt(values.clip(0, 1)) * 255).round().astype(np.intp)]


def signed_colours(values: np.ndarray, most: float) -> np.ndarray:
    """(..., 3) uint8 of values in [−most, most], beyond which colours do not change; colour goes with the square root of the size."""
    share = np.sqrt((np.abs(values) / (most or 1)).clip(0, 1)) * np.sign(values)
    return poles()[(share * 255).round().astype(np.intp) + 255]


def shrink(maps: np.ndarray, side: int) -> np.ndarray:
    """(C, h, w) to at most `side` pixels along the longer edge, each the mean of those that it covers; smaller maps stay as they are."""
    _, h, w = maps.shape
    if max(h, w) <= side:
        return maps
    size = (max(1, round(w * side / max(h, w))), max(1, round(h * side / max(h, w))))
    return np.stack([np.asarray(Image.fromarray(one.astype(np.float32)).resize(size, Image.Resampling.BOX)) for one in maps])


def columns_of(count: int) -> int:
    """How many columns a sheet of so many maps has."""
    return math.ceil(math.sqrt(count))


def sheet(tiles: np.ndarray) -> np.ndarray:
    """(C, h, w, 3) side by side and line by line, in as many columns as `columns_of` says; free places are black."""
    count, h, w, _ = tiles.shape
    columns = columns_of(count)
    lines = math.ceil(count / columns)
    full = np.zeros((lines * columns, h, w, 3), dtype=np.uint8)
    full[:count] = tiles
    return full.reshape(lines, columns, h, w, 3).swapaxes(1, 2).reshape(lines * h, columns * w, 3)


def lossy_uri(picture: np.ndarray) -> str:
    """The data address of (h, w, 3) uint8 as WebP, or as PNG where PIL has none."""
    buffer, kind = io.BytesIO(), "webp" if features.check("webp") else "png"
    how = {"quality": QUALITY, "method": 3} if kind == "webp" else {"optimize": True}
    Image.fromarray(picture).save(buffer, kind, **how)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
