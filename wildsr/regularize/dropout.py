"""Dropout of features: Reflash Dropout's, and Adaptive Dropout's."""

from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import BeforeValidator, Field
from torch import Tensor

from wildsr import chance
from wildsr.regularize.regularizer import Drawn, Regularizer, Rows


def _curve(value: Any) -> float | tuple[tuple[float, float], ...]:
    hint = f"{value!r} is neither a number in [0, 1) nor points [[progress, p], ...] with progress ascending within [0, 1]"
    try:
        points = tuple((float(x), float(y)) for x, y in value) if isinstance(value, list | tuple) else ((0.0, float(value)),)
    except (TypeError, ValueError):
        raise ValueError(hint) from None
    ascending = [x for x, _ in points] == sorted(x for x, _ in points)
    if not points or not ascending or not all(0 <= x <= 1 and 0 <= y < 1 for x, y in points):
        raise ValueError(hint)
    return points if isinstance(value, list | tuple) else points[0][1]


Curve = Annotated[float | tuple[tuple[float, float], ...], BeforeValidator(_curve)]
"""A probability in [0, 1), or its course over the run as points (progress, p) with straight lines between them; two points at one
progress make a step."""


def at(curve: float | tuple[tuple[float, float], ...], progress: float) -> float:
    """The value of a curve at a share of the run in [0, 1]; before the first point it is the first's, after the last the last's."""
    if isinstance(curve, float | int):
        return float(curve)
    before = [point for point in curve if point[0] <= progress] or [curve[0]]
    after = [point for point in curve if point[0] > progress] or [curve[-1]]
    (x0, y0), (x1, y1) = before[-1], after[0]
    return y0 if x1 <= x0 or progress <= x0 else y0 + (y1 - y0) * (progress - x0) / (x1 - x0)


class FeatureDropout(Regularizer, frozen=True):
    """Dropout of features (Reflash Dropout, CVPR 2022, Section 4): m·x / (1 − p), m ~ Bernoulli(1 − p).

    dimension: "channel" draws m for each sample and channel, "element" for each value. site: "last" is the paper's final choice, with
    p = 0.7 for SRResNet and 0.5 for RRDBNet; "block4" … "block16", "all-part", "half-part", "quarter-part" and "every-conv" are the
    others of its study; a "-part" also comes as "-part-conv2", the other reading of the dropped residual block.
    p may follow the run: [[0, 0.7], [1, 0]] falls in a line from 0.7 to 0."""

    name: Literal["dropout"] = "dropout"
    p: Curve = 0.7
    dimension: Literal["channel", "element"] = "channel"

    def draw(self, rows: int, channels: int, generator: torch.Generator, progress: float, place: int) -> dict[str, Tensor]:
        p = at(self.p, progress)
        if self.dimension == "channel":
            return {"factor": channel_mask(rows, channels, p, generator)}
        keys = torch.randint(-(1 << 31), 1 << 31, (rows, 1, 1, 1), generator=generator, dtype=torch.int32)
        threshold = torch.tensor([int(p * (1 << 32)) - (1 << 31)], dtype=torch.int32)
        return {"key": keys, "threshold": threshold, "kept": torch.tensor([1 - p])}

    def change(self, feature: Float[Tensor, "n c h w"], drawn: Drawn, rows: Rows) -> Float[Tensor, "n c h w"]:
        # The factor stays in float32, also for features in bf16: rounded, it would move the mean.
        if self.dimension == "channel":
            return (feature * rows(drawn["factor"])).to(feature.dtype)
        dropped = random_bits(rows(drawn["key"]), feature) < drawn["threshold"]
        return (feature / drawn["kept"]).to(feature.dtype).masked_fill_(dropped, 0)


class AdaptiveDropout(Regularizer, frozen=True):
    """Adaptive Dropout (CVPR 2025): a·x + (1 − a)·D_p(x), D_p channel dropout; places are released one after the other, from the
    shallowest on, as training goes on.

    Place k (from 1) is released, a = 1, from progress k/stages on: with 17 places and 25 stages, every 20,000 of 500,000 steps, as in the
    public code. a: 0.3 is what its training passes, 0.7 what its checkpoint's name says; which one the published model has is unknown."""

    name: Literal["adaptive-dropout"] = "adaptive-dropout"
    site: str = "adaptive"
    p: Annotated[float, Field(ge=0, lt=1)] = 0.5
    a: Annotated[float, Field(ge=0, le=1)] = 0.3
    stages: Annotated[int, Field(ge=1)] = 25

    def mixing(self, progress: float, place: int) -> float:
        """a of a place, counted from 1, at a share of the run in [0, 1]."""
        return 1.0 if progress >= place / self.stages else self.a

    def draw(self, rows: int, channels: int, generator: torch.Generator, progress: float, place: int) -> dict[str, Tensor]:
        a, mask = self.mixing(progress, place), channel_mask(rows, channels, self.p, generator)
        return {"factor": a + (1 - a) * mask}

    def change(self, feature: Float[Tensor, "n c h w"], drawn: Drawn, rows: Rows) -> Float[Tensor, "n c h w"]:
        return (feature * rows(drawn["factor"])).to(feature.dtype)


def channel_mask(rows: int, channels: int, p: float, generator: torch.Generator) -> Float[Tensor, "rows channels 1 1"]:
    """m / (1 − p), m ~ Bernoulli(1 − p), a value for each row and channel."""
    return (torch.rand((rows, channels, 1, 1), generator=generator) >= p) / (1 - p)


def random_bits(keys: Int[Tensor, "n 1 1 1"], like: Float[Tensor, "n c h w"]) -> Int[Tensor, "n c h w"]:
    """Pseudo-random int32, uniform over all their values: a pure function of each sample's key and the value's index (c, h, w), the same
    on every device and for any memory layout, with nothing to keep.

    The index is hashed, then once more with the key; the last step, a product, leaves its best bits on top, which decide comparisons."""
    _, c, h, w = like.shape
    index = torch.arange(c * h * w, device=keys.device, dtype=torch.int32).view(1, c, h, w)
    if like.is_contiguous(memory_format=torch.channels_last):
        index = index.contiguous(memory_format=torch.channels_last)
    x = chance.mixed(index) ^ keys
    # From here on there are as many values as in the feature: in place, for memory that is new is slow.
    x.mul_(chance.FIRST)
    return x.bitwise_xor_((x >> 15).bitwise_and_(0x1FFFF)).mul_(chance.SECOND)
