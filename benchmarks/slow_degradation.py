"""The two-order degradation, slowly: the twin that wildsr's own is measured against and must agree with.

It is written from the mathematics alone (docs/methods.md), shares no line with wildsr.degrade, and computes each step as the public
implementations do: dense two-dimensional kernels, `interpolate`, the whole canvas to the end, and the crop last. As in wildsr, and unlike
there, everything is drawn for each sample; so pictures of a batch differ in size after the first resize, and go on one by one."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

KERNEL = 21
SIZES = (7, 9, 11, 13, 15, 17, 19, 21)
MODES = ("area", "bilinear", "bicubic")
FAMILIES = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")


@dataclass(frozen=True)
class Order:
    """What one order draws from: probabilities, and ranges of uniform draws."""

    blur: float
    sigma: tuple[float, float]
    directions: tuple[float, float, float]
    """Probabilities of enlarging, reducing and keeping the size."""
    enlarge: tuple[float, float]
    reduce: tuple[float, float]
    gaussian_sigma: tuple[float, float]
    """In 8-bit levels."""
    poisson_scale: tuple[float, float]
    sinc: float = 0.1
    families: tuple[float, ...] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    gaussian: float = 0.5
    gray: float = 0.4
    quality: tuple[float, float] = (30, 95)


FIRST = Order(1.0, (0.2, 3), (0.2, 0.7, 0.1), (1, 1.5), (0.15, 1), (1, 30), (0.05, 3))
SECOND = Order(0.8, (0.2, 1.5), (0.3, 0.4, 0.3), (1, 1.2), (0.3, 1), (1, 25), (0.05, 2.5))
FINAL_SINC = 0.8


@dataclass(frozen=True)
class OrderDraw:
    """What was drawn for one sample in one order. `strength` is sigma in 8-bit levels, or the scale of the Poisson noise."""

    kernel: Tensor
    factor: float
    mode: str
    gaussian: bool
    strength: float
    gray: bool
    quality: float


@dataclass(frozen=True)
class Draw:
    """What was drawn for one sample: both orders, and the tail. The second order's JPEG stands in the tail."""

    first: OrderDraw
    second: OrderDraw
    sinc: Tensor
    mode: str
    jpeg_last: bool


def gaussian_kernel(size: int, sigma_x: float, sigma_y: float, theta: float, beta: float, family: str) -> np.ndarray:
    """exp(-q^beta / 2), or 1 / (1 + q^beta) for the plateau, with q = u^T Sigma^-1 u; (size, size), of sum 1."""
    axis = np.arange(size) - size // 2
    u = np.stack(np.meshgrid(axis, axis), -1)  # (x, y), x along the columns
    rotation = np.array([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    inverse = np.linalg.inv(rotation @ np.diag([sigma_x**2, sigma_y**2]) @ rotation.T)
    q = (u @ inverse * u).sum(-1)
    kernel = 1 / (1 + q**beta) if family == "plateau" else np.exp(-(q**beta) / 2)
    return kernel / kernel.sum()


def sinc_kernel(size: int, omega: float) -> np.ndarray:
    """The circular low-pass filter of cutoff `omega`: omega J1(omega r) / (2 pi r); (size, size), of sum 1."""
    axis = np.arange(size) - size // 2
    centre = size // 2
    r = np.hypot(*np.meshgrid(axis, axis))
    r[centre, centre] = 1
    kernel = omega * torch.special.bessel_j1(torch.from_numpy(omega * r)).numpy() / (2 * math.pi * r)
    kernel[centre, centre] = omega**2 / (4 * math.pi)
    return kernel / kernel.sum()


def pad_kernel(kernel: np.ndarray) -> Tensor:
    """Zeros around, up to (21, 21), in float32."""
    return torch.from_numpy(np.pad(kernel, (KERNEL - len(kernel)) // 2)).float()


def draw_kernel(rng: np.random.Generator, order: Order) -> Tensor:
    """A blur kernel of one order, (21, 21)."""
    size = int(rng.choice(SIZES))
    if rng.random() < order.sinc:
        omega = rng.uniform(math.pi / 3 if size < 13 else math.pi / 5, math.pi)
        return pad_kernel(sinc_kernel(size, omega))
    family = str(rng.choice(FAMILIES, p=order.families))
    sigma_x = sigma_y = rng.uniform(*order.sigma)
    theta = 0.0
    if family.endswith("aniso"):
        sigma_y, theta = rng.uniform(*order.sigma), rng.uniform(-math.pi, math.pi)
    beta = 1.0
    if family.startswith("generalized"):
        beta = rng.uniform(0.5, 1) if rng.random() < 0.5 else rng.uniform(1, 4)
    if family.startswith("plateau"):
        beta = 1.0 if rng.random() < 0.5 else rng.uniform(1, 2)
    return pad_kernel(gaussian_kernel(size, sigma_x, sigma_y, theta, beta, family.split("_")[0]))


def delta_kernel() -> Tensor:
    """The kernel that changes nothing, (21, 21)."""
    return pad_kernel(np.ones((1, 1)))


def draw_order(rng: np.random.Generator, order: Order) -> OrderDraw:
    """Everything that one order leaves to chance, except the noise itself."""
    kernel = draw_kernel(rng, order) if rng.random() < order.blur else delta_kernel()
    direction = rng.choice(3, p=order.directions)
    factor = (rng.uniform(*order.enlarge), rng.uniform(*order.reduce), 1.0)[direction]
    gaussian = bool(rng.random() < order.gaussian)
    strength = rng.uniform(*(order.gaussian_sigma if gaussian else order.poisson_scale))
    gray, quality = bool(rng.random() < order.gray), rng.uniform(*order.quality)
    return OrderDraw(kernel, factor, str(rng.choice(MODES)), gaussian, strength, gray, quality)


def draw(rng: np.random.Generator) -> Draw:
    """Everything that the degradation of one sample leaves to chance, except the noise itself."""
    first, second = draw_order(rng, FIRST), draw_order(rng, SECOND)
    sinc = delta_kernel()
    if rng.random() < FINAL_SINC:
        sinc = pad_kernel(sinc_kernel(int(rng.choice(SIZES)), rng.uniform(math.pi / 3, math.pi)))
    return Draw(first, second, sinc, str(rng.choice(MODES)), bool(rng.random() < 0.5))


def blur(x: Tensor, kernels: Tensor) -> Tensor:
    """Cross-correlates sample b of (B, 3, H, W) with kernel b of (B, 21, 21), reflect-padded, as one grouped convolution."""
    b, c, h, w = x.shape
    padded = F.pad(x, [KERNEL // 2] * 4, mode="reflect").reshape(1, b * c, h + KERNEL - 1, w + KERNEL - 1)
    weight = kernels.to(x).repeat_interleave(c, 0).unsqueeze(1)
    return F.conv2d(padded, weight, groups=b * c).view(b, c, h, w)


def quantised(x: Tensor) -> Tensor:
    """To the nearest 8-bit level in [0, 1]."""
    return (255 * x).round().clamp(0, 255) / 255


def gaussian_noise(x: Tensor, sigma: float, gray: bool, generator: torch.Generator) -> Tensor:
    """Adds normal noise of `sigma` 8-bit levels, one field for all three channels if `gray`; clipped to [0, 1]."""
    b, c, h, w = x.shape
    noise = torch.randn(b, 1 if gray else c, h, w, generator=generator, device=x.device)
    return (x + noise * sigma / 255).clamp(0, 1)


def photons(level: Tensor) -> Tensor:
    """How many photons make white: the number of different values in each picture of (B, C, H, W), up to a power of 2; (B, 1, 1, 1)."""
    counts = [2.0 ** math.ceil(math.log2(len(torch.unique(one)))) for one in level]
    return torch.tensor(counts, device=level.device).view(-1, 1, 1, 1)


def poisson_noise(x: Tensor, scale: float, gray: bool, generator: torch.Generator) -> Tensor:
    """Adds `scale` times the Poisson noise of a picture with as many levels as are found in the 8-bit picture, or in its luma if `gray`."""
    level = (x * torch.tensor([0.2989, 0.587, 0.114], device=x.device).view(1, 3, 1, 1)).sum(1, keepdim=True) if gray else x
    level = quantised(level)
    white = photons(level)
    noise = torch.poisson(level * white, generator=generator) / white - level
    return (x + scale * noise).clamp(0, 1)


LUMA_TABLE = torch.tensor(
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
    dtype=torch.float32,
)
CHROMA_TABLE = torch.full((8, 8), 99.0)
CHROMA_TABLE[:4, :4] = torch.tensor([[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]])


@functools.cache
def dct_basis() -> Tensor:
    """The orthonormal cosines of an 8x8 block, (row, column, vertical frequency, horizontal frequency)."""
    x, u = torch.arange(8.0, dtype=torch.float64), torch.arange(8.0, dtype=torch.float64)
    line = torch.cos((2 * x[:, None] + 1) * u[None] * math.pi / 16) / 2
    line[:, 0] /= math.sqrt(2)
    return torch.einsum("xu,yv->xyuv", line, line).float()


def jpeg_plane(plane: Tensor, table: Tensor, factor: Tensor) -> Tensor:
    """One plane (B, H, W) in 8-bit levels through the quantiser, block by block; `factor` (B)."""
    b, h, w = plane.shape
    blocks = plane.view(b, h // 8, 8, w // 8, 8).transpose(2, 3) - 128
    basis = dct_basis().to(plane.device)
    step = table.to(plane.device) * factor.view(-1, 1, 1, 1, 1)
    coefficients = torch.tensordot(blocks, basis, 2)
    coefficients = (coefficients / step).round() * step
    blocks = torch.tensordot(coefficients, basis.permute(2, 3, 0, 1), 2) + 128
    return blocks.transpose(2, 3).reshape(b, h, w)


def jpeg(x: Tensor, quality: Tensor) -> Tensor:
    """JPEG with 4:2:0 chroma at `quality` (B), without rounding to 8 bits; zeros fill up the sides to multiples of 16."""
    h, w = x.shape[2:]
    red, green, blue = (255 * F.pad(x, [0, -w % 16, 0, -h % 16])).unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = -0.168736 * red - 0.331264 * green + 0.5 * blue + 128
    cr = 0.5 * red - 0.418688 * green - 0.081312 * blue + 128
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50)
    y = jpeg_plane(y, LUMA_TABLE, factor)
    cb, cr = (jpeg_plane(F.avg_pool2d(plane.unsqueeze(1), 2).squeeze(1), CHROMA_TABLE, factor) - 128 for plane in (cb, cr))
    cb, cr = (plane.repeat_interleave(2, 1).repeat_interleave(2, 2) for plane in (cb, cr))
    rgb = torch.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 1)
    return (rgb[..., :h, :w] / 255).clamp(0, 1)


def sharpen(hr: Tensor, *, as_published: bool = False) -> Tensor:
    """Unsharp masking of (B, 3, H, W) by a dense 51x51 Gaussian, where the picture departs from its smooth version by over 10 levels.

    The public code makes a batch of single planes of the picture, `as_published`; as groups of one picture, the same sums take PyTorch a
    fraction of the time."""
    size, sigma = 51, 8.0
    axis = torch.arange(size, dtype=torch.float64) - size // 2
    line = torch.exp(-(axis**2) / (2 * sigma**2))
    kernel = torch.outer(line, line)
    kernel = (kernel / kernel.sum()).to(hr).view(1, 1, size, size)

    def smooth(x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        padded = F.pad(x, [size // 2] * 4, mode="reflect").view(1, b * c, h + size - 1, w + size - 1)
        if as_published:
            return F.conv2d(padded.transpose(0, 1), kernel).view(b, c, h, w)
        return F.conv2d(padded, kernel.expand(b * c, -1, -1, -1), groups=b * c).view(b, c, h, w)

    residual = hr - smooth(hr)
    soft = smooth((255 * residual.abs() > 10).to(hr))
    return soft * (hr + 0.5 * residual).clamp(0, 1) + (1 - soft) * hr


def add_noise(x: Tensor, drawn: OrderDraw, generator: torch.Generator) -> Tensor:
    """The noise of one order."""
    return (gaussian_noise if drawn.gaussian else poisson_noise)(x, drawn.strength, drawn.gray, generator)


def finish(x: Tensor, drawn: Draw, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """What follows the first blur, for one sample (1, 3, H, W); LR of `size`, on 8-bit levels in [0, 1]."""
    first, second = drawn.first, drawn.second
    x = F.interpolate(x, scale_factor=first.factor, mode=first.mode)
    x = add_noise(x, first, generator)
    x = jpeg(x.clamp(0, 1), torch.tensor([first.quality], device=x.device))

    x = blur(x, second.kernel.unsqueeze(0))
    x = F.interpolate(x, size=(int(size[0] * second.factor), int(size[1] * second.factor)), mode=second.mode)
    x = add_noise(x, second, generator)

    quality = torch.tensor([second.quality], device=x.device)
    if not drawn.jpeg_last:
        x = jpeg(x.clamp(0, 1), quality)
    x = blur(F.interpolate(x, size=size, mode=drawn.mode), drawn.sinc.unsqueeze(0))
    if drawn.jpeg_last:
        x = jpeg(x.clamp(0, 1), quality)
    return quantised(x)


def apply(hr: Tensor, drawn: Sequence[Draw], generator: torch.Generator, scale: int = 4) -> Tensor:
    """Degrades whole canvases (B, 3, H, W) to (B, 3, H / scale, W / scale); the generator gives the noise."""
    size = (hr.shape[2] // scale, hr.shape[3] // scale)
    x = blur(hr, torch.stack([one.first.kernel for one in drawn]))
    return torch.cat([finish(x[i : i + 1], one, size, generator) for i, one in enumerate(drawn)])


def degrade(
    hr: Tensor,
    rng: np.random.Generator,
    generator: torch.Generator,
    scale: int = 4,
    lr_patch: int = 32,
    usm: bool = True,
    *,
    as_published: bool = False,
) -> tuple[Tensor, Tensor]:
    """Training pairs from canvases (B, 3, H, W) in [0, 1]: LR (B, 3, lr_patch, lr_patch), HR (B, 3, scale lr_patch, scale lr_patch).

    One crop for each canvas. `generator`, on the canvases' device, gives the noise, and `rng` everything else."""
    if usm:
        hr = sharpen(hr, as_published=as_published)
    lr = apply(hr, [draw(rng) for _ in hr], generator, scale)
    pairs = []
    for small, large in zip(lr, hr, strict=True):
        top, left = (int(rng.integers(side - lr_patch + 1)) for side in small.shape[1:])
        window = large[:, scale * top : scale * (top + lr_patch), scale * left : scale * (left + lr_patch)]
        pairs.append((small[:, top : top + lr_patch, left : left + lr_patch], window))
    lr_patches, hr_patches = zip(*pairs, strict=True)
    return torch.stack(lr_patches), torch.stack(hr_patches)
