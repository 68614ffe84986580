"""Fine detail: how much of it is there, and how near it is to the ground truth. On Y, by the frequencies of a cosine transform.

The orthonormal DCT-II continues a picture beyond its border by mirroring, so that no jump at the border leaks into high frequencies, as
it would with a plain Fourier transform. Coefficient (i, j) of an H×W picture has the radial frequency √((i/2H)² + (j/2W)²) cycles a pixel.
Frequencies are given in units of LR's Nyquist frequency, 1/(2·scale) cycles a pixel of HR: along an axis, LR holds none above 1."""

import functools
import math
from collections.abc import Collection

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wildsr import images
from wildsr.metrics.pixels import psnr_of
from wildsr.metrics.score import Score, inside, remembered

BANDS = {
    "energy-0.00-0.25": 0.0,
    "energy-0.25-0.50": 0.25,
    "energy-0.50-0.75": 0.5,
    "energy-0.75-1.00": 0.75,
    "energy-1.00-2.00": 1.0,
    "energy-2.00-top": 2.0,
}
"""The lower bound of each band in units of LR's Nyquist frequency. A band holds its upper bound and not its lower one."""
HIGH = "energy-0.50-0.75"
"""The lowest band of `psnr_high`: the upper octave of what LR holds, and all that it does not hold."""
SMALLEST = 16
NOTHING = 1e-20
"""Energy a pixel, in grey levels², up to which there is none but that of rounding in float64. A change by one level of one pixel in 10¹⁰
has 10⁻¹⁰."""


def psnr_high(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, scale: int) -> list[Score]:
    """PSNR in dB of the frequencies above half of LR's Nyquist frequency, on Y: 10 log10(255² / MSE), MSE the sum of the squared
    coefficients of the error above 1/(4·scale) cycles a pixel, divided by the number of pixels; infinite where there are none.

    Raises UserError on unequal sizes and below 16 pixels a side."""
    return [Score(psnr_above(_energies(sr, hr, crop, scale)[2], HIGH), "psnr-high", "y", crop)]


def energies(
    sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, scale: int, bands: Collection[str] = tuple(BANDS)
) -> list[Score]:
    """For each of `BANDS`, 10 log10(energy of SR / energy of HR) in dB, on Y: below 0 detail was lost, above 0 something was added.

    The mean is in no band. A band in which HR has no energy is left out; SR's counts as 10⁻²⁰ grey levels² a pixel at least, so that
    values are finite. Raises UserError on unequal sizes and below 16 pixels a side."""
    of_sr, of_hr, _ = _energies(sr, hr, crop, scale)
    return [Score(ratio, band, "y", crop) for band, ratio in ratios(of_sr, of_hr).items() if band in bands]


@remembered
def _energies(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], crop: int, scale: int) -> Float[Tensor, "3 7"]:
    """`band_energies` of SR, HR and SR − HR."""
    first, second = inside(sr, hr, crop, SMALLEST)
    of_sr, of_hr = dct(torch.stack([images.to_y(first.double()), images.to_y(second.double())]))
    return torch.stack([band_energies(of_sr, scale), band_energies(of_hr, scale), band_energies(of_sr - of_hr, scale)])


def band_energies(coefficients: Float[Tensor, "h w"], scale: int) -> Float[Tensor, "7"]:
    """From the `dct` of a picture, energy a pixel of its mean and of each of `BANDS`: together they are its mean square (Parseval)."""
    numbers = _band_numbers(*coefficients.shape, scale)
    return torch.bincount(numbers.flatten(), weights=coefficients.square().flatten(), minlength=len(BANDS) + 1) / numbers.numel()


def psnr_above(of_error: Float[Tensor, "7"], band: str) -> float:
    """PSNR in dB of a band and those above it, from the `band_energies` of an error."""
    error = of_error[1 + list(BANDS).index(band) :].sum().item()
    return psnr_of(error if error > NOTHING else 0)


def ratios(of_sr: Float[Tensor, "7"], of_hr: Float[Tensor, "7"]) -> dict[str, float]:
    """The ratio in dB of each band in which HR has energy, from the `band_energies` of both."""
    pairs = zip(BANDS, of_sr[1:].tolist(), of_hr[1:].tolist(), strict=True)
    return {band: 10 * math.log10(max(mine, NOTHING) / theirs) for band, mine, theirs in pairs if theirs > NOTHING}


def dct(planes: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """The orthonormal DCT-II along rows and columns."""
    return _dct_rows(_dct_rows(planes).transpose(-1, -2)).transpose(-1, -2)


def _dct_rows(planes: Float[Tensor, "*n w"]) -> Float[Tensor, "*n w"]:
    """Along the last axis. As a product, which at the sizes of test sets is as fast as a fast transform, whatever their prime factors."""
    length = planes.shape[-1]
    even, odd = _cosines(length)
    front, back = planes[..., : len(even)], planes[..., length - len(even) :].flip(-1)
    result = torch.empty(planes.shape, dtype=planes.dtype)
    result[..., ::2], result[..., 1::2] = (front + back) @ even, (front - back) @ odd
    return result


@functools.lru_cache(32)
def _cosines(length: int) -> tuple[Float[Tensor, "half even"], Float[Tensor, "half odd"]]:
    """The first half of the cosines of even and of odd frequencies; their other half is the same, mirrored, and for odd ones negative."""
    n, k = torch.arange((length + 1) // 2)[:, None], torch.arange(length)
    angle = ((2 * n + 1) * k % (4 * length)).double() * (torch.pi / (2 * length))
    cosines = angle.cos() * math.sqrt(2 / length)
    cosines[:, 0] /= math.sqrt(2)
    if length % 2:
        cosines[-1] /= 2  # the middle one is its own mirror image, and would count twice
    return cosines[:, ::2].contiguous(), cosines[:, 1::2].contiguous()


@functools.lru_cache(8)
def _band_numbers(height: int, width: int, scale: int) -> UInt8[Tensor, "height width"]:
    """The band of each coefficient: 0 for the mean, then 1 … 6."""
    vertical, horizontal = (scale * torch.arange(n, dtype=torch.float64) / n for n in (height, width))
    frequency = (vertical.square()[:, None] + horizontal.square()).sqrt()
    return torch.bucketize(frequency, torch.tensor(list(BANDS.values()), dtype=torch.float64)).to(torch.uint8)
