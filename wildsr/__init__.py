"""wildsr: super-resolution that holds up on degradations it never saw, and numbers for it that can be checked.

The names below are the public API, beside the functions that bear their module's name (`wildsr.train.train`, `wildsr.benchmark.run`)."""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from wildsr.benchmark import Contender as Contender
    from wildsr.benchmark import Suite as Suite
    from wildsr.checkpoint import Checkpoint as Checkpoint
    from wildsr.degrade import TwoOrder as TwoOrder
    from wildsr.errors import UserError as UserError
    from wildsr.metrics import psnr as psnr
    from wildsr.metrics import ssim as ssim
    from wildsr.networks import SRResNet as SRResNet
    from wildsr.networks import SRResNetConfig as SRResNetConfig
    from wildsr.regularize import AdaptiveDropout as AdaptiveDropout
    from wildsr.regularize import FeatureAlignment as FeatureAlignment
    from wildsr.regularize import FeatureDropout as FeatureDropout
    from wildsr.regularize import Regularizer as Regularizer
    from wildsr.regularize import attach as attach
    from wildsr.train import TrainConfig as TrainConfig
    from wildsr.upscale import Model as Model
    from wildsr.upscale import load as load

# Resolved at first use, so that `wildsr --help` need not wait for PyTorch.
_HOMES = {
    "benchmark": ("Contender", "Suite"),
    "checkpoint": ("Checkpoint",),
    "degrade": ("TwoOrder",),
    "errors": ("UserError",),
    "metrics": ("psnr", "ssim"),
    "networks": ("SRResNet", "SRResNetConfig"),
    "regularize": ("AdaptiveDropout", "FeatureAlignment", "FeatureDropout", "Regularizer", "attach"),
    "train": ("TrainConfig",),
    "upscale": ("Model", "load"),
}
_ROOMS = {*_HOMES, "datasets", "demo", "devices", "export", "images", "interpret", "jobs", "options", "recipes", "report", "sites", "sweep"}
__all__ = sorted(name for names in _HOMES.values() for name in names)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"wildsr.{home}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"wildsr.{name}")
    raise AttributeError(f"module 'wildsr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
