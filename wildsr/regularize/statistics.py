"""Simple-Align's statistics of pooled features, each with its gradient in closed form.

There are few values and many small operations: on a GPU each costs a launch, on a CPU a call. Closed forms need fewer than autograd, and
no graph. Every function here returns its value and a pullback: what turns a gradient of the value into one of the argument."""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import vecdot

Pullback = Callable[[Tensor], Tensor]


def discrepancy(
    x: Float[Tensor, "b c"], y: Float[Tensor, "b c"], *, first: bool = True, second: bool = True
) -> tuple[Float[Tensor, " b"], Float[Tensor, "b c"], Float[Tensor, "b c"]]:
    """r(x, y) = [first] |x − y|²/C + [second] ‖xxᵀ − yyᵀ‖²_F/C², a value a pair, and its gradients by x and by y, all in O(C).

    With d = x − y, a = x + y the norm is (|a|²|d|² + (a·d)²)/2, which does not cancel in float32 when the views are close."""
    part = 1 / x.shape[1]
    d, a = x - y, x + y
    dd = vecdot(d, d)
    by_d = (d + d) if first else torch.zeros_like(d)
    if not second:
        return dd * part, by_d * part, by_d * -part
    aa, ad = vecdot(a, a), vecdot(a, d)
    norm = torch.addcmul(ad * ad, aa, dd)
    value = torch.add(dd, norm, alpha=part / 2) if first else norm * (part / 2)
    aa, ad, dd = aa.unsqueeze(1), ad.unsqueeze(1), dd.unsqueeze(1)
    # What is multiplied by C is divided by it at the end.
    by_d = torch.addcmul(torch.addcmul(by_d, aa, d, value=part), ad, a, value=part)
    by_a = torch.addcmul(dd * a, ad, d)
    return value * part, torch.add(by_d, by_a, alpha=part) * part, torch.sub(by_d, by_a, alpha=part) * -part


def random_map(
    x: Float[Tensor, "*views b c"], frequency: Float[Tensor, "b 1"], phase: Float[Tensor, "b c"]
) -> tuple[Float[Tensor, "*views b c"], Pullback]:
    """The reference's random Fourier map: t = w·x + b, m = (π/2)·(t − min t)/(max t − min t) over the channels, √2(cos m + sin m), which
    is 2 sin(m + π/4).

    Values lie in [√2, 2]. A t that is the same in all channels has m = 0. Minimum and maximum take part in the gradient."""
    t = torch.addcmul(phase, frequency, x)
    (low, lowest), (high, highest) = t.min(-1, keepdim=True), t.max(-1, keepdim=True)
    span = high - low
    span = span + (span == 0)
    share = (t - low) / span
    angle = share * (math.pi / 2) + math.pi / 4

    def pullback(gradient: Tensor) -> Tensor:
        by_t = gradient * angle.cos() / span
        to_high = vecdot(by_t, share).unsqueeze(-1)
        ends = torch.cat([to_high - by_t.sum(-1, keepdim=True), -to_high], -1)
        return by_t.scatter_add_(-1, torch.cat([lowest, highest], -1), ends) * (frequency * math.pi)

    return 2 * angle.sin(), pullback


def fourier_features(
    x: Float[Tensor, "*views b c"], frequencies: Float[Tensor, "d c"], phases: Float[Tensor, " d"]
) -> tuple[Float[Tensor, "*views b d"], Pullback]:
    """Random Fourier features (Rahimi and Recht 2007): √(2/D)·cos(Wx + b); their inner products approach the kernel
    exp(−|x − y|²/(2σ²)) for W ~ N(0, 1/σ²), b ~ U[0, 2π)."""
    angle = x @ frequencies.T + phases
    scale = math.sqrt(2 / len(phases))
    return scale * angle.cos(), lambda gradient: (gradient * angle.sin()) @ (frequencies * -scale)


def centred(views: Float[Tensor, "v b c"]) -> Float[Tensor, "v b c"]:
    """Each view minus its mean over the batch; the map is its own pullback."""
    return torch.sub(views, views.sum(1, keepdim=True), alpha=1 / views.shape[1])


class _Known(torch.autograd.Function):
    """A value whose gradient by `x` is known already."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return gradients[0] * ctx.saved_tensors[0], None, None


def known(x: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """`value`, a scalar that autograd is to differentiate by `x` to `gradient`."""
    return _Known.apply(x, value, gradient)  # pyright: ignore[reportReturnType]


class _SpatialMean(torch.autograd.Function):
    """The mean's own backward makes a gradient as large as the feature. This one hands on a view of the small one, which autograd adds
    in place to the gradient that the rest of the network made."""

    @staticmethod
    def forward(ctx: Any, feature: Tensor) -> Tensor:
        ctx.shape, ctx.dtype = feature.shape, feature.dtype
        return feature.mean((2, 3), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        h, w = ctx.shape[2:]
        return (gradients[0] / (h * w)).to(ctx.dtype)[:, :, None, None].expand(ctx.shape)


def spatial_mean(feature: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c"]:
    """The mean over height and width, in float32."""
    if torch.compiler.is_compiling():  # a compiler sees to it by itself
        return feature.mean((2, 3), dtype=torch.float32)
    return _SpatialMean.apply(feature)  # pyright: ignore[reportReturnType]
