"""What degrades a picture, as operators on windows of pictures: floats (G, 3, h, w) in [0, 1], each sample with its own numbers.

A window is given by the indices of its rows and columns (G, n), so that each sample of a group may look at another place."""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from wildsr.errors import UserError

RESIZE_MODES = ("area", "bilinear", "bicubic", "antialiased")

Taps = tuple[Tensor, Tensor]
"""For each row (or column) of a result: the indices (G, n, t) of what it is made of, and the weights."""


def continued(indices: Int[Tensor, "g n"], side: Int[Tensor, " g"]) -> Int[Tensor, "g n"]:
    """Indices of a picture's even continuation, reflected at its edges without repeating them, as those of the picture itself."""
    side = side[:, None]
    period = (2 * side - 2).clamp(min=1)
    indices = indices.remainder(period)
    return torch.minimum(indices, period - indices).minimum(side - 1)


def cut(picture: Float[Tensor, "g 3 h w"], rows: Int[Tensor, "g n"], columns: Int[Tensor, "g m"]) -> Float[Tensor, "g 3 n m"]:
    """The pixels at some rows and columns of each picture; what lies outside of it is its nearest edge."""
    rows, columns = rows.clamp(0, picture.shape[2] - 1), columns.clamp(0, picture.shape[3] - 1)
    sample = torch.arange(len(picture), device=picture.device)[:, None, None, None]
    channel = torch.arange(picture.shape[1], device=picture.device)[:, None, None]
    return picture[sample, channel, rows[:, None, :, None], columns[:, None, None]]


def correlate(picture: Float[Tensor, "g 3 h w"], kernel: Float[Tensor, "g k k"]) -> Float[Tensor, "g 3 h2 w2"]:
    """Cross-correlates each picture with its own kernel, the same for all channels, where the kernel fits: (G, 3, h−k+1, w−k+1).

    A product of spectra: on a CPU a quarter of the time of a sum over 21×21, and hardly more than one over 7×7."""
    height, width = picture.shape[-2] - kernel.shape[-2] + 1, picture.shape[-1] - kernel.shape[-1] + 1
    size = _smooth_number(picture.shape[-2]), _smooth_number(picture.shape[-1])
    spectrum = torch.fft.rfft2(picture, s=size) * torch.fft.rfft2(kernel.to(picture.dtype), s=size).conj()[:, None]
    return torch.fft.irfft2(spectrum, s=size)[..., :height, :width]


def _smooth_number(length: int) -> int:
    """The next length whose prime factors are 2, 3 and 5, of which Fourier transforms are fast."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def taps(
    mode: Int[np.ndarray, " g"],
    places: Int[Tensor, "g n"],
    inside: Int[np.ndarray, " g"],
    outside: Int[np.ndarray, " g"],
    step: Float[np.ndarray, " g"],
) -> Taps:
    """What the samples at `places` of a line of `outside` samples are made of, when it comes from one of `inside` by a resizing mode:
    0 area (adaptive average), 1 bilinear, 2 bicubic (a = -0.75), without antialiasing, with the edge continued; 3 bicubic (a = -0.5),
    widened by the step where it shrinks, with the weights beyond the edge left out. `step`: samples of the old line from one of the new
    line to the next."""
    # A cell of area is as wide as the lines' true ratio, which is above the step where the new line's length was rounded down.
    counts = np.select([mode == 0, mode == 3], [np.ceil(inside / outside) + 1, 2 * np.ceil(reach(step)) + 1], 2 * mode)
    count = int(counts.max())
    made = [_TAPS[kind](places[..., None], count, *(_of(value, places) for value in (inside, outside, step))) for kind in np.unique(mode)]
    index, weight = made[0]
    for kind, (other_index, other_weight) in zip(np.unique(mode)[1:], made[1:], strict=True):
        here = _of(mode == kind, places)
        index, weight = torch.where(here, other_index, index), torch.where(here, other_weight, weight)
    return torch.minimum(index.clamp_(min=0), _of(inside - 1, places)), weight


def reach(step: Float[np.ndarray, " g"]) -> Float[np.ndarray, " g"]:
    """How far, in old samples, the antialiased kernel extends to each side."""
    return 2 * np.maximum(step, 1)


def _of(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device)[:, None, None]


def _area(places: Tensor, count: int, inside: Tensor, outside: Tensor, step: Tensor) -> Taps:
    # Adaptive averages touch whole cells: from ⌊i·n/m⌋ to ⌈(i+1)·n/m⌉.
    first = places * inside // outside
    cells = -((places + 1) * inside // -outside) - first
    offsets = torch.arange(count, device=places.device)
    return first + offsets, (offsets < cells) / cells.double()


def _bilinear(places: Tensor, count: int, inside: Tensor, outside: Tensor, step: Tensor) -> Taps:
    centre = (places + 0.5) * step - 0.5
    index = centre.floor() + torch.arange(count, device=places.device)
    return index.to(torch.int64), (1 - (centre - index).abs_()).clamp_(min=0)


def _bicubic(places: Tensor, count: int, inside: Tensor, outside: Tensor, step: Tensor) -> Taps:
    centre = (places + 0.5) * step - 0.5
    index = centre.floor() + torch.arange(-1, count - 1, device=places.device)
    d = (centre - index).abs_()
    near, far = (1.25 * d - 2.25) * d * d + 1, ((-0.75 * d + 3.75) * d - 6) * d + 3
    return index.to(torch.int64), torch.where(d <= 1, near, far.masked_fill_(d >= 2, 0))


def _antialiased(places: Tensor, count: int, inside: Tensor, outside: Tensor, step: Tensor) -> Taps:
    centre, width = (places + 0.5) * step - 0.5, step.clamp(min=1)
    index = (centre - 2 * width).ceil() + torch.arange(count, device=places.device)
    d = ((centre - index) / width).abs_()
    near, far = (1.5 * d - 2.5) * d * d + 1, ((-0.5 * d + 2.5) * d - 4) * d + 2
    weight = torch.where(d <= 1, near, far).masked_fill_((d >= 2) | (index < 0) | (index >= inside), 0)
    return index.to(torch.int64), weight / weight.sum(-1, keepdim=True)


_TAPS = (_area, _bilinear, _bicubic, _antialiased)


def resample(picture: Float[Tensor, "g 3 h w"], rows: Taps, columns: Taps) -> Float[Tensor, "g 3 n m"]:
    """Resizes windows: each row of the result is a weighted sum of a few rows, as an embedding bag computes it; and each column."""
    return _lines(_lines(picture, rows), columns)


def _lines(picture: Float[Tensor, "g 3 h w"], taps: Taps) -> Float[Tensor, "g 3 w n"]:
    """Weighted sums of rows, and rows and columns exchanged."""
    index, weight = taps
    g, c, h, w = picture.shape
    rows = picture.permute(0, 2, 1, 3).reshape(g * h, c * w)
    index = index.clamp(0, h - 1) + torch.arange(0, g * h, h, device=index.device)[:, None, None]
    sums = F.embedding_bag(index.flatten(0, 1), rows, per_sample_weights=weight.to(picture.dtype).flatten(0, 1), mode="sum")
    return sums.view(g, -1, c, w).permute(0, 2, 3, 1)


# Annex K of ITU-T T.81: quantisation steps at quality 50, rows of ascending vertical frequency.
_LUMA_STEPS = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float64,
)
_CHROMA_STEPS = torch.full((8, 8), 99.0, dtype=torch.float64)
_CHROMA_STEPS[:4, :4] = torch.tensor([[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]])

_TO_YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=torch.float64)
_TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]], dtype=torch.float64)


def _dct_matrix() -> Float[Tensor, "64 64"]:
    """The orthonormal DCT-II of a block of 8×8 as one matrix: row (u, v) is the pattern of vertical frequency u and horizontal v."""
    x = torch.arange(8, dtype=torch.float64)
    line = torch.cos((2 * x + 1) * x.unsqueeze(1) * math.pi / 16) / 2
    line[0] = 1 / math.sqrt(8)
    return torch.kron(line, line)


_DCT = _dct_matrix()


def jpeg(picture: Float[Tensor, "g 3 h w"], quality: Float[Tensor, " g"]) -> Float[Tensor, "g 3 h w"]:
    """JPEG's loss in floating point: 4:2:0 chroma, 8×8 blocks, Annex K tables scaled by the quality in (0, 100), clamped to [0, 1].

    As in the pipeline that it reproduces (DiffJPEG), the tables are not rounded, the result is not rounded to 8 bits, and sides that are
    no multiple of 16 are padded with black."""
    h, w = picture.shape[-2:]
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50).to(picture.dtype)[:, None, None, None]
    padded = F.pad(picture, (0, -w % 16, 0, -h % 16)) if h % 16 or w % 16 else picture
    to_ycbcr, to_rgb, luma_steps, chroma_steps, dct = _constants(picture.dtype, picture.device)
    ycc = _mix(to_ycbcr, padded)
    y = _quantise(ycc[:, :1] - 128, luma_steps, factor, dct) + 128
    # Chroma is centred on 128 in JPEG and shifted by 128 before the DCT: the two cancel.
    chroma = _quantise(F.avg_pool2d(ycc[:, 1:], 2), chroma_steps, factor, dct)
    ycc = torch.cat([y, F.interpolate(chroma, scale_factor=2, mode="nearest")], 1)
    return _mix(to_rgb, ycc)[..., :h, :w].clamp_(0, 1)


@functools.cache
def _constants(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """From RGB in [0, 1] to YCbCr in [0, 255] and back, the tables in the order of a block's pixels, and the transform."""
    values = _TO_YCBCR * 255, _TO_RGB / 255, _LUMA_STEPS.flatten(), _CHROMA_STEPS.flatten(), _DCT
    return tuple(value.to(device, dtype) for value in values)


def _mix(matrix: Float[Tensor, "3 3"], picture: Float[Tensor, "g 3 h w"]) -> Float[Tensor, "g 3 h w"]:
    return (matrix @ picture.flatten(2)).view(picture.shape)


def _quantise(
    plane: Float[Tensor, "g c h w"], steps: Float[Tensor, " 64"], factor: Float[Tensor, "g 1 1 1"], dct: Float[Tensor, "64 64"]
) -> Float[Tensor, "g c h w"]:
    g, c, h, w = plane.shape
    blocks = plane.view(g, c, h // 8, 8, w // 8, 8).transpose(3, 4).reshape(g, -1, 64)
    table = (steps * factor).flatten(1)[:, None]
    levels = (blocks @ dct.T).div_(table).round_().mul_(table)
    return (levels @ dct).view(g, c, h // 8, w // 8, 8, 8).transpose(3, 4).reshape(g, c, h, w)


def unsharp_mask(picture: Float[Tensor, "b c h w"], amount: float = 0.5, size: int = 51, threshold: float = 10) -> Float[Tensor, "b c h w"]:
    """Real-ESRGAN's sharpening of the training target: where |x − G∗x| exceeds threshold/255, softly, x + amount·(x − G∗x).

    G is a Gaussian of `size` taps and σ = 0.3·((size−1)/2 − 1) + 0.8 (8.0 for 51); it is separable, and applied so."""
    if min(picture.shape[-2:]) <= size // 2:
        raise UserError(
            f"a picture of {picture.shape[-1]}×{picture.shape[-2]} is too small for sharpening with {size} taps: "
            "use a larger picture or canvas"
        )
    rows = picture.permute(2, 0, 1, 3).contiguous()
    residual = rows - _smoothed(rows, size)
    # 1 where the residual is larger: without a detour over truth values, which is slow.
    soft = _smoothed(residual.abs().sub_(threshold / 255).sign_().clamp_(min=0), size)
    sharp = torch.lerp(rows, torch.add(rows, residual, alpha=amount).clamp_(0, 1), soft)
    return sharp.permute(1, 2, 0, 3)


_BLOCK = 32


def _smoothed(rows: Float[Tensor, "h b c w"], size: int) -> Float[Tensor, "h b c w"]:
    """Filtered with the Gaussian along rows and columns, reflected at the borders. In blocks of 32 results, each a product with one banded
    matrix: the processor's fastest way, though a third of the products are with zeros."""
    band = _band(size, rows.dtype, rows.device)
    height, *planes, width = rows.shape

    # Memory lies as (rows, everything else), then as (everything else, columns): each block is a plain matrix.
    mirrored = continued(
        torch.arange(-(size // 2), height + size // 2, device=rows.device)[None], torch.tensor([height], device=rows.device)
    )
    padded = rows.flatten(1).index_select(0, mirrored[0])
    down = torch.empty_like(rows).flatten(1)
    for top in range(0, height, _BLOCK):
        count = min(_BLOCK, height - top)
        torch.mm(band[: count + size - 1, :count].T, padded[top : top + count + size - 1], out=down[top : top + count])
    padded = F.pad(down.view(1, 1, -1, width), (size // 2, size // 2, 0, 0), mode="reflect")[0, 0]
    across = torch.empty_like(rows).view(-1, width)
    for left in range(0, width, _BLOCK):
        count = min(_BLOCK, width - left)
        torch.mm(padded[:, left : left + count + size - 1], band[: count + size - 1, :count], out=across[:, left : left + count])
    return across.view(height, *planes, width)


@functools.cache
def _band(size: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "n 32"]:
    """Column j holds the Gaussian from row j on."""
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-offsets.square() / (2 * (0.3 * ((size - 1) / 2 - 1) + 0.8) ** 2))
    place = torch.arange(_BLOCK + size - 1)[:, None] - torch.arange(_BLOCK)
    band = torch.where((place >= 0) & (place < size), (kernel / kernel.sum())[place.clamp(0, size - 1)], 0.0)
    return band.to(device, dtype)
