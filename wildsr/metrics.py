"""Full-reference metrics on uint8 pictures. Every score carries its protocol, and scores of different protocol refuse to be compared."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wildsr import images
from wildsr.errors import UserError

Space = Literal["rgb", "y"]


def protocol(metric: str, space: Space, crop: int) -> str:
    """Metric, colour space, border cropped on each side in pixels, quantisation, and the version of the definition."""
    return f"{metric}-{space}-crop{crop}-uint8/1"


@dataclass(frozen=True)
class Score:
    """One measured value. `value` is infinite for the PSNR of identical pictures."""

    value: float
    metric: str
    space: Space
    crop: int

    @property
    def protocol(self) -> str:
        """What it was measured with; see the function `protocol`."""
        return protocol(self.metric, self.space, self.crop)

    def __sub__(self, other: "Score") -> float:
        """The difference in the metric's own unit. Raises UserError when the protocols differ."""
        if self.protocol != other.protocol:
            raise UserError(f"scores of different protocol cannot be compared: {self.protocol} and {other.protocol}")
        return self.value - other.value


def psnr(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, space: Space = "rgb") -> Score:
    """Peak signal-to-noise ratio in dB: 10 log10(255² / MSE) in float64 over all pixels and channels inside the border.

    Y is BT.601 with MATLAB's constants, converted after the crop and not rounded, as in BasicSR. Raises UserError on unequal sizes."""
    first, second = _prepare(sr, hr, crop, space, smallest=1)
    error = (first - second).square().mean().item()
    return Score(math.inf if error == 0 else 10 * math.log10(255**2 / error), "psnr", space, crop)


def ssim(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, space: Space = "rgb") -> Score:
    """Structural similarity in [-1, 1] (Wang et al. 2004): Gaussian window 11×11, σ = 1.5, valid region, K = (0.01, 0.03), L = 255,

    float64, mean over pixels and then over channels, as in BasicSR. Raises UserError below 11 pixels a side."""
    first, second = _prepare(sr, hr, crop, space, smallest=11)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean1, mean2 = _window(first), _window(second)
    variance1 = _window(first * first) - mean1 * mean1
    variance2 = _window(second * second) - mean2 * mean2
    covariance = _window(first * second) - mean1 * mean2
    similarity = ((2 * mean1 * mean2 + c1) * (2 * covariance + c2)) / ((mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2))
    return Score(similarity.mean().item(), "ssim", space, crop)


METRICS: dict[str, Callable[..., Score]] = {"psnr": psnr, "ssim": ssim}


def _prepare(
    sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], crop: int, space: Space, smallest: int
) -> tuple[Float[Tensor, "c h2 w2"], Float[Tensor, "c h2 w2"]]:
    if sr.shape != hr.shape:
        raise UserError(f"pictures of different size cannot be compared: {_size(sr)} and {_size(hr)} (width×height)")
    if min(hr.shape[-2:]) - 2 * crop < smallest:
        raise UserError(f"a picture of {_size(hr)} is too small: {smallest} pixels must be left inside a border of {crop}")
    inner = [picture[:, crop : hr.shape[1] - crop, crop : hr.shape[2] - crop].double() for picture in (sr, hr)]
    first, second = inner if space == "rgb" else [images.to_y(picture).unsqueeze(0) for picture in inner]
    return first, second


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-1]}×{picture.shape[-2]}"


def _window(picture: Float[Tensor, "c h w"]) -> Float[Tensor, "c h2 w2"]:
    # As two matrix products: PyTorch's convolutions in float64 are many times slower.
    h, w = picture.shape[-2:]
    return _window_matrix(h) @ picture @ _window_matrix(w).T


@functools.lru_cache(32)
def _window_matrix(length: int) -> Float[Tensor, "valid length"]:
    """Row i holds the 11 Gaussian weights of the samples i … i + 10."""
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    kernel = torch.exp(-offsets.square() / (2 * 1.5**2))
    matrix = torch.zeros(length - 10, length, dtype=torch.float64)
    for tap, weight in enumerate(kernel / kernel.sum()):
        matrix.diagonal(tap).fill_(weight)
    return matrix
