"""Channels of a layer switched off, one by one or more and more: what that costs in PSNR.

Reflash Dropout in Image Super-Resolution (arXiv 2112.12089), Section 6.1 and Figures 6 and 8; definitions as in its code where the text
leaves them open.

Memory does not grow with the number of channels: beside the network's own for one picture, at most two of its largest features, if what it
keeps for later (a global residual, dense connections) is small."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wildsr import chance
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.interpret.inequality import rank_correlation
from wildsr.interpret.taps import Suffix, suffix

Rescale = Literal["absolute", "plain", "none"]
Protocol = Literal["benchmark", "paper"]
Progress = Callable[[int, int], object]

RESCALES: dict[str, Callable[[Tensor], Tensor] | None] = {"absolute": torch.abs, "plain": lambda feature: feature, "none": None}
"""What is summed over a feature to know how much of it is left."""

ORDERS = ("index", "important-first", "important-last", "random")

_VANISHES = 1e-6
"""Plain sums that are smaller, beside those of absolute values, are sums of rounding errors."""


@dataclass(frozen=True)
class Ablation:
    """What switching off single channels costs. channels: their indices. psnr: dB with all channels; psnrs, drops: (n,) dB with one off,
    and how much less that is (below 0: more). reasons: why a channel's values are NaN. linear: whether the site leads to the output by a
    convolution alone, and outputs were added up; skips: whether the layers before the site were left out."""

    site: str
    rescale: str
    protocol: str
    channels: tuple[int, ...]
    psnr: float
    psnrs: Float[np.ndarray, " n"]
    drops: Float[np.ndarray, " n"]
    reasons: Mapping[int, str]
    linear: bool
    skips: bool

    def rank_correlation(self, scores: Sequence[float] | np.ndarray | Tensor) -> float:
        """Spearman's correlation of the drops with a score for each channel of the layer, such as saliency's, over the ablated channels
        whose drop is a number. NaN where one side is the same for all."""
        scores = np.asarray(scores, dtype=np.float64)[list(self.channels)]
        known = np.isfinite(self.drops)
        return rank_correlation(self.drops[known], scores[known])


@dataclass(frozen=True)
class Cumulative:
    """What switching off more and more channels costs. orders: (n, C), channels in the order in which they go. psnrs: (n, C + 1) dB, column
    k with the first k off; at k = C what is left is the layers' bias and the picture's base. reasons: why values are NaN, by (order, k)."""

    site: str
    rescale: str
    protocol: str
    order: str
    orders: np.ndarray
    psnrs: Float[np.ndarray, "n ks"]
    reasons: Mapping[tuple[int, int], str]
    linear: bool
    skips: bool

    def band(self, share: float = 0.95) -> tuple[Float[np.ndarray, " ks"], Float[np.ndarray, " ks"], Float[np.ndarray, " ks"]]:
        """(low, mean, high) over the orders: between low and high lie that share of them."""
        low, high = np.quantile(self.psnrs, [(1 - share) / 2, (1 + share) / 2], axis=0)
        return low, self.psnrs.mean(0), high


def ablate(
    net: nn.Module,
    picture: Float[Tensor, "1 3 h w"],
    hr: UInt8[Tensor, "3 H W"],
    site: str = "last",
    *,
    rescale: Rescale = "absolute",
    protocol: Protocol = "benchmark",
    crop: int | None = None,
    channels: Iterable[int] | None = None,
    fast: bool = True,
    progress: Progress | None = None,
) -> Ablation:
    """Switches off each channel i of a site by itself, and measures the PSNR of the output against the ground truth.

    rescale: the others times S / (S − S_i), so that the layer's sum stays what it was. "absolute": S of absolute values, as the paper's
    code does; "plain": of values, as its text says, which may vanish or change its sign (NaN, with a reason); "none". What the layer
    leads to, a base and biases, is not rescaled. channels: by default all. fast: faster convolutions, equal to rounding.
    protocol, crop: as in `psnrs`. progress: called with (done, all). Raises UserError for sites as `suffix` does, and for wrong sizes."""
    measured = _Measured(net, picture, hr, site, rescale, protocol, crop, fast=fast)
    count = measured.channels
    chosen = tuple(range(count)) if channels is None else tuple(channels)
    if wrong := [c for c in chosen if not 0 <= c < count]:
        raise UserError(f"site {site!r} has channels 0 to {count - 1}, and no channel {wrong[0]}")
    factors = {c: measured.factor([c]) for c in chosen}
    found = np.full(len(chosen), np.nan)
    for n, value in enumerate(measured.without_one([(c, factors[c][0]) for c in chosen])):
        found[n] = value
        if progress is not None:
            progress(n + 1, len(chosen))
    reasons = {c: reason for c, (_, reason) in factors.items() if reason}
    drops = np.array([0.0 if value == measured.psnr else measured.psnr - value for value in found])
    return Ablation(
        site, rescale, measured.protocol, chosen, measured.psnr, found, drops, reasons, measured.linear is not None, measured.rest.skips
    )


def cumulative(
    net: nn.Module,
    picture: Float[Tensor, "1 3 h w"],
    hr: UInt8[Tensor, "3 H W"],
    site: str = "last",
    *,
    order: str | Sequence[int] = "index",
    scores: Sequence[float] | np.ndarray | Tensor | None = None,
    orders: int = 20,
    seed: int = 0,
    rescale: Rescale = "absolute",
    protocol: Protocol = "benchmark",
    crop: int | None = None,
    fast: bool = True,
    progress: Progress | None = None,
) -> Cumulative:
    """Switches off the first k channels of an order, for k = 0 to C, rescaled from the original sums: by S / (S − Σ S_j).

    order: "index"; "important-first" or "important-last", by `scores` (C,) of which a larger one matters more, ties by index; "random",
    as many as `orders` from a `seed`; or channels by index. With all channels off the feature is 0, and not rescaled. Else as `ablate`."""
    measured = _Measured(net, picture, hr, site, rescale, protocol, crop, fast=fast)
    name, ways = _orders(order, measured.channels, scores, orders, seed)
    found = np.full((len(ways), measured.channels + 1), np.nan)
    reasons: dict[tuple[int, int], str] = {}
    for i, way in enumerate(ways):
        factors = [measured.factor(way[:k].tolist()) for k in range(len(way) + 1)]
        reasons |= {(i, k): reason for k, (_, reason) in enumerate(factors) if reason}
        for k, value in enumerate(measured.without_more(way.tolist(), [factor for factor, _ in factors])):
            found[i, k] = value
            if progress is not None:
                progress(i * found.shape[1] + k + 1, found.size)
    linear = measured.linear is not None
    return Cumulative(site, rescale, measured.protocol, name, ways, found, reasons, linear, measured.rest.skips)


def psnrs(
    outputs: Float[Tensor, "b 3 H W"], hr: UInt8[Tensor, "3 H W"], *, protocol: Protocol = "benchmark", crop: int = 0
) -> Float[np.ndarray, " b"]:
    """PSNR in dB of outputs, not clamped, against one ground truth: all three channels of the pixels inside a border.

    protocol: "benchmark" rounds to 8 bits, as `wildsr bench` does; "paper" cuts off, as the code of Reflash Dropout. Both clamp to [0, 1]
    first. Infinite where equal."""
    height, width = hr.shape[-2:]
    area = (..., slice(crop, height - crop), slice(crop, width - crop))
    levels = outputs[area].float().clamp(0, 1).mul_(255)
    levels = levels.trunc_() if protocol == "paper" else levels.round_()
    # Whole numbers, whose sum over a row is exact in float32 below 2^24: a mean error of 180 levels in a row of 512 pixels.
    errors = levels.sub_(hr[area]).square_().sum(-1).double().mean((1, 2)) / levels.shape[-1]
    return np.array([math.inf if error == 0 else 10 * math.log10(255**2 / error) for error in errors.tolist()])


class _Measured:
    """A picture's output from a site, and how it is compared."""

    @torch.no_grad()
    def __init__(
        self, net: nn.Module, picture: Tensor, hr: Tensor, site: str, rescale: str, protocol: str, crop: int | None, *, fast: bool
    ) -> None:
        if rescale not in RESCALES:
            raise UserError(f"unknown rescale {rescale!r}: {nearest(rescale, RESCALES)}")
        if protocol not in ("benchmark", "paper"):
            raise UserError(f"unknown protocol {protocol!r}: {nearest(protocol, ('benchmark', 'paper'))}")
        scale = hr.shape[-1] // picture.shape[-1]
        self._crop = crop if crop is not None else scale if protocol == "benchmark" else 0
        self._kind: Protocol = "paper" if protocol == "paper" else "benchmark"
        self.protocol = f"psnr-rgb-crop{self._crop}-{'truncated' if protocol == 'paper' else 'uint8'}/1"
        self.rest: Suffix = suffix(net, picture, site, fast=fast)
        self._hr = hr.to(picture.device)
        if self.rest.output.shape[1:] != hr.shape:
            given, made = (f"{shape[-1]}×{shape[-2]}" for shape in (hr.shape, self.rest.output.shape))
            raise UserError(
                f"the ground truth is {given} (width×height), and the output of {type(net).__name__} {made}: they must be equal"
            )
        if min(hr.shape[-2:]) <= 2 * self._crop:
            raise UserError(f"a picture of {hr.shape[-1]}×{hr.shape[-2]} has nothing inside a border of {self._crop}")
        self.channels = self.rest.feature.shape[1]
        feature, measure = self.rest.feature[0], RESCALES[rescale]
        self._sums = None if measure is None else measure(feature).sum((1, 2), dtype=torch.float64).tolist()
        self._sizes = None if rescale != "plain" else feature.abs().sum((1, 2), dtype=torch.float64).tolist()
        self.psnr = self._psnr(self.rest.output)
        self.linear = _Linear.of(self.rest)

    def _psnr(self, output: Tensor) -> float:
        return float(psnrs(output, self._hr, protocol=self._kind, crop=self._crop)[0])

    def factor(self, off: Sequence[int]) -> tuple[float, str]:
        """What the channels that are left are multiplied by; NaN with a reason where that is not defined. 1 where nothing is left."""
        if self._sums is None or not off:
            return 1.0, ""
        on = sorted(set(range(self.channels)) - set(off))
        whole, left = math.fsum(self._sums), math.fsum(self._sums[c] for c in on)
        if self._sizes is not None:
            if abs(left) <= _VANISHES * math.fsum(self._sizes[c] for c in on):
                return (1.0, "") if not any(self._sizes[c] for c in on) else (math.nan, "the plain sum of what is left vanishes")
            if abs(whole) <= _VANISHES * math.fsum(self._sizes):
                return math.nan, "the layer's plain sum vanishes"
            if whole / left < 0:
                return math.nan, "the plain sum of what is left has the other sign"
        return whole / left if left else 1.0, ""

    @torch.no_grad()
    def without_one(self, ways: Sequence[tuple[int, float]]) -> Iterator[float]:
        """PSNR with each channel off and the others times a factor; NaN for a factor of NaN."""
        if self.linear is None:
            yield from (self._without([c], factor) for c, factor in ways)
            return
        for (_, factor), alone in zip(ways, self.rest.alone([c for c, _ in ways]), strict=True):
            left = self.linear.all - alone
            yield self._psnr(left.mul_(factor).add_(self.linear.nothing)) if factor == factor else math.nan

    @torch.no_grad()
    def without_more(self, way: Sequence[int], factors: Sequence[float]) -> Iterator[float]:
        """PSNR with the first k channels off and the others times the k-th factor, k = 0 to C; NaN for a factor of NaN."""
        if self.linear is None:
            yield from (self._without(way[:k], factor) for k, factor in enumerate(factors))
            return
        left, alone = self.linear.all - self.linear.nothing, self.rest.alone(way)
        for k, factor in enumerate(factors):
            if k == 0:
                yield self.psnr
                continue
            left += self.linear.nothing
            left -= next(alone)
            if k == len(way):
                yield self._psnr(self.linear.nothing)
            else:
                yield self._psnr(torch.add(self.linear.nothing, left, alpha=factor)) if factor == factor else math.nan

    def _without(self, off: Sequence[int], factor: float) -> float:
        if factor != factor:
            return math.nan
        if not off:
            return self.psnr
        weights = torch.full((self.channels,), factor, dtype=torch.float64)
        weights[list(off)] = 0
        return self._psnr(self.rest(self.rest.feature * weights.to(self.rest.feature).view(1, -1, 1, 1)))


@dataclass(frozen=True)
class _Linear:
    """A site from which the output is a sum over the channels: all = nothing + Σ (alone_c − nothing), `nothing` being that of a feature of
    zeros."""

    all: Tensor
    nothing: Tensor

    @staticmethod
    def of(rest: Suffix) -> "_Linear | None":
        """Found by numbers: one Conv2d reads the feature, and the output is affine in it, to rounding; then it is what all channels make of
        it alone, summed. None where that is not so."""
        if not (rest.convolved and rest.skips):
            return None
        zeros = torch.zeros_like(rest.feature)
        nothing = rest(zeros)
        size = 3e-6 * max(1.0, rest.output.abs().max().item())
        # Backwards, where whatever bends, such as an activation or a clamp, bends otherwise.
        backwards = rest(torch.mul(rest.feature, -0.5, out=zeros))
        affine = torch.allclose(backwards, torch.lerp(nothing, rest.output, -0.5), rtol=0, atol=size)
        return _Linear(rest.output.contiguous(), nothing.contiguous()) if affine else None


def _orders(
    order: str | Sequence[int], channels: int, scores: Sequence[float] | np.ndarray | Tensor | None, count: int, seed: int
) -> tuple[str, np.ndarray]:
    """A name and (n, C) channels."""
    if not isinstance(order, str):
        if sorted(order) != list(range(channels)):
            raise UserError(f"an order of {channels} channels names each of 0 to {channels - 1} once: {list(order)} does not")
        return "given", np.array([order])
    if order == "index":
        return order, np.arange(channels)[None]
    if order == "random":
        if count < 1:
            raise UserError(f"orders = {count}: at least one random order is needed")
        return order, np.array([chance.generator(seed, "cumulative ablation", n).permutation(channels) for n in range(count)])
    if order not in ORDERS:
        raise UserError(f"unknown order {order!r}: {nearest(order, ORDERS)}")
    if scores is None or len(scores) != channels:
        raise UserError(
            f"order {order!r} needs a score for each of the {channels} channels: there are {0 if scores is None else len(scores)}"
        )
    values = np.asarray(scores, dtype=np.float64)
    return order, np.argsort(-values if order == "important-first" else values, kind="stable")[None]
