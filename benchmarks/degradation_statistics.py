"""Does wildsr draw and degrade as the slow twin does? Thousands of samples of each, compared statistic by statistic.

    python benchmarks/degradation_statistics.py [--samples 2000] [--canvas 400] [--lr-patch 32] [--biases]

The comparisons, of `wildsr.train.samples.Samples` with `slow_degradation`, on the same canvases and crops:
  directly   LR patches from the same draws with noise of strength 0: equal, but for what rounding does in JPEG
  draws      what was drawn (kernels, factors, strengths, qualities), independently on either side
  operators  LR patches from the same draws, differing in nothing but the noise's fields
  whole      LR patches from independent draws: whatever the others do not think of
Every statistic gives z-scores: of its mean, of its spread, of its distribution (Kolmogorov and Smirnov's), and, among draws, of the ends of
its range. With --biases, errors are planted in the twin, one after the other, to see which comparison notices them. Exit status 1 when a
score without a bias is above the limit."""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import slow_degradation as slow
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from wildsr import chance, datasets, images
from wildsr.degrade import TwoOrder
from wildsr.train import TrainConfig
from wildsr.train.samples import Samples

LIMIT = 5.5
"""Of any z-score: over 500 scores, a false alarm is less likely than 1 in 10,000."""

TARGET_LIMIT = 1e-3
"""Of the difference between sharpened targets. Equal formulas differ by 1e-6, or a few 1e-4 where rounding moves a pixel over the
threshold."""


@dataclass(frozen=True)
class Score:
    """One statistic of wildsr's samples beside the twin's: the means, and the z-scores of the difference."""

    name: str
    ours: float
    twins: float
    mean: float
    spread: float
    distribution: float
    ends: float

    @property
    def worst(self) -> float:
        """The largest of the four, whatever its sign."""
        return max(abs(self.mean), abs(self.spread), abs(self.distribution), abs(self.ends))


def z_of_difference(ours: np.ndarray, twins: np.ndarray, paired: bool) -> float:
    """The z-score of the difference of the means; with `paired`, value i of both belongs to the same picture, or the same draws."""
    if paired:
        difference = ours - twins
        mean, error = difference.mean(), difference.std(ddof=1) / math.sqrt(len(difference))
    else:
        mean = ours.mean() - twins.mean()
        error = math.sqrt(ours.var(ddof=1) / len(ours) + twins.var(ddof=1) / len(twins))
    if mean == 0 or error == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    # From Student's t to z, after Wallace: with few values, large t are likelier than large z.
    free = min(len(ours), len(twins)) - 1
    return math.copysign((8 * free + 1) / (8 * free + 3) * math.sqrt(free * math.log1p((mean / error) ** 2 / free)), mean)


def z_of_distribution(ours: np.ndarray, twins: np.ndarray) -> float:
    """Kolmogorov and Smirnov's greatest distance between the two distributions, as the normal score of the same probability.

    Pairing is not used: it makes the score smaller, never larger."""
    edges = np.unique(np.concatenate([ours, twins]))
    ranks = [np.searchsorted(np.sort(values), edges, side="right") / len(values) for values in (ours, twins)]
    root = np.abs(ranks[0] - ranks[1]).max() * math.sqrt(len(ours) * len(twins) / (len(ours) + len(twins)))
    return z_of_chance(2 * math.exp(-2 * root**2))


def z_of_ends(ours: np.ndarray, twins: np.ndarray) -> float:
    """From how many values of one side lie beyond all of the other's: strict about ranges, where means and spreads are lenient."""
    least = 0.0
    for many, others in ((ours, twins), (twins, ours), (-ours, -twins), (-twins, -ours)):
        beyond = np.arange((many > others.max()).sum())
        least = min(least, float(np.log((len(many) - beyond) / (len(many) + len(others) - beyond)).sum()))
    return z_of_chance(math.exp(max(least, -600)))


def z_of_chance(chance: float) -> float:
    """The z-score, from 0 on, that is exceeded on either side with this probability."""
    return abs(statistics.NormalDist().inv_cdf(min(max(chance, 1e-300), 1.0) / 2))


def compare(ours: dict[str, Tensor], twins: dict[str, Tensor], paired: bool) -> list[Score]:
    """Statistic by statistic, the most striking first. A value of NaN says that the statistic has no meaning for that sample."""
    scores = []
    for name in ours:
        # Rounded, so that the last digits of equal values do not tell them apart.
        a, b = (side[name].double().numpy().round(6) for side in (ours, twins))
        if paired:
            known = ~np.isnan(a + b)
            a, b = a[known], b[known]
        else:
            a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        centre = np.concatenate([a, b]).mean()
        mean, spread = z_of_difference(a, b, paired), z_of_difference((a - centre) ** 2, (b - centre) ** 2, paired)
        ends = 0.0 if paired else z_of_ends(a, b)
        scores.append(Score(name, float(a.mean()), float(b.mean()), mean, spread, z_of_distribution(a, b), ends))
    return sorted(scores, key=lambda score: -score.worst)


# ------------------------------------------------------------------------------------------------------------------------ the draws


def drawn_by_us(degradation: TwoOrder, seed: int, ns: Sequence[int]) -> list[slow.Draw]:
    """What `TwoOrder.sample` draws, in the twin's words."""
    params = degradation.sample(seed, ns)

    def order(i: int, k: int) -> slow.OrderDraw:
        gaussian = bool(params[f"gaussian{k}"][i])
        return slow.OrderDraw(
            kernel=params[f"kernel{k}"][i],
            factor=float(params[f"resize{k}"][i]),
            mode=slow.MODES[int(params[f"mode{k}"][i])],
            gaussian=gaussian,
            strength=float(params[f"{'sigma' if gaussian else 'poisson'}{k}"][i]),
            gray=bool(params[f"gray{k}"][i]),
            quality=float(params[f"quality{k}"][i]),
        )

    return [
        slow.Draw(
            first=order(i, 1),
            second=order(i, 2),
            sinc=params["sinc"][i],
            mode=slow.MODES[int(params["tail_mode"][i])],
            jpeg_last=bool(params["resize_before_jpeg"][i]),
        )
        for i in range(len(ns))
    ]


def kernel_statistics(kernels: Tensor, name: str) -> dict[str, Tensor]:
    """Of kernels (N, 21, 21): how often nothing is blurred, and of the others sum, size, peak, lobes, and moments about the centre."""
    half = kernels.shape[-1] // 2
    axis = torch.arange(-half, half + 1.0, dtype=torch.float64)
    kernels = kernels.double()
    blurring = (kernels != 0).sum((1, 2)) > 1

    def of_blurring(values: Tensor) -> Tensor:
        return torch.where(blurring, values, torch.nan)

    found = {
        "sum": kernels.sum((1, 2)),
        # A Gaussian's corners underflow, its middle row does not.
        "size": (kernels.abs().amax(1) > 0).sum(1).double(),
        "peak": kernels[:, half, half],
        "lowest": kernels.amin((1, 2)),
        "roundness": (kernels - kernels.rot90(1, (1, 2))).abs().sum((1, 2)),
        "xx": torch.einsum("nyx,x->n", kernels, axis**2),
        "yy": torch.einsum("nyx,y->n", kernels, axis**2),
        "xy": torch.einsum("nyx,y,x->n", kernels, axis, axis),
        "x": torch.einsum("nyx,x->n", kernels, axis),
        "energy": kernels.square().sum((1, 2)),
    }
    return {f"{name}: blurs": blurring.double()} | {f"{name}: {key}": of_blurring(values) for key, values in found.items()}


def draw_statistics(drawn: Sequence[slow.Draw]) -> dict[str, Tensor]:
    """Everything that was drawn as numbers, one value a sample, and whether neighbouring samples or different draws hang together."""
    found: dict[str, Tensor] = {}

    def flag(name: str, values: Sequence[bool]) -> Tensor:
        found[name] = torch.tensor(values).double()
        return found[name]

    free: list[Tensor] = []  # draws that hang on no other
    for k in ("first", "second"):
        orders = [getattr(one, k) for one in drawn]
        found |= kernel_statistics(torch.stack([one.kernel for one in orders]), f"{k} kernel")
        factor = torch.tensor([one.factor for one in orders], dtype=torch.float64)
        found[f"{k} enlarges by"] = torch.where(factor > 1, factor, torch.nan)
        found[f"{k} reduces by"] = torch.where(factor < 1, factor, torch.nan)
        larger, smaller = flag(f"{k} enlarges", (factor > 1).tolist()), flag(f"{k} reduces", (factor < 1).tolist())
        modes = [flag(f"{k} mode {mode}", [one.mode == mode for one in orders]) for mode in slow.MODES]
        gaussian = flag(f"{k} noise is Gaussian", [one.gaussian for one in orders])
        gray = flag(f"{k} noise is grey", [one.gray for one in orders])
        strength = torch.tensor([one.strength for one in orders], dtype=torch.float64)
        found[f"{k} sigma"] = torch.where(gaussian > 0, strength, torch.nan)
        found[f"{k} Poisson scale"] = torch.where(gaussian > 0, torch.nan, strength)
        quality = found[f"{k} quality"] = torch.tensor([one.quality for one in orders], dtype=torch.float64)
        free += [found[f"{k} kernel: blurs"], larger - smaller, modes[0] - modes[2], gaussian, gray, quality]
    found |= kernel_statistics(torch.stack([one.sinc for one in drawn]), "final sinc")
    modes = [flag(f"tail mode {mode}", [one.mode == mode for one in drawn]) for mode in slow.MODES]
    free += [found["final sinc: blurs"], modes[0] - modes[2], flag("JPEG last", [one.jpeg_last for one in drawn])]

    normal = torch.stack([(values - values.mean()) / values.std().clamp(min=1e-9) for values in free])
    found["draws of a sample hang together"] = normal.sum(0).square() - normal.square().sum(0)
    found["neighbours hang together"] = (normal[:, 1:] * normal[:, :-1]).sum(0)
    return found


# ---------------------------------------------------------------------------------------------------------------------- the patches


@dataclass(frozen=True)
class Patches:
    """Training pairs, and where in its picture each LR patch begins: lr (N, 3, p, p), hr (N, 3, s p, s p), corner (N, 2) in LR pixels."""

    lr: Tensor
    hr: Tensor
    corner: Tensor


def luma(x: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, H, W)."""
    return torch.einsum("nchw,c->nhw", x, torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype))


def chroma(x: Tensor) -> Tensor:
    """Blue and red difference, (N, 3, H, W) to (N, 2, H, W)."""
    return torch.stack([0.564 * (x[:, 2] - luma(x)), 0.713 * (x[:, 0] - luma(x))], 1)


def detail(x: Tensor) -> Tensor:
    """Less the 3x3 neighbourhood's mean; (N, C, H, W), two rows and columns fewer."""
    return x[..., 1:-1, 1:-1] - F.avg_pool2d(x, 3, stride=1)


def bands(x: Tensor, count: int) -> Tensor:
    """Power of (N, H, W) in rings of equal width up to the Nyquist frequency, in decibels of an 8-bit level squared; (N, count)."""
    side = x.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=x.dtype)
    window = torch.outer(window, window)
    power = torch.fft.fft2((x - x.mean((1, 2), keepdim=True)) * window).abs().square() / window.square().sum()
    frequency = torch.fft.fftfreq(side, dtype=x.dtype)
    ring = (torch.hypot(frequency[:, None], frequency[None]) * 2 * count).floor()
    return torch.stack([decibels(power[:, ring == i].mean(1)) for i in range(count)], 1)


def decibels(power: Tensor) -> Tensor:
    """10 log10 of a mean square, in units of an 8-bit level squared; rounding to 8 bits alone gives -11."""
    return 10 * torch.log10(power * 255**2 + 0.05)


def shift(lr: Tensor, clean: Tensor) -> Tensor:
    """By how many LR pixels, down and right, (N, H, W) lies off `clean`: the slope of the phase between their low frequencies; (N, 2)."""
    side = lr.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=lr.dtype)
    window = torch.outer(window, window)
    a, b = (torch.fft.fft2((x - x.mean((1, 2), keepdim=True)) * window) for x in (lr, clean))
    wave = torch.fft.fftfreq(side, 1 / side, dtype=lr.dtype)
    y, x = torch.meshgrid(wave, wave, indexing="ij")
    low = (torch.hypot(y, x) < 3.5) & ((y > 0) | ((y == 0) & (x > 0)))
    cross = (a * b.conj())[:, low]
    frequency = -2 * math.pi * torch.stack([y[low], x[low]], -1) / side
    normal = torch.einsum("nf,fi,fj->nij", cross.abs(), frequency, frequency)
    normal += 1e-6 * torch.eye(2, dtype=lr.dtype)
    found = torch.linalg.solve(normal, torch.einsum("nf,nf,fi->ni", cross.abs(), cross.angle(), frequency))
    return found.clamp(-2, 2)


def seams(x: Tensor, corner: Tensor, period: int) -> Tensor:
    """Decibels of the steps across the lines of a grid of `period` pixels that starts with the picture, above the steps elsewhere; (N).

    x (N, C, H, W), its first pixel at `corner` of the picture."""
    powers = []
    for axis, places in ((2, corner[:, 0]), (3, corner[:, 1])):
        steps = x.diff(dim=axis).square().mean((1, 5 - axis))
        on = (places[:, None] + 1 + torch.arange(steps.shape[1])) % period == 0
        powers.append(torch.stack([(steps * mask).sum(1) / mask.sum(1).clamp(min=1) for mask in (on, ~on)]))
    across, elsewhere = torch.stack(powers).mean(0)
    return decibels(across) - decibels(elsewhere)


def patch_statistics(patches: Patches, clean: Tensor | None = None) -> dict[str, Tensor]:
    """Statistics of LR patches, one value a patch (N); many in comparison to `clean` ones (N, 3, p, p), by default the HR patches averaged
    down to that size."""
    lr, corner = patches.lr.double(), patches.corner
    clean = F.avg_pool2d(patches.hr, patches.hr.shape[-1] // lr.shape[-1]).double() if clean is None else clean.double()
    residual = lr - clean
    found: dict[str, Tensor] = {}
    for c, name in enumerate(("red", "green", "blue")):
        found[f"{name}: mean off"] = residual[:, c].mean((1, 2))
        found[f"{name}: contrast"] = lr[:, c].std((1, 2)) - clean[:, c].std((1, 2))
    y, clean_y, residual_y = luma(lr), luma(clean), luma(residual)
    centred = y - y.mean((1, 2), keepdim=True)
    found["skew"] = centred.pow(3).mean((1, 2)) / (centred.square().mean((1, 2)).sqrt() + 1 / 255) ** 3
    found["gradient"] = decibels(y.diff(dim=1).square().mean((1, 2)) + y.diff(dim=2).square().mean((1, 2)))
    rings = 5
    for name, powers in (("power", bands(y, rings)), ("residual's power", bands(residual_y, rings))):
        found |= {f"{name}, ring {i + 1} of {rings}": powers[:, i] for i in range(rings)}
    # The black that fills up JPEG's blocks shines into the last rows and columns of a picture.
    found["last rows and columns off"] = (residual_y[:, -2:].mean((1, 2)) + residual_y[..., -2:].mean((1, 2))) / 2 - residual_y.mean((1, 2))
    found["residual"] = decibels(residual.square().mean((1, 2, 3)))
    rough = detail(residual)
    red, green, blue = (rough / (rough.square().mean((2, 3), keepdim=True).sqrt() + 0.1 / 255)).unbind(1)
    found["channels of the residual agree"] = (red * green + green * blue + blue * red).mean((1, 2)) / 3
    colour = decibels(detail(chroma(lr)).square().mean((1, 2, 3)))
    found["colour's detail"] = colour
    found["colour's detail beside luma's"] = colour - decibels(detail(y[:, None]).square().mean((1, 2, 3)))
    found["seams of 8 in luma"] = seams(y[:, None], corner, 8)
    found["seams of 8 in colour"] = seams(chroma(lr), corner, 8)
    found["seams of 16 in colour"] = seams(chroma(lr), corner, 16)
    found["seams of 2 in colour"] = seams(chroma(lr), corner, 2)
    found["black"], found["white"] = (lr == 0).double().mean((1, 2, 3)), (lr == 1).double().mean((1, 2, 3))
    down, right = shift(y, clean_y).unbind(1)
    found["shift down"], found["shift right"] = down, right
    return found


def noise_statistics(patches: Patches, clean: Tensor, drawn: Sequence[slow.Draw]) -> dict[str, Tensor]:
    """Of what noise left on `clean` (N, 3, p, p): strength, tails and colour by the kind of noise of the second order, and whether
    neighbouring pixels, or successive samples, have noise in common."""
    residual = patches.lr.double() - clean.double()
    gaussian = torch.tensor([one.second.gaussian for one in drawn])
    gray = torch.tensor([one.second.gray for one in drawn])
    normal = residual / (residual.square().mean((1, 2, 3), keepdim=True).sqrt() + 0.1 / 255)
    red, green, blue = normal.unbind(1)
    agreement, strength = (red * green + green * blue + blue * red).mean((1, 2)) / 3, decibels(residual.square().mean((1, 2, 3)))
    found = {
        "noise: rows agree": (normal[:, :, 1:] * normal[:, :, :-1]).mean((1, 2, 3)),
        "noise: columns agree": (normal[..., 1:] * normal[..., :-1]).mean((1, 2, 3)),
    }
    # One kind of noise is not watered down by samples that have another. In the dark, a few photons more or less make all the noise.
    bright = clean.mean((1, 2, 3)) > 0.15
    for kind, chosen in (("Gaussian", gaussian), ("Poisson", ~gaussian)):
        for colour, rows in (("coloured", chosen & ~gray), ("grey", chosen & gray)):
            found[f"noise: channels agree, {colour} {kind}"] = torch.where(rows, agreement, torch.nan)
        found[f"noise: strength, {kind}"] = torch.where(chosen & bright, strength, torch.nan)
        found[f"noise: fourth moment, {kind}"] = torch.where(chosen & bright, normal.pow(4).mean((1, 2, 3)), torch.nan)
        found[f"noise: samples agree, {kind}"] = torch.where(chosen, _agreement(normal, patches.corner, gaussian, gray), torch.nan)
    return found


def _agreement(normal: Tensor, corner: Tensor, gaussian: Tensor, gray: Tensor) -> Tensor:
    """The mean product of each sample's noise with that of the next few of the same kind, where the patches overlap; (N)."""
    side, found = normal.shape[-1], torch.full((len(normal),), torch.nan, dtype=torch.float64)
    for n in range(len(normal)):
        products = []
        for m in range(n + 1, min(n + 9, len(normal))):
            down, right = (corner[m] - corner[n]).tolist()
            if gaussian[m] == gaussian[n] and gray[m] == gray[n] and max(abs(down), abs(right)) < side:
                here = normal[n, :, max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)]
                there = normal[m, :, max(-down, 0) : side + min(-down, 0), max(-right, 0) : side + min(-right, 0)]
                products.append((here * there).mean())
        if products:
            found[n] = torch.stack(products).mean()
    return found


class Canvases:
    """The canvases of a range of samples, sharpened by the twin, and wildsr's own pairs from them."""

    def __init__(self, config: TrainConfig, folder: Path, count: int, device: str = "cpu") -> None:
        self.config, self.count = config, count
        samples = Samples(config, datasets.open([folder]), torch.device(device))
        pairs = [samples.batch(n, min(16, count - n)) for n in range(0, count, 16)]
        sharp: dict[bytes, Tensor] = {}  # a picture of the canvas's size gives two canvases only: itself, and flipped
        self.sharpened: list[Tensor] = []
        for n in range(count):
            canvas = samples.canvases(n)
            key = canvas.numpy().tobytes()
            if key not in sharp:
                sharp[key] = slow.sharpen(images.to_float(canvas).unsqueeze(0))[0]
            self.sharpened.append(sharp[key])
        lr, hr = (torch.cat(side).cpu() for side in zip(*pairs, strict=True))
        room = config.canvas // config.scale - config.lr_patch + 1
        corners = [chance.generator(config.seed, "crop", n).integers(room, size=2).tolist() for n in range(count)]
        self.ours = Patches(lr, hr, torch.tensor(corners))
        windows = [self._window(canvas, corner, config.scale) for canvas, corner in zip(self.sharpened, corners, strict=True)]
        self.target_error = float((torch.stack(windows) - hr).abs().max())
        """The largest difference between wildsr's HR patches and the twin's sharpened canvases; large too where a corner is mistaken."""

    def _window(self, picture: Tensor, corner: Sequence[int], scale: int = 1) -> Tensor:
        (top, left), side = corner, self.config.lr_patch
        return picture[:, scale * top : scale * (top + side), scale * left : scale * (left + side)]

    def twins(self, drawn: Sequence[slow.Draw], seed: int) -> Patches:
        """The twin's pairs from the same canvases and the same crops; as many as were drawn."""
        generator = torch.Generator().manual_seed(seed)
        patches = []
        for canvas, one, corner in zip(self.sharpened, drawn, self.ours.corner.tolist(), strict=False):
            lr = slow.apply(canvas.unsqueeze(0), [one], generator, self.config.scale)[0]
            patches.append(self._window(lr, corner))
        return Patches(torch.stack(patches), self.ours.hr[: len(drawn)], self.ours.corner[: len(drawn)])

    def ours_first(self, count: int) -> Patches:
        """The first so many of wildsr's pairs."""
        return Patches(self.ours.lr[:count], self.ours.hr[:count], self.ours.corner[:count])


def compare_draws(ours: Sequence[slow.Draw], count: int, seed: int) -> list[Score]:
    """What wildsr drew beside what the twin draws for `count` other samples."""
    rng = np.random.default_rng(seed)
    return compare(draw_statistics(ours), draw_statistics([slow.draw(rng) for _ in range(count)]), paired=False)


def silenced(drawn: Sequence[slow.Draw]) -> list[slow.Draw]:
    """The same draws with noise of strength 0."""
    return [replace(one, first=replace(one.first, strength=0.0), second=replace(one.second, strength=0.0)) for one in drawn]


def compare_directly(canvases: Canvases, drawn: Sequence[slow.Draw]) -> Tensor:
    """The mean absolute difference, in 8-bit levels, between wildsr's patches and the twin's from the same draws without noise; (N)."""
    ours, twins = canvases.ours_first(len(drawn)).lr, canvases.twins(silenced(drawn), 0).lr
    return 255 * (ours - twins).abs().mean((1, 2, 3))


def compare_operators(canvases: Canvases, drawn: Sequence[slow.Draw], clean: Tensor, seed: int) -> list[Score]:
    """wildsr's first pairs beside the twin's from the same draws; both beside `clean`, what the twin makes of these draws without noise."""

    def of(patches: Patches) -> dict[str, Tensor]:
        return patch_statistics(patches, clean) | noise_statistics(patches, clean, drawn)

    return compare(of(canvases.ours_first(len(drawn))), of(canvases.twins(drawn, seed)), paired=True)


def compare_whole(canvases: Canvases, count: int, seed: int) -> list[Score]:
    """wildsr's first pairs beside the twin's from draws of its own."""
    rng = np.random.default_rng(seed)
    twins = canvases.twins([slow.draw(rng) for _ in range(count)], seed)
    return compare(patch_statistics(canvases.ours_first(count)), patch_statistics(twins), paired=True)


# ------------------------------------------------------------------------------------------------------------------- planted biases

Planted = Callable[[], AbstractContextManager[object]]


def _orders(change: Callable[[slow.Order], slow.Order]) -> Planted:
    return lambda: patch.multiple(slow, FIRST=change(slow.FIRST), SECOND=change(slow.SECOND))


def _stretched(name: str, change: Callable[[float], float]) -> Callable[[slow.Order], slow.Order]:
    return lambda order: replace(order, **{name: tuple(change(end) for end in getattr(order, name))})


def _wrapped(name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Planted:
    return lambda: patch.object(slow, name, make(getattr(slow, name)))


def _sharing(draw: Callable[..., slow.Draw]) -> Callable[..., slow.Draw]:
    drawn: list[slow.Draw] = []

    def changed(rng: np.random.Generator) -> slow.Draw:
        drawn.append(draw(rng))
        return replace(drawn[-1], second=drawn[(len(drawn) - 1) // 2 * 2].second)

    return changed


def _preferring_area(draw: Callable[..., slow.Draw]) -> Callable[..., slow.Draw]:
    def changed(rng: np.random.Generator) -> slow.Draw:
        one = draw(rng)
        return replace(one, first=replace(one.first, mode="area")) if rng.random() < 0.35 else one

    return changed


def _shifted(jpeg: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, quality: jpeg(F.pad(x, [4, 0, 4, 0], mode="replicate"), quality)[..., 4:, 4:]


def _without_rim(jpeg: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def changed(x: Tensor, quality: Tensor) -> Tensor:
        h, w = x.shape[2:]
        return jpeg(F.pad(x, [0, -w % 16, 0, -h % 16], mode="replicate"), quality)[..., :h, :w]

    return changed


def _off(apply: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda hr, *rest: apply(F.pad(hr, [2, 0, 2, 0], mode="replicate")[..., :-2, :-2], *rest)


def _by_area(finish: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def changed(x: Tensor, drawn: slow.Draw, *rest: Any) -> Tensor:
        orders = {"first": replace(drawn.first, mode="area"), "second": replace(drawn.second, mode="area")}
        return finish(x, replace(drawn, mode="area", **orders), *rest)

    return changed


def _uniform(noise: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def changed(x: Tensor, sigma: float, gray: bool, generator: torch.Generator) -> Tensor:
        fields = torch.rand(1, 1 if gray else 3, *x.shape[2:], generator=generator) - 0.5
        return (x + fields * math.sqrt(12) * sigma / 255).clamp(0, 1)

    return changed


def _repeated(noise: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, sigma, gray, generator: noise(x, sigma, gray, torch.Generator().manual_seed(7))


DRAW_BIASES: dict[str, Planted] = {
    "sigma's range 15 % higher": _orders(_stretched("gaussian_sigma", lambda end: 1.15 * end)),
    "JPEG's qualities 10 lower": _orders(_stretched("quality", lambda end: end - 10)),
    "the second blur never left out": lambda: patch.object(slow, "SECOND", replace(slow.SECOND, blur=1.0)),
    "noise never grey": _orders(lambda order: replace(order, gray=0.0)),
    "kernels of one family": _orders(lambda order: replace(order, families=(1.0, 0.0, 0.0, 0.0, 0.0, 0.0))),
    "no sinc among the kernels": _orders(lambda order: replace(order, sinc=0.0)),
    "always a final sinc": lambda: patch.object(slow, "FINAL_SINC", 1.0),
    "reduced to 0.3 at least": _orders(_stretched("reduce", lambda end: max(end, 0.3))),
    "the first resize more often by area": _wrapped("draw", _preferring_area),
    "second orders shared by two neighbours": _wrapped("draw", _sharing),
}
"""Errors in what is drawn: name -> a context in which the twin makes them."""

NOISE_BIASES: dict[str, Planted] = {
    "Gaussian noise 15 % stronger": _wrapped("gaussian_noise", lambda noise: lambda x, sigma, *rest: noise(x, 1.15 * sigma, *rest)),
    "grey noise in colour": _wrapped("gaussian_noise", lambda noise: lambda x, sigma, gray, *rest: noise(x, sigma, False, *rest)),
    "noise uniform": _wrapped("gaussian_noise", _uniform),
    "one field of noise for all": _wrapped("gaussian_noise", _repeated),
    "twice the photons": _wrapped("photons", lambda photons: lambda level: 2 * photons(level)),
    "photons counted in a corner": _wrapped("photons", lambda photons: lambda level: photons(level[..., :8, :8])),
}
"""Errors in the noise: name -> a context in which the twin makes them."""

OPERATOR_BIASES: dict[str, Planted] = {
    "JPEG's quality 10 lower": _wrapped("jpeg", lambda jpeg: lambda x, quality: jpeg(x, quality - 10)),
    "JPEG's grid shifted by 4": _wrapped("jpeg", _shifted),
    "JPEG without the black rim": _wrapped("jpeg", _without_rim),
    "one JPEG table for luma and colour": lambda: patch.object(slow, "CHROMA_TABLE", slow.LUMA_TABLE),
    "half an LR pixel off": _wrapped("apply", _off),
    "every resize by area": _wrapped("finish", _by_area),
}
"""Errors in what else is done with the draws: name -> a context in which the twin makes them."""


# ------------------------------------------------------------------------------------------------------------------------- the table


def cut(paths: Sequence[Path], side: int, folder: Path, each: int = 4) -> None:
    """Writes up to `each` squares of `side` pixels of every picture into the folder; a picture too small gives none."""
    for path in paths:
        picture = images.read(path)
        _, height, width = picture.shape
        for k in range(each if min(height, width) >= side else 0):
            # Along the diagonals, so that two squares overlap as little as the picture allows.
            down, right = k // 2, (k + k // 2) % 2
            top, left = down * (height - side), right * (width - side)
            square = picture[:, top : top + side, left : left + side].permute(1, 2, 0).numpy()
            Image.fromarray(square).save(folder / f"{path.stem}-{k}.png")


def without_noise(whole: TwoOrder) -> TwoOrder:
    """The same with noise of strength 0: nothing is left to chance once the draws are made, and patches can be compared directly."""
    silent = {"gaussian_probability": 1.0, "gaussian_sigma": (0.0, 0.0)}
    return whole.model_copy(update={name: getattr(whole, name).model_copy(update=silent) for name in ("first", "second")})


def noise_alone(whole: TwoOrder) -> TwoOrder:
    """The second order's noise, and as little else as possible: a tight blur, one resize to the LR size, JPEG at quality 99."""
    quiet = {"sinc_probability": 0.0, "sigma": (0.2, 0.2), "resize_probabilities": (0.0, 0.0, 1.0), "jpeg_quality": (99.0, 99.0)}
    silent = {**quiet, "gaussian_probability": 1.0, "gaussian_sigma": (0.0, 0.0)}
    first, second = whole.first.model_copy(update=silent), whole.second.model_copy(update=quiet)
    return whole.model_copy(update={"first": first, "second": second, "final_sinc_probability": 0.0})


def show(title: str, scores: Sequence[Score], shown: int) -> float:
    """Prints the most striking scores as a table; the largest score."""
    print(f"\n{title}: {len(scores)} statistics, largest score {scores[0].worst:.1f}, limit {LIMIT}\n")
    print("| statistic | wildsr | twin | z of mean | spread | distribution | ends |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for score in scores[:shown]:
        numbers = (
            f"{score.ours:.5g} | {score.twins:.5g} | {score.mean:+.1f} | {score.spread:+.1f} | {score.distribution:.1f} | {score.ends:.1f}"
        )
        print(f"| {score.name} | {numbers} |")
    return scores[0].worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="patches of either side, and ten times as many draws")
    parser.add_argument("--canvas", type=int, default=400)
    parser.add_argument("--lr-patch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="where wildsr's samples are made; the twin is always on the CPU")
    parser.add_argument("--biases", action="store_true", help="also plant every bias, which takes as long again for each")
    parser.add_argument("--shown", type=int, default=100, help="rows of each table")
    given = parser.parse_args()
    whole = TrainConfig(target_usm=True, seed=given.seed, lr_patch=given.lr_patch, degradation=TwoOrder(canvas=given.canvas))
    silent = whole.model_copy(update={"degradation": without_noise(TwoOrder(canvas=given.canvas))})
    with tempfile.TemporaryDirectory() as folder:
        cut(datasets.samples(), given.canvas, Path(folder))
        canvases = Canvases(whole, Path(folder), given.samples, given.device)
        quiet = Canvases(silent, Path(folder), max(1, given.samples // 4), given.device)
    print(f"{given.samples} samples, canvas {given.canvas}, LR patch {given.lr_patch}, {given.device}, PyTorch {torch.__version__}")
    print(f"\nsharpened target: largest difference {canvases.target_error:.1e}")
    off = compare_directly(quiet, drawn_by_us(without_noise(TwoOrder(canvas=given.canvas)), given.seed, range(quiet.count)))
    print(f"\nthe same draws without noise: {100 * (off < 0.01).double().mean():.1f} % of {quiet.count} patches equal", end="")
    print(f" (mean difference below 0.01 levels), largest mean difference {off.max():.3f} levels")
    drawn = drawn_by_us(TwoOrder(canvas=given.canvas), given.seed, range(10 * given.samples))
    some = drawn[: given.samples]
    clean = canvases.twins(silenced(some), 0).lr
    comparisons: dict[str, Callable[[], list[Score]]] = {
        "draws": lambda: compare_draws(drawn, len(drawn), given.seed + 1),
        "operators": lambda: compare_operators(canvases, some, clean, given.seed + 2),
        "whole": lambda: compare_whole(canvases, given.samples, given.seed + 3),
    }
    worst = max([show(name, compare(), given.shown) for name, compare in comparisons.items()])
    if given.biases:
        print(
            f"\nLargest scores with a bias planted in the twin\n\n| bias | {' | '.join(comparisons)} |\n| --- | ---: | ---: | ---: |",
            flush=True,
        )
        for name, planted in {**DRAW_BIASES, **NOISE_BIASES, **OPERATOR_BIASES}.items():
            with planted():
                print(f"| {name} | {' | '.join(f'{compare()[0].worst:.1f}' for compare in comparisons.values())} |", flush=True)
    sys.exit(worst > LIMIT or canvases.target_error > TARGET_LIMIT or float((off < 0.01).double().mean()) < 0.9)


if __name__ == "__main__":
    main()
