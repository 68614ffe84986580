"""One degradation alone: bicubic resizing."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from wildsr.config import Strict

Params = dict[str, Tensor]
"""What was drawn for some samples: name -> tensor whose first axis is the sample."""


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

    def patches(
        self, hr: Float[Tensor, "b 3 h w"], params: Params, scale: int, corners: Int[Tensor, "b 2"], size: tuple[int, int]
    ) -> Float[Tensor, "b 3 h2 w2"]:
        """A window of each degraded picture, by its top left corner (row, column) and its size (height, width) in LR pixels."""
        lr, (height, width) = self.apply(hr, params, scale), size
        return torch.stack([one[:, top : top + height, left : left + width] for one, (top, left) in zip(lr, corners.tolist(), strict=True)])
