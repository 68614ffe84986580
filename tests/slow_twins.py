"""Slow, obvious twins of what wildsr computes fast, written from the definitions, and pictures to try both on."""

import hashlib
import io
import math
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from scipy import ndimage, special
from torch import Tensor

from wildsr import datasets, images

# ---------------------------------------------------------------------------------------------------------------------- pictures


def noise_picture(height: int, width: int, seed: int = 0) -> Tensor:
    """uint8 (3, H, W), every sample by itself uniform."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (3, height, width), dtype=np.uint8))


def smooth_picture(height: int, width: int, seed: int = 0) -> Tensor:
    """uint8 (3, H, W) that looks a little like a photograph: soft shapes of all three colours, and one hard edge."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, (3, height, width)), (0, 3, 3), mode="wrap")
    field = 0.5 + 0.18 * field / field.std()
    field[:, height // 3 : height // 2, width // 4 : width // 2] += 0.25
    return torch.from_numpy((field.clip(0, 1) * 255).round().astype(np.uint8))


@cache
def photograph(name: str) -> Path:
    """The path of a sample photograph by its stem."""
    return next(path for path in datasets.samples() if path.stem == name)


def photo_crop(name: str, height: int, width: int, top: int = 0, left: int = 0) -> Tensor:
    """uint8 (3, height, width), cut from a sample photograph."""
    return images.read(photograph(name))[:, top : top + height, left : left + width].clone()


def as_float(picture: Tensor) -> Tensor:
    """uint8 (3, H, W) -> float (1, 3, H, W) in [0, 1]."""
    return picture.unsqueeze(0).float() / 255


# ------------------------------------------------------------------------------------------------------------- kernels and filters


def gaussian_kernel(size: int, sigma_x: float, sigma_y: float, theta: float, beta: float, family: str) -> np.ndarray:
    """Pixel by pixel, with the covariance written out as a matrix."""
    rotation = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    inverse = np.linalg.inv(rotation @ np.diag([sigma_x**2, sigma_y**2]) @ rotation.T)
    kernel = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            u = np.array([column - size // 2, row - size // 2])
            q = u @ inverse @ u
            kernel[row, column] = {"gaussian": math.exp(-q / 2), "generalized": math.exp(-(q**beta) / 2), "plateau": 1 / (1 + q**beta)}[
                family
            ]
    return kernel / kernel.sum()


def sinc_kernel(size: int, omega: float) -> np.ndarray:
    """Pixel by pixel, with SciPy's Bessel function."""
    kernel = np.zeros((size, size))
    for row in range(size):
        for column in range(size):
            r = math.hypot(row - size // 2, column - size // 2)
            kernel[row, column] = omega**2 / (4 * math.pi) if r == 0 else omega * special.j1(omega * r) / (2 * math.pi * r)
    return kernel / kernel.sum()


def filtered(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Cross-correlation of every channel of (3, H, W) with borders reflected without the edge pixel, in float64."""
    return np.stack([ndimage.correlate(channel.astype(np.float64), kernel, mode="mirror") for channel in picture])


def second_moment(kernel: np.ndarray) -> np.ndarray:
    """[[E x², E xy], [E xy, E y²]] of a kernel of sum 1."""
    offsets = np.arange(len(kernel)) - len(kernel) // 2
    x, y = np.meshgrid(offsets, offsets)
    return np.array([[(kernel * x * x).sum(), (kernel * x * y).sum()], [(kernel * x * y).sum(), (kernel * y * y).sum()]])


def unsharp_mask(picture: np.ndarray, amount: float = 0.5, size: int = 51, threshold: float = 10) -> np.ndarray:
    """With a dense kernel of OpenCV's, in float64. (3, H, W)."""
    line = cv2.getGaussianKernel(size, 0, cv2.CV_64F)
    kernel = line @ line.T
    residual = picture - filtered(picture, kernel)
    soft = filtered((np.abs(residual) * 255 > threshold).astype(np.float64), kernel)
    return soft * np.clip(picture + amount * residual, 0, 1) + (1 - soft) * picture


# ------------------------------------------------------------------------------------------------------------------------ resizing


def _weight(mode: str, distance: float) -> float:
    d = abs(distance)
    if mode == "bilinear":
        return max(0.0, 1 - d)
    a = -0.5 if mode == "antialiased" else -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def resized_line(line: np.ndarray, count: int, step: float, mode: str) -> np.ndarray:
    """A row of samples at (i + 1/2)·step − 1/2, the edge repeated outside. `area` averages the samples that a cell touches; `antialiased`
    weighs those on the line by Keys' cubic of a = -1/2, as wide as the step, and divides by the weights' sum."""
    result = np.zeros(count)
    for i in range(count):
        if mode == "area":
            first, last = math.floor(i * len(line) / count), math.ceil((i + 1) * len(line) / count)
            result[i] = line[first:last].mean()
            continue
        place = (i + 0.5) * step - 0.5
        if mode == "antialiased":
            weights = np.array([_weight(mode, (place - j) / max(step, 1)) for j in range(len(line))])
            result[i] = (weights * line).sum() / weights.sum()
            continue
        for j in range(math.floor(place) - 1, math.floor(place) + 3):
            result[i] += _weight(mode, place - j) * line[min(max(j, 0), len(line) - 1)]
    return result


def resized(picture: np.ndarray, height: int, width: int, steps: tuple[float, float], mode: str) -> np.ndarray:
    """Columns, then rows. (3, H, W) -> (3, height, width); `steps` down and across."""
    tall = np.apply_along_axis(resized_line, 1, picture, height, steps[0], mode)
    return np.apply_along_axis(resized_line, 2, tall, width, steps[1], mode)


# ---------------------------------------------------------------------------------------------------------------------------- JPEG

LUMA_STEPS = """16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56  14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92  49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99"""
CHROMA_STEPS = """17 18 24 47 99 99 99 99  18 21 26 66 99 99 99 99  24 26 56 99 99 99 99 99  47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99  99 99 99 99 99 99 99 99"""


def _steps(text: str) -> np.ndarray:
    return np.array(text.split(), dtype=np.float64).reshape(8, 8)


@cache
def _basis(u: int, v: int) -> np.ndarray:
    """The cosine pattern of vertical frequency u and horizontal frequency v, of unit length."""
    patterns = [[math.sqrt((1 if k == 0 else 2) / 8) * math.cos((2 * x + 1) * k * math.pi / 16) for x in range(8)] for k in (u, v)]
    return np.outer(*patterns)


def _quantised(block: np.ndarray, steps: np.ndarray) -> np.ndarray:
    result = np.zeros((8, 8))
    for u in range(8):
        for v in range(8):
            level = np.round((block * _basis(u, v)).sum() / steps[u, v])
            result += level * steps[u, v] * _basis(u, v)
    return result


def jpeg(picture: np.ndarray, quality: float) -> np.ndarray:
    """The lossy part of JPEG with 4:2:0 chroma, block by block, in float64. (3, H, W) in [0, 1]; padded with black."""
    factor = 50 / quality if quality < 50 else 2 - quality / 50
    _, height, width = picture.shape
    padded = np.zeros((3, math.ceil(height / 16) * 16, math.ceil(width / 16) * 16))
    padded[:, :height, :width] = picture * 255
    red, green, blue = padded
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    cb, cr = ((c[::2, ::2] + c[1::2, ::2] + c[::2, 1::2] + c[1::2, 1::2]) / 4 for c in (cb, cr))
    planes = []
    for plane, steps in ((y, LUMA_STEPS), (cb, CHROMA_STEPS), (cr, CHROMA_STEPS)):
        result = np.zeros_like(plane)
        for top in range(0, plane.shape[0], 8):
            for left in range(0, plane.shape[1], 8):
                cell = slice(top, top + 8), slice(left, left + 8)
                result[cell] = _quantised(plane[cell] - 128, _steps(steps) * factor) + 128
        planes.append(result)
    y, cb, cr = planes[0], *(np.kron(plane, np.ones((2, 2))) for plane in planes[1:])
    red = y + 1.402 * (cr - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    blue = y + 1.772 * (cb - 128)
    return (np.stack([red, green, blue])[:, :height, :width] / 255).clip(0, 1)


# ----------------------------------------------------------------------------------------------------------- the test degradations


STEPS = {
    "clean": (),
    "blur": ("blur",),
    "noise": ("noise",),
    "jpeg": ("jpeg",),
    "b+n": ("blur", "noise"),
    "b+j": ("blur", "jpeg"),
    "n+j": ("noise", "jpeg"),
    "b+n+j": ("blur", "noise", "jpeg"),
    "nearest": ("nearest",),
}


def fixed(hr: Tensor, preset: str, seed: int, scale: int = 4) -> np.ndarray:
    """Blur, bicubic, noise, JPEG by OpenCV and Pillow. uint8 (3, H, W) -> uint8 (h, w, 3)."""
    steps = STEPS[preset]
    pixels = np.ascontiguousarray(hr.numpy().transpose(1, 2, 0))
    picture = cv2.GaussianBlur(pixels, (21, 21), 2) if "blur" in steps else pixels
    height, width = picture.shape[:2]
    resizer = Image.Resampling.NEAREST if "nearest" in steps else Image.Resampling.BICUBIC
    picture = np.asarray(Image.fromarray(picture).resize((width // scale, height // scale), resizer))
    if "noise" in steps:
        key = hashlib.sha256(f"{seed}|{preset}|{hashlib.sha256(pixels.tobytes()).hexdigest()}".encode()).digest()[:16]
        rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
        field = rng.normal(0, 20 / 255, (3, *picture.shape[:2])).transpose(1, 2, 0)
        # Truncated to 8 bits, not rounded.
        picture = np.floor(np.float32(np.clip(picture / 255 + field, 0, 1)) * np.float32(255)).astype(np.uint8)
    if "jpeg" in steps:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="JPEG", quality=50)
        picture = np.asarray(Image.open(file).convert("RGB"))
    return picture


# ------------------------------------------------------------------------------------------------------------------------- metrics


def luma(picture: np.ndarray) -> np.ndarray:
    """(3, H, W) in [0, 255] -> (1, H, W), BT.601 in the studio range, in float64."""
    red, green, blue = picture.astype(np.float64)
    return (16 + 65.481 / 255 * red + 128.553 / 255 * green + 24.966 / 255 * blue)[None]


def psnr(first: np.ndarray, second: np.ndarray, crop: int, space: str) -> float:
    """(3, H, W) uint8."""
    height, width = first.shape[1:]
    first, second = (x[:, crop : height - crop, crop : width - crop].astype(np.float64) for x in (first, second))
    if space == "y":
        first, second = luma(first), luma(second)
    return 20 * math.log10(255 / math.sqrt(((first - second) ** 2).mean()))


def ssim(first: np.ndarray, second: np.ndarray, crop: int, space: str) -> float:
    """Window by window over every place where 11×11 pixels fit. (3, H, W) uint8."""
    height, width = first.shape[1:]
    first, second = (x[:, crop : height - crop, crop : width - crop].astype(np.float64) for x in (first, second))
    if space == "y":
        first, second = luma(first), luma(second)
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for a, b in zip(first, second, strict=True):
        for top in range(a.shape[0] - 10):
            for left in range(a.shape[1] - 10):
                x, y = a[top : top + 11, left : left + 11], b[top : top + 11, left : left + 11]
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))
