"""A measured value and what it was measured with, and what all metrics on pairs of pictures share."""

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from wildsr.errors import UserError

Space = Literal["rgb", "y"]
Better = Literal["higher", "lower", "zero"]
"""Which values are better; "zero": those near 0."""
Result = TypeVar("Result")


def protocol(metric: str, space: Space, crop: int, version: str = "1") -> str:
    """Metric, colour space, border cropped on each side in pixels, quantisation, and the version of the definition."""
    return f"{metric}-{space}-crop{crop}-uint8/{version}"


@dataclass(frozen=True)
class Score:
    """One measured value. `value` is infinite for the PSNR of identical pictures. `version`: that of the definition, or the library
    that measured and its version."""

    value: float
    metric: str
    space: Space
    crop: int
    version: str = "1"

    @property
    def protocol(self) -> str:
        """What it was measured with; see the function `protocol`."""
        return protocol(self.metric, self.space, self.crop, self.version)

    def __sub__(self, other: "Score") -> float:
        """The difference in the metric's own unit. Raises UserError when the protocols differ."""
        if self.protocol != other.protocol:
            raise UserError(f"scores of different protocol cannot be compared: {self.protocol} and {other.protocol}")
        return self.value - other.value


@dataclass(frozen=True)
class Metric:
    """A way to measure, called with (sr, hr, *, crop, scale): uint8 pictures (3, h, w), the border to leave out and the factor of
    upscaling. Returns a score for each of its `spaces`, or fewer where one is undefined.

    smallest: least side in pixels that must be left inside the border. needs_hr: whether it compares with a ground truth; one that does
    not can be called with the result alone."""

    measure: Callable[..., list[Score]]
    smallest: int
    spaces: tuple[Space, ...] = ("rgb", "y")
    better: Better = "higher"
    needs_hr: bool = True
    version: str = "1"

    def __call__(self, *pictures: Tensor | None, **how: Any) -> list[Score]:
        """Measures."""
        return self.measure(*pictures, **how)


def inside(
    sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], crop: int, smallest: int
) -> tuple[UInt8[Tensor, "3 h2 w2"], UInt8[Tensor, "3 h2 w2"]]:
    """Both pictures without the border. Raises UserError on unequal sizes, and where fewer than `smallest` pixels a side are left."""
    if sr.shape != hr.shape:
        raise UserError(f"pictures of different size cannot be compared: {_size(sr)} and {_size(hr)} (width×height)")
    if min(hr.shape[-2:]) - 2 * crop < smallest:
        raise UserError(f"a picture of {_size(hr)} is too small: {smallest} pixels must be left inside a border of {crop}")
    area = (slice(None), slice(crop, hr.shape[1] - crop), slice(crop, hr.shape[2] - crop))
    return sr[area], hr[area]


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-1]}×{picture.shape[-2]}"


def remembered(function: Callable[..., Result]) -> Callable[..., Result]:
    """Keeps each thread's last result of function(sr, hr, *rest), so that the metrics of one pair share what they have in common.

    Pictures are compared by content with copies, which costs little beside measuring: what is asked again may have been overwritten."""
    kept = threading.local()

    @functools.wraps(function)
    def asked(sr: Tensor, hr: Tensor, *rest: Any) -> Result:
        last = getattr(kept, "last", None)
        # By NumPy, which compares bytes ten times as fast.
        pictures = (sr.numpy(), hr.numpy())
        if last is None or last[1] != rest or not all(map(np.array_equal, last[0], pictures)):
            last = kept.last = (tuple(picture.copy() for picture in pictures), rest, function(sr, hr, *rest))
        return last[2]

    return asked
