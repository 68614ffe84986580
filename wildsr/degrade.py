"""Degradations: the two-order random pipeline that training draws from, and the fixed ones that the benchmark measures on.

Drawing chance is apart from using it: `TwoOrder.sample` turns (seed, n, view) into numbers, `TwoOrder.apply` turns a picture and
those numbers into a low-resolution picture. Sources: Real-ESRGAN (Wang et al. 2021), Section 3, with the numbers of the released
options; Reflash Dropout (Kong et al. 2022), Section 5.3, whose eight test degradations `fixed` makes."""

import functools
import io
import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import Field, model_validator
from torch import Tensor

from wildsr import chance, images
from wildsr.config import Positive, Probability, Strict
from wildsr.errors import UserError

Params = dict[str, Tensor]
"""What was drawn for some samples: name -> tensor whose first axis is the sample."""

Range = tuple[float, float]

KERNEL_SIZE = 21
FAMILIES = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
RESIZE_MODES = ("area", "bilinear", "bicubic")


# ---------------------------------------------------------------------------------------------------------------- blur kernels


def gaussian_kernel(
    size: int,
    sigma_x: float,
    sigma_y: float,
    theta: float = 0.0,
    *,
    beta: float = 1.0,
    family: Literal["gaussian", "generalized", "plateau"] = "gaussian",
) -> Float[np.ndarray, "size size"]:
    """A blur kernel of sum 1 on the integer grid, σ in pixels, θ in radians (x runs along the columns).

    With q = uᵀΣ⁻¹u: Gaussian exp(-q/2); generalized exp(-q^β/2); plateau 1/(1 + q^β)."""
    y, x = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1].astype(np.float64)
    along, across = math.cos(theta) * x + math.sin(theta) * y, math.cos(theta) * y - math.sin(theta) * x
    q = (along / sigma_x) ** 2 + (across / sigma_y) ** 2
    kernel = {"gaussian": lambda: np.exp(-q / 2), "generalized": lambda: np.exp(-(q**beta) / 2), "plateau": lambda: 1 / (1 + q**beta)}[
        family
    ]()
    return kernel / kernel.sum()


def sinc_kernel(size: int, omega: float) -> Float[np.ndarray, "size size"]:
    """A circular low-pass kernel of sum 1 with cut-off ω in radians a pixel: ω·J₁(ωr) / (2πr), and ω²/(4π) in the centre."""
    y, x = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1].astype(np.float64)
    r = np.hypot(x, y)
    centre = size // 2
    r[centre, centre] = 1.0
    kernel = omega * torch.special.bessel_j1(torch.from_numpy(omega * r)).numpy() / (2 * np.pi * r)
    kernel[centre, centre] = omega**2 / (4 * np.pi)
    return kernel / kernel.sum()


def _padded(kernel: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "21 21"]:
    return np.pad(kernel, (KERNEL_SIZE - len(kernel)) // 2)


def _delta() -> Float[np.ndarray, "21 21"]:
    return _padded(np.ones((1, 1)))


# ------------------------------------------------------------------------------------- operators on floats (B, 3, H, W) in [0, 1]


def blur(picture: Float[Tensor, "b c h w"], kernel: Float[Tensor, "b k k"]) -> Float[Tensor, "b c h w"]:
    """Cross-correlates each picture with its own kernel, the same for all channels; reflected borders (without the edge pixel).

    Raises UserError when a side is not longer than half the kernel."""
    b, c, h, w = picture.shape
    half = kernel.shape[-1] // 2
    if min(h, w) <= half:
        raise UserError(f"a picture of {w}×{h} is too small for a blur kernel of {kernel.shape[-1]}: use a larger picture or canvas")
    padded = F.pad(picture, (half,) * 4, mode="reflect")
    weight = kernel.to(picture.dtype).repeat_interleave(c, 0).unsqueeze(1)
    return F.conv2d(padded.reshape(1, b * c, *padded.shape[-2:]), weight, groups=b * c).view(b, c, h, w)


def resize(picture: Float[Tensor, "b c h w"], mode: str, *, factor: float | None = None, size: tuple[int, int] | None = None) -> Tensor:
    """Resizes without antialiasing: area (adaptive average), bilinear or bicubic (a = -0.75), by a factor or to (height, width).

    A factor gives floor(H·factor) rows sampled at steps of 1/factor; a size gives steps of H/size. Both occur in the pipeline."""
    corners = None if mode == "area" else False
    if size is not None:
        return F.interpolate(picture, size=size, mode=mode, align_corners=corners)
    return F.interpolate(picture, scale_factor=factor, mode=mode, align_corners=corners, recompute_scale_factor=False)


def luma(picture: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Grey picture with weights (0.2989, 0.587, 0.114)."""
    weights = picture.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    return (picture * weights).sum(1, keepdim=True)


def gaussian_noise(picture: Float[Tensor, "1 3 h w"], sigma: float, gray: bool, generator: torch.Generator) -> Float[Tensor, "1 3 h w"]:
    """Adds N(0, (σ/255)²) and clips to [0, 1]; grey noise is one field for the three channels."""
    _, channels, h, w = picture.shape
    noise = torch.randn((1, 1 if gray else channels, h, w), generator=generator, device=picture.device, dtype=picture.dtype)
    return (picture + noise * (sigma / 255)).clamp(0, 1)


def poisson_noise(picture: Float[Tensor, "1 3 h w"], scale: float, gray: bool, generator: torch.Generator) -> Float[Tensor, "1 3 h w"]:
    """Adds scale · (Poisson(x·v)/v − x), x the picture in 8 bits and v = 2^⌈log₂(its number of levels)⌉, and clips to [0, 1].

    Grey noise is drawn from the luma, with its own v. The variance before the clip is scale²·x/v."""
    levels = ((luma(picture) if gray else picture) * 255).round().clamp(0, 255)
    x = levels / 255
    values = 2.0 ** math.ceil(math.log2(levels.unique().numel()))
    noise = torch.poisson(x * values, generator=generator) / values - x
    return (picture + noise * scale).clamp(0, 1)


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
    dtype=torch.float32,
)
_CHROMA_STEPS = torch.full((8, 8), 99.0)
_CHROMA_STEPS[:4, :4] = torch.tensor([[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]])

_TO_YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_TO_RGB = torch.tensor([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


def _dct_matrix() -> Float[Tensor, "8 8"]:
    """The orthonormal DCT-II: row u holds cos((2x+1)uπ/16)/2, the first row 1/√8."""
    x = torch.arange(8, dtype=torch.float64)
    matrix = torch.cos((2 * x + 1) * x.unsqueeze(1) * math.pi / 16) / 2
    matrix[0] = 1 / math.sqrt(8)
    return matrix.float()


_DCT = _dct_matrix()


def jpeg(picture: Float[Tensor, "b 3 h w"], quality: Float[Tensor, " b"]) -> Float[Tensor, "b 3 h w"]:
    """JPEG's loss in floating point: 4:2:0 chroma, 8×8 blocks, Annex K tables scaled by the quality in (0, 100), clamped to [0, 1].

    As in the pipeline that it reproduces (DiffJPEG), the tables are not rounded, the result is not rounded to 8 bits, and sides that are
    no multiple of 16 are padded with black."""
    b, _, h, w = picture.shape
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50).to(picture.dtype).view(b, 1, 1, 1, 1, 1)
    padded = F.pad(picture * 255, (0, -w % 16, 0, -h % 16))
    ycc = torch.einsum("ij,bjhw->bihw", _TO_YCBCR.to(picture), padded)
    y = _quantise(ycc[:, :1] - 128, _LUMA_STEPS.to(picture), factor) + 128
    # Chroma is centred on 128 in JPEG and shifted by 128 before the DCT: the two cancel.
    chroma = _quantise(F.avg_pool2d(ycc[:, 1:], 2), _CHROMA_STEPS.to(picture), factor)
    ycc = torch.cat([y, chroma.repeat_interleave(2, -1).repeat_interleave(2, -2)], 1)
    rgb = torch.einsum("ij,bjhw->bihw", _TO_RGB.to(picture), ycc)
    return (rgb[..., :h, :w] / 255).clamp(0, 1)


def _quantise(plane: Float[Tensor, "b c h w"], steps: Float[Tensor, "8 8"], factor: Tensor) -> Float[Tensor, "b c h w"]:
    b, c, h, w = plane.shape
    dct = _DCT.to(plane)
    blocks = plane.view(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)
    table = steps * factor
    coefficients = (dct @ blocks @ dct.T / table).round() * table
    return (dct.T @ coefficients @ dct).transpose(3, 4).reshape(b, c, h, w)


def unsharp_mask(picture: Float[Tensor, "b c h w"], amount: float = 0.5, size: int = 51, threshold: float = 10) -> Float[Tensor, "b c h w"]:
    """Real-ESRGAN's sharpening of the training target: where |x − G∗x| exceeds threshold/255, softly, x + amount·(x − G∗x).

    G is a Gaussian of `size` taps and σ = 0.3·((size−1)/2 − 1) + 0.8 (8.0 for 51); it is separable, and applied so."""
    h, w = picture.shape[-2:]
    if min(h, w) <= size // 2:
        raise UserError(f"a picture of {w}×{h} is too small for sharpening with {size} taps: use a larger picture or canvas")
    down, across = _gaussian_matrix(h, size).to(picture), _gaussian_matrix(w, size).to(picture)

    def smooth(x: Tensor) -> Tensor:
        return down @ x @ across.T

    residual = picture - smooth(picture)
    soft = smooth((residual.abs() * 255 > threshold).to(picture.dtype))
    return soft * (picture + amount * residual).clamp(0, 1) + (1 - soft) * picture


@functools.cache
def _gaussian_matrix(length: int, size: int) -> Float[Tensor, "length length"]:
    """Filtering with reflected borders as a matrix: two products are several times faster on a CPU than one convolution a plane."""
    sigma = 0.3 * ((size - 1) / 2 - 1) + 0.8
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-offsets.square() / (2 * sigma**2))
    padded = F.pad(torch.eye(length, dtype=torch.float64), (size // 2, size // 2), mode="reflect")
    # Row j of the identity answers with what sample j gives to each place: the transpose of the filter.
    return F.conv1d(padded.unsqueeze(1), (kernel / kernel.sum()).view(1, 1, -1)).squeeze(1).T.float().contiguous()


# ---------------------------------------------------------------------------------------------------- the two-order random pipeline


class Stage(Strict, frozen=True):
    """One order of the pipeline: blur, resize, noise, JPEG. The defaults are the first order's of Real-ESRGAN's released options."""

    blur_probability: Probability = 1.0
    sinc_probability: Probability = 0.1
    family_probabilities: tuple[float, float, float, float, float, float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    sigma: Range = (0.2, 3.0)
    resize_probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """Of enlarging, shrinking, keeping."""
    resize_range: Range = (0.15, 1.5)
    gaussian_probability: Probability = 0.5
    """Of Gaussian noise; otherwise it is Poisson noise."""
    gaussian_sigma: Range = (1.0, 30.0)
    """In grey levels of 255."""
    poisson_scale: Range = (0.05, 3.0)
    gray_probability: Probability = 0.4
    jpeg_quality: Range = (30.0, 95.0)

    @model_validator(mode="after")
    def _check(self) -> "Stage":
        for name in ("family_probabilities", "resize_probabilities"):
            probabilities = getattr(self, name)
            if min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
                raise ValueError(f"{name} = {list(probabilities)} must be at least 0 and sum to 1, not to {sum(probabilities):g}")
        for name, lowest in (("sigma", 1e-3), ("resize_range", 1e-3), ("gaussian_sigma", 0), ("poisson_scale", 0), ("jpeg_quality", 1)):
            low, high = getattr(self, name)
            if not lowest <= low <= high:
                raise ValueError(f"{name} = [{low:g}, {high:g}] must be an ascending range from {lowest:g} on")
        if not self.resize_range[0] <= 1 <= self.resize_range[1]:
            raise ValueError(f"resize_range = {list(self.resize_range)} must contain 1")
        if self.jpeg_quality[1] > 99:
            raise ValueError(f"jpeg_quality = {list(self.jpeg_quality)} must end at 99 or below")
        return self


class Bicubic(Strict, frozen=True):
    """One degradation alone: bicubic resizing with antialiasing (a = -0.5), rounded to 8 bits (Reflash Dropout, Section 5.2)."""

    random: ClassVar[bool] = False
    """Whether two views of a picture differ."""
    name: Literal["bicubic"] = "bicubic"
    canvas: Annotated[int, Field(ge=16)] = 400
    """Side of the square HR picture that is degraded, in pixels."""

    def require(self, canvas: int, scale: int) -> None:
        """Every canvas will do."""

    def sample(self, seed: int, ns: Sequence[int], view: int = 0) -> Params:
        """Nothing is drawn."""
        return {}

    def apply(self, hr: Float[Tensor, "b 3 h w"], params: Params, scale: int) -> Float[Tensor, "b 3 h2 w2"]:
        """Resizes pictures in [0, 1] to (B, 3, H//scale, W//scale), in whole steps of 1/255."""
        size = hr.shape[-2] // scale, hr.shape[-1] // scale
        lr = F.interpolate(hr, size=size, mode="bicubic", antialias=True)
        return (lr * 255).round().clamp(0, 255) / 255


class TwoOrder(Strict, frozen=True):
    """Real-ESRGAN's high-order degradation, with the reference's numbers as defaults.

    Everything is drawn for each sample by itself. The reference draws the resizes, the noise families, the second blur and the order of
    the tail once per batch, shares one grey noise field within a batch, and repeats its draws in every epoch; `shared_draws` = b brings
    the first two back for b consecutive samples, to reproduce a paper's setting. Draws never repeat."""

    random: ClassVar[bool] = True
    """Whether two views of a picture differ."""
    name: Literal["two-order"] = "two-order"
    canvas: Annotated[int, Field(ge=16)] = 400
    """Side of the square HR picture that is degraded, in pixels."""
    first: Stage = Stage()
    second: Stage = Stage(
        blur_probability=0.8,
        sigma=(0.2, 1.5),
        resize_probabilities=(0.3, 0.4, 0.3),
        resize_range=(0.3, 1.2),
        gaussian_sigma=(1.0, 25.0),
        poisson_scale=(0.05, 2.5),
    )
    final_sinc_probability: Probability = 0.8
    shared_draws: Positive = 1

    def require(self, canvas: int, scale: int) -> None:
        """Raises ValueError when a canvas of this side may become too small for the blur kernels on its way."""
        smallest = min(int(canvas * self.first.resize_range[0]), canvas // scale)
        if 2 * smallest <= KERNEL_SIZE:
            raise ValueError(
                f"degradation.canvas = {self.canvas} may become {smallest} pixels wide on its way, "
                f"too small for kernels of {KERNEL_SIZE}: use a larger canvas, or a first.resize_range that shrinks less"
            )

    def sample(self, seed: int, ns: Sequence[int], view: int = 0) -> Params:
        """Draws the numbers for the samples `ns` (counts of HR pictures drawn since the start of the run) and one of their views.

        A pure function of (seed, n, view): it does not matter which samples are drawn together."""
        drawn = [self._sample_one(seed, n, view) for n in ns]
        return {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}

    def _sample_one(self, seed: int, n: int, view: int) -> Params:
        own = chance.generator(seed, "degradation", n, view)
        # With shared_draws = 1 the group is the sample itself, and both streams are its own.
        group = n // self.shared_draws
        shared = chance.generator(seed, "degradation-shared", self.shared_draws, group, view)
        params: dict[str, float | int | bool | np.ndarray] = {}
        for order, stage in ((1, self.first), (2, self.second)):
            blurred = shared.random() < stage.blur_probability
            kernel = _draw_kernel(own, stage)
            params[f"kernel{order}"] = kernel if blurred else _delta()
            params[f"resize{order}"] = _draw_resize(shared, stage)
            params[f"mode{order}"] = int(shared.integers(3))
            params[f"gaussian{order}"] = bool(shared.random() < stage.gaussian_probability)
            params[f"sigma{order}"] = own.uniform(*stage.gaussian_sigma)
            params[f"poisson{order}"] = own.uniform(*stage.poisson_scale)
            params[f"gray{order}"] = bool(own.random() < stage.gray_probability)
            params[f"quality{order}"] = own.uniform(*stage.jpeg_quality)
        params["tail_mode"] = int(shared.integers(3))
        params["resize_before_jpeg"] = bool(shared.random() < 0.5)
        size, omega = int(own.choice(range(7, 22, 2))), own.uniform(np.pi / 3, np.pi)
        sinc = own.random() < self.final_sinc_probability
        params["sinc"] = _padded(sinc_kernel(size, omega)) if sinc else _delta()
        params["noise_seed"] = chance.torch_seed(seed, "noise", n, view)
        params["gray_noise_seed"] = chance.torch_seed(seed, "gray-noise", self.shared_draws, group, view)
        return {name: _to_tensor(value) for name, value in params.items()}

    def apply(self, hr: Float[Tensor, "b 3 h w"], params: Params, scale: int) -> Float[Tensor, "b 3 h2 w2"]:
        """Degrades pictures in [0, 1] to (B, 3, H//scale, W//scale), in whole steps of 1/255.

        Noise fields come from the seeds among the params, so equal arguments give equal results on one kind of device. Raises UserError
        when a picture becomes smaller than half a blur kernel on its way."""
        if min(hr.shape[-2:]) < scale:
            raise UserError(f"a picture of {hr.shape[-1]}×{hr.shape[-2]} is too small to be degraded by {scale}")
        # Each sample takes its own way through its own sizes.
        lr = [self._apply_one(hr[i : i + 1], {name: value[i : i + 1] for name, value in params.items()}, scale) for i in range(len(hr))]
        return torch.cat(lr)

    def _apply_one(self, hr: Float[Tensor, "1 3 h w"], params: Params, scale: int) -> Float[Tensor, "1 3 h2 w2"]:
        size = hr.shape[-2] // scale, hr.shape[-1] // scale
        noise = {
            gray: torch.Generator(hr.device).manual_seed(int(params["gray_noise_seed" if gray else "noise_seed"])) for gray in (False, True)
        }
        on_device = {name: params[name].to(hr.device) for name in ("kernel1", "kernel2", "sinc", "quality1", "quality2")}

        def add_noise(x: Tensor, order: int) -> Tensor:
            gray = bool(params[f"gray{order}"])
            if params[f"gaussian{order}"]:
                return gaussian_noise(x, float(params[f"sigma{order}"]), gray, noise[gray])
            # The reference's flaw is in the Gaussian field alone; Poisson noise depends on the picture and is always the sample's own.
            return poisson_noise(x, float(params[f"poisson{order}"]), gray, noise[False])

        def mode(name: str) -> str:
            return RESIZE_MODES[int(params[name])]

        def shrink(x: Tensor) -> Tensor:
            return blur(resize(x, mode("tail_mode"), size=size), on_device["sinc"])

        x = blur(hr, on_device["kernel1"])
        x = resize(x, mode("mode1"), factor=float(params["resize1"]))
        x = jpeg(add_noise(x, 1), on_device["quality1"])

        x = blur(x, on_device["kernel2"])
        factor = float(params["resize2"])
        x = resize(x, mode("mode2"), size=(max(1, int(hr.shape[-2] / scale * factor)), max(1, int(hr.shape[-1] / scale * factor))))
        x = add_noise(x, 2)

        if params["resize_before_jpeg"]:
            x = jpeg(shrink(x).clamp(0, 1), on_device["quality2"])
        else:
            x = shrink(jpeg(x.clamp(0, 1), on_device["quality2"]))
        return (x * 255).round().clamp(0, 255) / 255


def _draw_kernel(rng: np.random.Generator, stage: Stage) -> Float[np.ndarray, "21 21"]:
    size = int(rng.choice(range(7, 22, 2)))
    if rng.random() < stage.sinc_probability:
        omega = rng.uniform(np.pi / 3 if size < 13 else np.pi / 5, np.pi)
        return _padded(sinc_kernel(size, omega))
    family = FAMILIES[rng.choice(len(FAMILIES), p=np.array(stage.family_probabilities) / sum(stage.family_probabilities))]
    sigma_x, sigma_y, theta = rng.uniform(*stage.sigma), rng.uniform(*stage.sigma), rng.uniform(-np.pi, np.pi)
    if family.endswith("iso") and not family.endswith("aniso"):
        sigma_y, theta = sigma_x, 0.0
    if family.startswith("generalized"):
        beta = rng.uniform(0.5, 1) if rng.random() < 0.5 else rng.uniform(1, 4)
        return _padded(gaussian_kernel(size, sigma_x, sigma_y, theta, beta=beta, family="generalized"))
    if family.startswith("plateau"):
        beta = 1.0 if rng.random() < 0.5 else rng.uniform(1, 2)
        return _padded(gaussian_kernel(size, sigma_x, sigma_y, theta, beta=beta, family="plateau"))
    return _padded(gaussian_kernel(size, sigma_x, sigma_y, theta))


def _draw_resize(rng: np.random.Generator, stage: Stage) -> float:
    direction = rng.choice(3, p=np.array(stage.resize_probabilities) / sum(stage.resize_probabilities))
    if direction == 0:
        return rng.uniform(1, stage.resize_range[1])
    return rng.uniform(stage.resize_range[0], 1) if direction == 1 else 1.0


def _to_tensor(value: float | int | bool | np.ndarray) -> Tensor:
    return torch.from_numpy(value).float() if isinstance(value, np.ndarray) else torch.tensor(value)


DegradationConfig = Annotated[TwoOrder | Bicubic, Field(discriminator="name")]
"""Any degradation to train with, told apart by `name`: the list that a new one joins. Each has `random`, `canvas`, `require`, `sample`
and `apply`."""


# ------------------------------------------------------------------------------------------- the fixed test degradations, on uint8

PRESETS: dict[str, tuple[str, ...]] = {
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
"""The papers' test degradations: blur with σ = 2, then PIL's bicubic by the scale, then noise with σ = 20, then JPEG at quality 50; and
PIL's nearest-neighbour resizing alone (Reflash Dropout, Figure 2)."""

_BLUR_TAPS = np.array([1, 2, 7, 16, 31, 45, 52, 45, 31, 16, 7, 2, 1], dtype=np.int64)


def fixed(hr: UInt8[Tensor, "3 h w"], preset: str, *, seed: int, scale: int = 4) -> UInt8[Tensor, "3 h2 w2"]:
    """A test degradation of a picture whose sides are multiples of 12, to the byte: a frozen protocol.

    The noise is NumPy's Philox keyed by (seed, preset, SHA-256 of the HR pixels), so that it depends on neither the file's name nor the
    order of work; after it, samples are truncated to 8 bits, not rounded, as the papers' generator does (half a grey level darker)."""
    steps = PRESETS[preset]
    picture = hr.permute(1, 2, 0).contiguous().numpy()
    if "blur" in steps:
        picture = blur_uint8(picture)
    height, width = picture.shape[:2]
    resizer = Image.Resampling.NEAREST if "nearest" in steps else Image.Resampling.BICUBIC
    lr = Image.fromarray(picture).resize((width // scale, height // scale), resizer)
    if "noise" in steps:
        rng = chance.generator(seed, preset, images.pixels_sha256(hr))
        lr = Image.fromarray(noise_uint8(np.asarray(lr), 20, rng))
    if "jpeg" in steps:
        buffer = io.BytesIO()
        lr.save(buffer, format="JPEG", quality=50)
        lr = Image.open(buffer)
    return images.from_pillow(lr)


def blur_uint8(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """OpenCV's GaussianBlur(picture, (21, 21), 2) on uint8, bit for bit, in integers: 8-bit taps, rows then columns, one rounding.

    Raises UserError when a side is shorter than 7 pixels."""
    half = len(_BLUR_TAPS) // 2
    if min(picture.shape[:2]) <= half:
        raise UserError(f"a picture of {picture.shape[1]}×{picture.shape[0]} is too small for the test blur: 7 pixels a side are needed")
    padded = np.pad(picture.astype(np.int64), ((half, half), (half, half), (0, 0)), mode="reflect")
    height, width = picture.shape[:2]
    rows = np.sum([tap * padded[:, i : i + width] for i, tap in enumerate(_BLUR_TAPS)], axis=0)
    columns = np.sum([tap * rows[i : i + height] for i, tap in enumerate(_BLUR_TAPS)], axis=0)
    return ((columns + (1 << 15)) >> 16).astype(np.uint8)


def noise_uint8(picture: UInt8[np.ndarray, "h w 3"], sigma: float, rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Adds N(0, σ²) in grey levels to every sample, drawn in (3, H, W) order, clips, and truncates to 8 bits."""
    noisy = picture.transpose(2, 0, 1) / 255 + rng.normal(0, sigma / 255, picture.transpose(2, 0, 1).shape)
    return (noisy.clip(0, 1).astype(np.float32) * 255).astype(np.uint8).transpose(1, 2, 0).copy()
