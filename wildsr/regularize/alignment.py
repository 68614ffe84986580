"""Simple-Align: the statistics of the features of two degraded views of a picture, brought together."""

from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from wildsr.config import Positive
from wildsr.errors import UserError
from wildsr.regularize.regularizer import Drawn, Regularizer, Rows
from wildsr.regularize.statistics import Pullback, centred, discrepancy, fourier_features, known, random_map, spatial_mean


class FeatureAlignment(Regularizer, frozen=True):
    """Simple-Align (Navigating Beyond Dropout, CVPR 2024): aligns the first- and second-order statistics of the features of two degraded
    views of each picture, directly and after a random map; formulas as the public code computes them.

    With u, v the spatial means of the two views, each centred over the batch, r(u, v) = |u − v|²/C + ‖uuᵀ − vvᵀ‖²_F/C²; the loss is
    weight · Σ [linear] r(u, v) + [nonlinear] r(φ(u), φ(v)), Σ over the pairs ("sum", as in the reference) or their mean. Batches of one
    picture are refused: u = v = 0. Over several processes, the batch is that of all of them; with gradients accumulated over
    micro-batches, each of these is centred by itself.

    random_map: "reference" is the public code's φ, drawn anew for each pair (`random_map`); "textbook" the random Fourier features of a
    Gaussian kernel, one map for all pairs of a step (`fourier_features`), with `features` of them and the kernel's width `bandwidth`."""

    views: ClassVar[int] = 2
    name: Literal["alignment"] = "alignment"
    weight: Annotated[float, Field(ge=0)] = 1.0
    linear: bool = True
    nonlinear: bool = True
    first_order: bool = True
    second_order: bool = True
    reduction: Literal["sum", "mean"] = "sum"
    random_map: Literal["reference", "textbook"] = "reference"
    features: Positive = 64
    bandwidth: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _check(self) -> "FeatureAlignment":
        for one, other in (("linear", "nonlinear"), ("first_order", "second_order")):
            if not getattr(self, one) and not getattr(self, other):
                raise ValueError(f"{one} and {other} are both false, and nothing is left to align: keep one")
        return self

    @property
    def summed(self) -> bool:
        return self.reduction == "sum"

    def draw(self, rows: int, channels: int, generator: torch.Generator, progress: float, place: int) -> dict[str, Tensor]:
        if self.random_map == "textbook":
            frequencies = torch.randn((self.features, channels), generator=generator) / self.bandwidth
            return {"frequencies": frequencies, "phases": torch.rand(self.features, generator=generator) * (2 * torch.pi)}
        frequency = torch.randn((rows, 1), generator=generator)
        return {"frequency": frequency, "phase": torch.rand((rows, channels), generator=generator) * (2 * torch.pi)}

    def observe(self, feature: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c"]:
        return spatial_mean(feature)

    def charge(self, observed: Float[Tensor, "n c"], drawn: Drawn, rows: Rows) -> dict[str, Tensor]:
        if len(observed) % 2 or len(observed) < 4:
            raise UserError(
                f"alignment needs two views of at least two pictures, not a batch of {len(observed)}: its statistics are centred over "
                "the pictures of a batch and vanish for a single one"
            )
        value, gradient = self._value_and_gradient(observed.detach().reshape(2, -1, observed.shape[1]), drawn, rows)
        scale = self.weight if self.reduction == "sum" else self.weight / gradient.shape[1]
        return {"align": known(observed, value * scale, gradient.reshape(observed.shape) * scale)}

    @torch.no_grad()
    def _value_and_gradient(self, views: Float[Tensor, "2 b c"], drawn: Drawn, rows: Rows) -> tuple[Tensor, Float[Tensor, "2 b c"]]:
        """The sum over the pairs, and its gradient by the pooled features."""
        views = centred(views)
        terms: list[tuple[Tensor, Pullback]] = []
        if self.linear:
            terms.append((views, lambda gradient: gradient))
        if self.nonlinear and self.random_map == "textbook":
            terms.append(fourier_features(views, drawn["frequencies"], drawn["phases"]))
        elif self.nonlinear:
            pairs = views.shape[1]
            terms.append(random_map(views, rows(drawn["frequency"])[:pairs], rows(drawn["phase"])[:pairs]))
        # Terms as wide as each other are compared in one go.
        if len({term.shape for term, _ in terms}) == 1:
            value, gradient = self._compare(torch.cat([term for term, _ in terms], 1))
            gradients = gradient.chunk(len(terms), 1)
        else:
            compared = [self._compare(term) for term, _ in terms]
            value, gradients = torch.stack([value for value, _ in compared]).sum(), [gradient for _, gradient in compared]
        parts = [pullback(gradient) for (_, pullback), gradient in zip(terms, gradients, strict=True)]
        return value, centred(parts[0] if len(parts) == 1 else parts[0] + parts[1])

    def _compare(self, views: Float[Tensor, "2 n c"]) -> tuple[Tensor, Float[Tensor, "2 n c"]]:
        each, by_u, by_v = discrepancy(views[0], views[1], first=self.first_order, second=self.second_order)
        return each.sum(), torch.stack([by_u, by_v])
