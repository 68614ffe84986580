"""Metrics of other libraries, where they are installed: perceptual ones, and measures of a result alone, without a ground truth.

What they do is theirs to define, so that the library and its version stand in the protocol. They are imported when they are needed."""

import functools
import importlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from wildsr import images
from wildsr.config import nearest
from wildsr.errors import UserError
from wildsr.metrics.score import Better, Metric, Score, inside

NIQE_BLOCK = 96
"""Side in pixels of the blocks whose statistics NIQE compares; a smaller picture has none (Mittal, Soundararajan & Bovik 2013)."""


def perceptual(name: str) -> Metric:
    """A metric of pyiqa by its name there ("lpips", "dists", "musiq"), on RGB in [0, 1] inside the border, on the CPU.

    Those that compare with a ground truth get both pictures, others the result alone. Networks may be downloaded; neither pyiqa nor many
    of its networks may be used commercially. Raises UserError where pyiqa is missing, and for a name that it does not know."""
    version = _installed("pyiqa", "pyiqa")
    if version is None:
        raise UserError(f"{name} needs pyiqa, which is not installed: pip install 'wildsr[pyiqa]' (its licence forbids commercial use)")
    pyiqa = importlib.import_module("pyiqa")
    if name not in (known := pyiqa.list_models()):
        raise UserError(f"pyiqa has no metric {name!r}: {nearest(name, known)}")
    better: Better = "lower" if _network(name).lower_better else "higher"
    if name in pyiqa.list_models(metric_mode="NR"):
        return _alone(name, functools.partial(_ask, name), 1, better, f"pyiqa-{version}")

    def compare(sr: UInt8[Tensor, "3 h w"], hr: UInt8[Tensor, "3 h w"], *, crop: int, scale: int) -> list[Score]:
        del scale
        return [Score(_ask(name, *inside(sr, hr, crop, smallest=1)), name, "rgb", crop, f"pyiqa-{version}")]

    return Metric(compare, 1, ("rgb",), better, version=f"pyiqa-{version}")


def no_reference() -> dict[str, Metric]:
    """Measures of a result alone, by name: those that installed libraries offer, perhaps none. They can be called with (sr) only.

    `blur-effect` (scikit-image): how little a second blur changes the edges, from 0, sharp, to 1 (Crété et al. 2007); lower is better.
    `niqe` (pyiqa): how far the statistics of blocks are from those of good photographs (Mittal et al. 2013); lower is better."""
    found: dict[str, Metric] = {}
    if version := _installed("skimage", "scikit-image"):
        found["blur-effect"] = _alone("blur-effect", _blur_effect, 11, "lower", f"scikit-image-{version}")
    if version := _installed("pyiqa", "pyiqa"):
        found["niqe"] = _alone("niqe", functools.partial(_ask, "niqe"), NIQE_BLOCK, "lower", f"pyiqa-{version}")
    return found


def _installed(module: str, package: str) -> str | None:
    """The version of a package that can be imported, without importing it."""
    try:
        return importlib.metadata.version(package) if importlib.util.find_spec(module) else None
    except importlib.metadata.PackageNotFoundError:
        return None


def _alone(name: str, ask: Callable[[Tensor], float], smallest: int, better: Better, version: str) -> Metric:
    def measure(sr: UInt8[Tensor, "3 h w"], hr: Tensor | None = None, *, crop: int = 0, scale: int = 1) -> list[Score]:
        del hr, scale
        return [Score(ask(inside(sr, sr, crop, smallest)[0]), name, "rgb", crop, version)]

    return Metric(measure, smallest, ("rgb",), better, needs_hr=False, version=version)


_LOADING = threading.Lock()
_NETWORKS: dict[str, Any] = {}


def _network(name: str) -> Any:
    """pyiqa's metric of that name, loaded once. Scores are taken by several threads."""
    with _LOADING:
        if name not in _NETWORKS:
            _NETWORKS[name] = importlib.import_module("pyiqa").create_metric(name, device=torch.device("cpu"))
        return _NETWORKS[name]


def _ask(name: str, *pictures: UInt8[Tensor, "3 h w"]) -> float:
    with torch.inference_mode():
        return float(_network(name)(*(images.to_float(picture).unsqueeze(0) for picture in pictures)))


def _blur_effect(sr: UInt8[Tensor, "3 h w"]) -> float:
    from skimage.measure import blur_effect

    strength: Any = blur_effect(sr.permute(1, 2, 0).numpy(), h_size=11, channel_axis=-1)
    return float(strength)
