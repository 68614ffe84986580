"""Recipes: functions that return a TrainConfig. The papers' settings, and a quick one for small machines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wildsr import config
from wildsr.degrade import TwoOrder
from wildsr.errors import UserError
from wildsr.networks import SRResNetConfig
from wildsr.regularize import FeatureAlignment, FeatureDropout, RegularizerConfig
from wildsr.train import TrainConfig


def quick(*regularizers: RegularizerConfig) -> TrainConfig:
    """A small network for two cores and a minute. Eight LR patches a step, whatever the views."""
    views = max((regularizer.views for regularizer in regularizers), default=1)
    return TrainConfig(
        recipe="quick",
        steps=300,
        batch_size=8 // views,
        lr_patch=32,
        network=SRResNetConfig(channels=24, blocks=4),
        degradation=TwoOrder(canvas=128),
        regularizers=regularizers,
        learning_rate=2e-3,
        save_every=100,
        snapshot_every=150,
        val_every=100,
        log_every=5,
    )


def real_srresnet(*regularizers: RegularizerConfig) -> TrainConfig:
    """Real-SRResNet as both papers train it (Reflash Dropout, Section 5.3; the released options): two-order degradation on 400×400
    canvases, sharpened targets, L1, Adam 2e-4, cosine over 500,000 steps, 16 LR patches of 32×32 a step, averaging 0.999."""
    views = max((regularizer.views for regularizer in regularizers), default=1)
    return TrainConfig(recipe="real-srresnet", batch_size=16 // views, target_usm=True, regularizers=regularizers)


def real_srresnet_dropout() -> TrainConfig:
    """Real-SRResNet with channel dropout p = 0.7 before the last convolution (Reflash Dropout, Section 5.3)."""
    return real_srresnet(FeatureDropout(p=0.7)).model_copy(update={"recipe": "real-srresnet-dropout"})


def real_srresnet_align() -> TrainConfig:
    """Real-SRResNet with linear and non-linear alignment of two views, 8 pictures × 2 views a step (Simple-Align's released options)."""
    return real_srresnet(FeatureAlignment()).model_copy(update={"recipe": "real-srresnet-align"})


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "quick": quick,
    "real-srresnet": real_srresnet,
    "real-srresnet-dropout": real_srresnet_dropout,
    "real-srresnet-align": real_srresnet_align,
}
"""Name on the command line -> the recipe."""


def load(name_or_file: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """A recipe by name, or a TOML or YAML file of TrainConfig's shape (with `recipe = NAME`, laid over that recipe), then dotted overrides.

    Raises UserError for unknown recipes, files, keys and values, saying what was meant."""
    path = Path(name_or_file)
    if path.suffix in (".toml", ".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        given = config.read_file(path)
        base = _recipe(str(given["recipe"])).dump() if given.get("recipe", "custom") != "custom" else TrainConfig().dump()
        values, what = config.merge(base, given), str(path)
    else:
        values, what = _recipe(name_or_file).dump(), f"recipe {name_or_file}"
    return config.build(TrainConfig, _override(values, overrides), what)


def _override(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    return config.override(values, config.parse_overrides(overrides))


def _recipe(name: str) -> TrainConfig:
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}: {config.nearest(name, RECIPES)} (or a .toml or .yaml file)")
    return RECIPES[name]()
