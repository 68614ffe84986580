"""What a regulariser is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from wildsr.config import Strict

Drawn = Mapping[str, Tensor]
Rows = Callable[[Tensor], Tensor]


class Regularizer(Strict, ABC, frozen=True):
    """One regulariser at one site, or at a named group of sites. Final subclasses are frozen configurations: nothing changes.

    `views` is the number of degraded views of each HR picture in a batch: (views·B, C, H, W), one view after the other."""

    views: ClassVar[int] = 1
    name: str
    site: str = "last"

    @property
    def summed(self) -> bool:
        """Whether `charge` sums over the pictures, rather than taking their mean: then micro-batches' losses add up."""
        return False

    @abstractmethod
    def draw(self, rows: int, channels: int, generator: torch.Generator, progress: float, place: int) -> dict[str, Tensor]:
        """All chance of one step at one place, on the CPU: tensors of always the same shapes, whose first axis may be `rows`, a row for
        each sample there can be. `progress`: share of the run in [0, 1]; `place`: number of the place in its group, from 1."""

    def change(self, feature: Float[Tensor, "n c h w"], drawn: Drawn, rows: Rows) -> Float[Tensor, "n c h w"] | None:
        """The feature that takes the place of the network's own; None leaves it. `rows` takes the batch's rows out of a drawn tensor."""

    def observe(self, feature: Float[Tensor, "n c h w"]) -> Tensor | None:
        """What `charge` needs to know of the feature, its first axis the sample; None for nothing."""

    def charge(self, observed: Tensor, drawn: Drawn, rows: Rows) -> dict[str, Tensor]:
        """Losses by name, in float32 outside autocast, for what was observed of the whole batch, over all processes. `rows` takes the rows
        of `observed` out of a drawn tensor."""
        return {}
