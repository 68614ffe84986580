"""Structural similarity at one scale and at five: SSIM and MS-SSIM."""

import functools

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wildsr import images
from wildsr.metrics.score import Score, Space, inside, remembered

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""MS-SSIM's exponents, from the finest scale to the coarsest (Wang et al. 2003)."""
TAPS = 11
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def ssim(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, space: Space = "rgb") -> Score:
    """Structural similarity in [-1, 1] (Wang et al. 2004): Gaussian window 11×11, σ = 1.5, valid region, K = (0.01, 0.03), L = 255,

    float64, mean over pixels and then over channels, as in BasicSR. Raises UserError below 11 pixels a side."""
    return _in_space(ssims(sr, hr, crop=crop, scale=1), space)


def ssims(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, scale: int) -> list[Score]:
    """`ssim` in RGB and in Y."""
    del scale
    inside(sr, hr, crop, TAPS)
    return _scores(_finest(sr, hr, crop)[0], "ssim", crop)


def ms_ssim(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, space: Space = "rgb") -> Score:
    """Multi-scale structural similarity in [0, 1] (Wang, Simoncelli & Bovik 2003): ∏ cs_j^w_j over scales 1 … 4, times SSIM_5^w_5.

    cs_j: mean over the valid region of the contrast and structure terms of `ssim`, in one; w: `WEIGHTS`. From scale to scale, means of
    2×2 pixels (a last odd row or column is left out). A negative mean, which has no such power, counts as 0. Each channel by itself,
    then the mean over channels. Raises UserError below 176 pixels a side, of which 11 are left at the fifth scale."""
    return _in_space(ms_ssims(sr, hr, crop=crop, scale=1), space)


def ms_ssims(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, scale: int) -> list[Score]:
    """`ms_ssim` in RGB and in Y."""
    del scale
    inside(sr, hr, crop, TAPS * 2 ** (len(WEIGHTS) - 1))
    _, terms, both = _finest(sr, hr, crop)
    product = terms.clamp(min=0) ** WEIGHTS[0]
    for weight in WEIGHTS[1:-1]:
        product *= similarities(both)[1].clamp(min=0) ** weight
        both = _halved(both)
    product *= similarities(both)[0].clamp(min=0) ** WEIGHTS[-1]
    return _scores(product, "ms-ssim", crop)


def _in_space(scores: list[Score], space: Space) -> Score:
    return next(score for score in scores if score.space == space)


def _scores(channels: Float[Tensor, "4"], metric: str, crop: int) -> list[Score]:
    """From R, G, B and Y."""
    return [Score(channels[:3].mean().item(), metric, "rgb", crop), Score(channels[3].item(), metric, "y", crop)]


@remembered
def _finest(
    sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], crop: int
) -> tuple[Float[Tensor, "4"], Float[Tensor, "4"], Float[Tensor, "h2 2 4 w2"]]:
    """What both metrics need: `similarities` of R, G, B and Y at the finest scale, and what `_both` gives, halved."""
    both = _both(*inside(sr, hr, crop, TAPS))
    return *similarities(both), _halved(both)


def _both(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"]) -> Float[Tensor, "h 2 4 w"]:
    """R, G, B and Y of the pictures' sum and of their difference. A row after the other, so that strips lie together in memory."""
    first, second = sr.transpose(0, 1).short(), hr.transpose(0, 1).short()
    both = torch.empty(first.shape[0], 2, 4, first.shape[2], dtype=torch.float64)
    both[:, 0, :3], both[:, 1, :3] = first + second, first - second
    # Y has the offset of black, which a sum holds twice and a difference not at all.
    luma = images.to_y(both[:, :, :3].permute(1, 2, 0, 3))
    both[:, 0, 3], both[:, 1, 3] = luma[0] + 16, luma[1] - 16
    return both


def _halved(both: Float[Tensor, "h 2 c w"]) -> Float[Tensor, "h2 2 c w2"]:
    height, width = both.shape[0] // 2 * 2, both.shape[-1] // 2 * 2
    rows = both[:height:2] + both[1:height:2]
    return (rows[..., :width:2] + rows[..., 1:width:2]) / 4


ROWS, COLUMNS = 24, 32
"""Windows that are looked at together: what is between stays in the processor's cache, and little of a band matrix is 0."""


def similarities(both: Float[Tensor, "h 2 c w"]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Means over the valid region of SSIM, and of its contrast and structure terms alone, for each channel, from the sum u and the
    difference v of two pictures in [0, 255].

    With U, V their means under the window and A, B their variances, SSIM is (U² − V² + 2 C1) / (U² + V² + 2 C1), the luminance term, times
    (A − B + 2 C2) / (A + B + 2 C2): four averages a channel in place of five."""
    height, _, channels, width = both.shape
    constants = torch.tensor([[[2 * C1]], [[2 * C2]]], dtype=torch.float64)
    sums = torch.zeros(2, channels, dtype=torch.float64)
    for top in range(0, height - TAPS + 1, ROWS):
        strip = both[top : top + ROWS + TAPS - 1]
        fields = torch.empty(len(strip), 2, *strip.shape[1:], dtype=strip.dtype)
        fields[:, 0] = strip
        torch.mul(strip, strip, out=fields[:, 1])
        moments = _window(fields)
        squared_means, variances = moments.unbind(1)
        squared_means.square_()
        variances -= squared_means
        of_sum, of_difference = moments.unbind(2)
        below = (of_sum + of_difference).add_(constants)
        luminance, terms = of_sum.sub_(of_difference).add_(constants).div_(below).unbind(1)
        sums += torch.stack([(luminance * terms).sum((0, 2)), terms.sum((0, 2))])
    similarity, terms = sums / ((height - TAPS + 1) * (width - TAPS + 1))
    return similarity, terms


def _window(fields: Float[Tensor, "h m 2 c w"]) -> Float[Tensor, "h2 m 2 c w2"]:
    """Weighted means of 11×11 pixels at every place where they fit."""
    # Products with band matrices, in pieces: convolutions in float64 are many times slower, and whole matrices are nearly all zeros.
    rows, columns = fields.shape[0] - TAPS + 1, fields.shape[-1] - TAPS + 1
    high = (_band_matrix(rows) @ fields.flatten(1)).view(-1, fields.shape[-1])
    result = torch.empty(len(high), columns, dtype=high.dtype)
    for left in range(0, columns, COLUMNS):
        part = result[:, left : left + COLUMNS]
        torch.mm(high[:, left : left + part.shape[1] + TAPS - 1], _band_matrix(part.shape[1]).T, out=part)
    return result.view(rows, *fields.shape[1:-1], columns)


@functools.lru_cache(64)
def _band_matrix(valid: int) -> Float[Tensor, "valid length"]:
    """Row i holds the 11 Gaussian weights of the samples i … i + 10."""
    offsets = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2
    kernel = torch.exp(-offsets.square() / (2 * 1.5**2))
    matrix = torch.zeros(valid, valid + TAPS - 1, dtype=torch.float64)
    for tap, weight in enumerate(kernel / kernel.sum()):
        matrix.diagonal(tap).fill_(weight)
    return matrix
