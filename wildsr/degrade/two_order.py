"""The two-order random pipeline that training draws from.

Drawing chance is apart from using it: `TwoOrder.sample` turns (seed, n, view) into numbers, `TwoOrder.patches` turns pictures and those
numbers into low-resolution patches. Source: Real-ESRGAN (Wang et al. 2021), Section 3, with the numbers of the released options."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from wildsr import chance
from wildsr.config import Positive, Probability, Strict
from wildsr.degrade import kernels, route
from wildsr.degrade.bicubic import Params
from wildsr.errors import UserError

Range = tuple[float, float]

Modes = tuple[float, float, float, float]
"""Probabilities of resizing by area, bilinearly, bicubically, and bicubically with antialiasing (as Pillow and MATLAB shrink)."""

MODES: Modes = (1 / 3, 1 / 3, 1 / 3, 0.0)
"""Real-ESRGAN's."""


class Stage(Strict, frozen=True):
    """One order of the pipeline: blur, resize, noise, JPEG. The defaults are the first order's of Real-ESRGAN's released options."""

    probability: Probability = 1.0
    """Of the order as a whole; where it is left out, the picture goes on as it is. So may each of its steps be."""
    blur_probability: Probability = 1.0
    sinc_probability: Probability = 0.1
    family_probabilities: tuple[float, float, float, float, float, float] = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    """Of Gaussian, generalized and plateau kernels, each isotropic and then anisotropic."""
    sigma: Range = (0.2, 3.0)
    resize_probabilities: tuple[float, float, float] = (0.2, 0.7, 0.1)
    """Of enlarging, shrinking, keeping."""
    resize_range: Range = (0.15, 1.5)
    mode_probabilities: Modes = MODES
    noise_probability: Probability = 1.0
    gaussian_probability: Probability = 0.5
    """Of Gaussian noise; otherwise it is Poisson noise."""
    gaussian_sigma: Range = (1.0, 30.0)
    """In grey levels of 255."""
    poisson_scale: Range = (0.05, 3.0)
    gray_probability: Probability = 0.4
    jpeg_probability: Probability = 1.0
    jpeg_quality: Range = (30.0, 95.0)

    @model_validator(mode="after")
    def _check(self) -> "Stage":
        for name in ("family_probabilities", "resize_probabilities", "mode_probabilities"):
            _require_shares(name, getattr(self, name))
        for name, lowest in (("sigma", 1e-3), ("resize_range", 1e-3), ("gaussian_sigma", 0), ("poisson_scale", 0), ("jpeg_quality", 1)):
            low, high = getattr(self, name)
            if not lowest <= low <= high:
                raise ValueError(f"{name} = [{low:g}, {high:g}] must be an ascending range from {lowest:g} on")
        if not self.resize_range[0] <= 1 <= self.resize_range[1]:
            raise ValueError(f"resize_range = {list(self.resize_range)} must contain 1")
        if self.jpeg_quality[1] > 99:
            raise ValueError(f"jpeg_quality = {list(self.jpeg_quality)} must end at 99 or below")
        return self


def _require_shares(name: str, probabilities: Sequence[float]) -> None:
    if min(probabilities) < 0 or abs(sum(probabilities) - 1) > 1e-6:
        raise ValueError(f"{name} = {list(probabilities)} must be at least 0 and sum to 1, not to {sum(probabilities):g}")


class TwoOrder(Strict, frozen=True):
    """Real-ESRGAN's high-order degradation, with the reference's numbers as defaults.

    There, every step takes place in every sample but the second blur and the sinc filters. The probabilities of orders, noise and JPEG,
    and antialiased resizing, are ours: with them a network also sees pictures that little or nothing happened to.

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
    tail_mode_probabilities: Modes = MODES
    shared_draws: Positive = 1

    @model_validator(mode="after")
    def _check(self) -> "TwoOrder":
        _require_shares("tail_mode_probabilities", self.tail_mode_probabilities)
        return self

    def require(self, canvas: int, scale: int) -> None:
        """Raises ValueError when a canvas of this side may become too small for the blur kernels on its way."""
        smallest = min(int(canvas * self.first.resize_range[0]), canvas // scale)
        if 2 * smallest <= kernels.SIZE:
            raise ValueError(
                f"degradation.canvas = {self.canvas} may become {smallest} pixels wide on its way, "
                f"too small for kernels of {kernels.SIZE}: use a larger canvas, or a first.resize_range that shrinks less"
            )

    def sample(self, seed: int, ns: Sequence[int], view: int = 0) -> Params:
        """Draws the numbers for the samples `ns` (counts of HR pictures drawn since the start of the run) and one of their views.

        A pure function of (seed, n, view): it does not matter which samples are drawn together."""
        drawn = self.draw(seed, ns, view)
        return {name: torch.from_numpy(values) for name, values in {**drawn, **_kernels(drawn)}.items()}

    def draw(self, seed: int, ns: Sequence[int], view: int = 0) -> dict[str, np.ndarray]:
        """What `sample` draws, as plain numbers: kernels by size, family, σ, θ, β and ω. Arrays of one value a sample."""
        groups = [n // self.shared_draws for n in ns]
        # With shared_draws = 1 the group is the sample itself, and both streams are its own.
        shared = iter(np.stack([chance.generator(seed, "degradation-shared", self.shared_draws, g, view).random(16) for g in groups], 1))
        own = iter(np.stack([chance.generator(seed, "degradation", n, view).random(40) for n in ns], 1))
        drawn: dict[str, np.ndarray] = {}
        for order, stage in ((1, self.first), (2, self.second)):
            numbers = {
                "blurred": next(shared) < stage.blur_probability,
                **_draw_kernel(own, stage),
                "resize": _draw_resize(shared, stage),
                "mode": _choose(next(shared), stage.mode_probabilities),
                "gaussian": next(shared) < stage.gaussian_probability,
                "sigma": _uniform(next(own), *stage.gaussian_sigma),
                "poisson": _uniform(next(own), *stage.poisson_scale),
                "gray": next(own) < stage.gray_probability,
                "quality": _uniform(next(own), *stage.jpeg_quality),
            }
            drawn |= {f"{name}{order}": values for name, values in numbers.items()}
        drawn["tail_mode"] = _choose(next(shared), self.tail_mode_probabilities)
        drawn["resize_before_jpeg"] = next(shared) < 0.5
        drawn["final_size"] = _size(next(own))
        drawn["final_omega"] = _uniform(next(own), np.pi / 3, np.pi)
        drawn["final_sinc"] = next(own) < self.final_sinc_probability
        for order, stage in ((1, self.first), (2, self.second)):
            there = next(own) < stage.probability
            drawn[f"noisy{order}"] = there & (next(own) < stage.noise_probability)
            drawn[f"jpeg{order}"] = there & (next(own) < stage.jpeg_probability)
            drawn[f"blurred{order}"] &= there
            drawn[f"resize{order}"] = np.where(there, drawn[f"resize{order}"], 1.0)
        drawn["noise_seed"] = np.array([chance.torch_seed(seed, "noise", n, view) for n in ns])
        drawn["gray_noise_seed"] = np.array([chance.torch_seed(seed, "gray-noise", self.shared_draws, g, view) for g in groups])
        return drawn

    def apply(self, hr: Float[Tensor, "b 3 h w"], params: Params, scale: int) -> Float[Tensor, "b 3 h2 w2"]:
        """Degrades pictures in [0, 1] to (B, 3, H//scale, W//scale), in whole steps of 1/255.

        Noise is a function of the seeds among the params and of a pixel's place, so equal arguments give equal results. Raises UserError
        when a picture becomes smaller than half a blur kernel on its way."""
        corners = torch.zeros((len(hr), 2), dtype=torch.int64)
        return self.patches(hr, params, scale, corners, (hr.shape[-2] // scale, hr.shape[-1] // scale))

    def patches(
        self, hr: Float[Tensor, "b 3 h w"], params: Params, scale: int, corners: Int[Tensor, "b 2"], size: tuple[int, int]
    ) -> Float[Tensor, "b 3 h2 w2"]:
        """A window of each degraded picture, by its top left corner (row, column) and its size (height, width) in LR pixels: what `apply`
        gives there, made from what it can see of the HR picture alone.

        Poisson noise hangs on how many levels the whole picture has; where a window with few leaves that open, the whole picture is
        degraded."""
        _require_sides(hr.shape[-2:], params, scale)
        lr, settled = route.degrade(hr, params, scale, corners, size)
        if not settled.all():
            left = (~settled).nonzero()[:, 0]
            # Seen whole, a picture leaves nothing open.
            pictures, _ = route.degrade(
                hr[left.to(hr.device)],
                {name: values[left] for name, values in params.items()},
                scale,
                torch.zeros_like(corners[left]),
                (hr.shape[-2] // scale, hr.shape[-1] // scale),
            )
            for picture, i in zip(pictures, left.tolist(), strict=True):
                (top, first), (height, width) = corners[i].tolist(), size
                lr[i] = picture[:, top : top + height, first : first + width]
        return (lr * 255).round_().clamp_(0, 255) / 255


# --------------------------------------------------------------------------------------------------------------------- the draws


def _uniform(u: np.ndarray, low: float | np.ndarray, high: float) -> np.ndarray:
    return low + (high - low) * u


def _choose(u: np.ndarray, probabilities: Sequence[float]) -> np.ndarray:
    edges = np.cumsum(probabilities) / sum(probabilities)
    return np.searchsorted(edges[:-1], u, side="right")


def _size(u: np.ndarray) -> np.ndarray:
    return 7 + 2 * (8 * u).astype(np.int64)


def _draw_kernel(u: Iterator[np.ndarray], stage: Stage) -> dict[str, np.ndarray]:
    size, sinc = _size(next(u)), next(u) < stage.sinc_probability
    omega = _uniform(next(u), np.where(size < 13, np.pi / 3, np.pi / 5), np.pi)
    family = _choose(next(u), stage.family_probabilities)
    sigma_x, sigma_y, theta = _uniform(next(u), *stage.sigma), _uniform(next(u), *stage.sigma), _uniform(next(u), -np.pi, np.pi)
    iso, generalized, plateau = family % 2 == 0, family // 2 == 1, family // 2 == 2
    low, where = next(u) < 0.5, next(u)
    beta = np.where(generalized, np.where(low, _uniform(where, 0.5, 1), _uniform(where, 1, 4)), 1.0)
    beta = np.where(plateau & ~low, _uniform(where, 1, 2), beta)
    return {
        "size": size,
        "sinc": sinc,
        "omega": omega,
        "family": family,
        "sigma_x": sigma_x,
        "sigma_y": np.where(iso, sigma_x, sigma_y),
        "theta": np.where(iso, 0.0, theta),
        "beta": beta,
    }


def _draw_resize(u: Iterator[np.ndarray], stage: Stage) -> np.ndarray:
    direction, where = _choose(next(u), stage.resize_probabilities), next(u)
    low, high = stage.resize_range
    return np.where(direction == 0, _uniform(where, 1, high), np.where(direction == 1, _uniform(where, low, 1), 1.0))


def _kernels(drawn: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the numbers drawn make: kernel1, kernel2 and sinc (B, 21, 21)."""
    made = {}
    for order in (1, 2):
        size, sinc, omega, family, x, y, theta, beta, blurred = (drawn[f"{name}{order}"] for name in _OF_KERNELS)
        kernel = kernels.gaussian_kernels(size, x, y, theta, beta, family // 2 == 2)
        kernel[sinc] = kernels.sinc_kernels(size[sinc], omega[sinc])
        kernel[~blurred] = kernels.delta_kernel()
        made[f"kernel{order}"] = kernel.astype(np.float32)
    size, omega, final = (drawn[name] for name in _OF_THE_LAST)
    sinc = np.tile(kernels.delta_kernel(), (len(size), 1, 1))
    sinc[final] = kernels.sinc_kernels(size[final], omega[final])
    return {**made, "sinc": sinc.astype(np.float32)}


_OF_KERNELS = ("size", "sinc", "omega", "family", "sigma_x", "sigma_y", "theta", "beta", "blurred")
_OF_THE_LAST = ("final_size", "final_omega", "final_sinc")


def _require_sides(sides: Sequence[int], params: Params, scale: int) -> None:
    height, width = sides
    if min(height, width) < scale:
        raise UserError(f"a picture of {width}×{height} is too small to be degraded by {scale}")
    smallest = float(params["resize1"].min())
    for factor in (1.0, smallest, 1 / scale):
        h, w = math.floor(height * factor), math.floor(width * factor)
        if 2 * min(h, w) <= kernels.SIZE - 1:
            raise UserError(f"a picture of {w}×{h} is too small for a blur kernel of {kernels.SIZE}: use a larger picture or canvas")
