"""Errors planted in the twin, to see which comparison notices them."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import slow_degradation as slow
import torch
import torch.nn.functional as F
from torch import Tensor

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
