"""Error by pixel: PSNR."""

import math

from jaxtyping import Float, UInt8
from torch import Tensor

from wildsr import images
from wildsr.metrics.score import Score, Space, inside


def psnr(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, space: Space = "rgb") -> Score:
    """Peak signal-to-noise ratio in dB: 10 log10(255² / MSE) in float64 over all pixels and channels inside the border.

    Y is BT.601 with MATLAB's constants, converted after the crop and not rounded, as in BasicSR. Raises UserError on unequal sizes."""
    return Score(_decibels(_error(sr, hr, crop), space), "psnr", space, crop)


def psnrs(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, scale: int) -> list[Score]:
    """`psnr` in RGB and in Y."""
    del scale
    error = _error(sr, hr, crop)
    return [Score(_decibels(error, "rgb"), "psnr", "rgb", crop), Score(_decibels(error, "y"), "psnr", "y", crop)]


def _error(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], crop: int) -> Float[Tensor, "3 h2 w2"]:
    first, second = inside(sr, hr, crop, smallest=1)
    return (first.short() - second.short()).double()


def _decibels(error: Float[Tensor, "3 h w"], space: Space) -> float:
    # Y is linear but for its offset, which is that of black.
    if space == "y":
        error = images.to_y(error) - 16
    return psnr_of(error.square().mean().item())


def psnr_of(error: float) -> float:
    """A mean squared error in grey levels², in dB."""
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
