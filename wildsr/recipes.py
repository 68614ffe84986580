"""Recipes: the papers' settings by name, a quick one for small machines, and other projects' option files."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from wildsr import config, networks, options
from wildsr.degrade import Bicubic, Stage, TwoOrder
from wildsr.errors import UserError
from wildsr.networks import Config, RRDBNetConfig, SRResNetConfig, SwinIRConfig
from wildsr.regularize import AdaptiveDropout, FeatureAlignment, FeatureDropout
from wildsr.regularize import RegularizerConfig as Regularizer
from wildsr.train import BETAS, TrainConfig, require_sites

PATCHES = 16
"""LR patches a step in the papers' settings, whatever the views: 16 pictures, or 8 pictures in two views."""


def quick(*regularizers: Regularizer) -> TrainConfig:
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
        betas=BETAS["code"],  # a run this short is over before slower averages have formed
        save_every=100,
        snapshot_every=150,
        val_every=100,
        log_every=5,
    )


def real(network: Config, *regularizers: Regularizer, views: int = 1) -> TrainConfig:
    """Training on two-order degradation (Reflash Dropout, Sections 5.1 and 5.3): 400×400 canvases, sharpened targets, L1, Adam 2e-4 with
    β₂ = 0.999, one cosine over 500,000 steps, 16 LR patches of 32×32 a step; averaging 0.999 as in the released options of both papers,
    whose restarts and β₂ are `schedule = "restarts"` and `betas = "code"`."""
    views = max([views, *(regularizer.views for regularizer in regularizers)])
    values = {"batch_size": PATCHES // views, "views": views, "target_usm": True, "network": network, "regularizers": regularizers}
    return TrainConfig.model_validate(values)


def bicubic(network: Config, *regularizers: Regularizer) -> TrainConfig:
    """Training on bicubic resizing alone (Reflash Dropout, Section 5.2), otherwise as `real`, and towards unsharpened targets."""
    return TrainConfig.model_validate({"network": network, "degradation": Bicubic(), "regularizers": regularizers})


SEEN_ONCE = TwoOrder(
    canvas=320,
    first=Stage(
        probability=0.35,
        blur_probability=0.6,
        resize_probabilities=(0.2, 0.3, 0.5),
        resize_range=(0.4, 1.5),
        mode_probabilities=(0.1, 0.1, 0.1, 0.7),
        noise_probability=0.4,
        jpeg_probability=0.5,
    ),
    second=Stage(
        probability=0.95,
        blur_probability=0.45,
        sigma=(0.2, 3.0),
        resize_probabilities=(0.15, 0.15, 0.7),
        resize_range=(0.6, 1.2),
        mode_probabilities=(0.1, 0.1, 0.1, 0.7),
        noise_probability=0.5,
        gaussian_sigma=(1.0, 30.0),
        poisson_scale=(0.05, 2.5),
        jpeg_probability=0.5,
    ),
    final_sinc_probability=0.15,
    tail_mode_probabilities=(0.1, 0.1, 0.1, 0.7),
)
"""Two orders, of which most pictures go through one alone, as a photograph does that is taken, shrunk and sent once; each step is left out
about as often as not, and resizing is mostly antialiased. So a network also sees pictures that little happened to, clean ones too."""


def default() -> TrainConfig:
    """The model that comes with wildsr: a training that a processor ends in hours, towards targets as they are. Chosen on pictures held out
    from the training set: sweeps/default.toml."""
    return TrainConfig(
        steps=24_000,
        network=SRResNetConfig(channels=32, blocks=16),
        degradation=SEEN_ONCE,
        learning_rate=6e-4,
        save_every=250,
        val_every=2000,
    )


class Recipe(NamedTuple):
    """A training by name: what it is, from which source, and its configuration."""

    sentence: str
    make: Callable[[], TrainConfig]


SRRESNET, RRDBNET, SWINIR = SRResNetConfig(), RRDBNetConfig(), SwinIRConfig()

RECIPES: dict[str, Recipe] = {
    "default": Recipe(
        "The model that comes with wildsr: no sharpened targets, and pictures that most steps of two-order degradation pass by.", default
    ),
    "quick": Recipe("A small SRResNet on two-order degradation, for two cores and a minute.", quick),
    "real-srresnet": Recipe(
        "Real-SRResNet without a regulariser: the one-view baseline, with as many LR patches a step as -align and -two-view "
        "(Reflash Dropout, Section 5.3).",
        lambda: real(SRRESNET),
    ),
    "real-srresnet-dropout": Recipe(
        "Real-SRResNet with channel dropout p = 0.7 before the last convolution (Reflash Dropout, Section 5.3).",
        lambda: real(SRRESNET, FeatureDropout(p=0.7)),
    ),
    "real-srresnet-align": Recipe(
        "Real-SRResNet with linear and non-linear alignment of two views (Simple-Align, by its public code).",
        lambda: real(SRRESNET, FeatureAlignment()),
    ),
    "real-srresnet-two-view": Recipe(
        "Real-SRResNet on two views of each picture, without the alignment loss: what -align is to be compared with.",
        lambda: real(SRRESNET, views=2),
    ),
    "real-srresnet-adaptive": Recipe(
        "Real-SRResNet with Adaptive Dropout, a = 0.3 as its code's training passes, residual blocks initialised as there.",
        lambda: real(SRResNetConfig(block_init="default"), AdaptiveDropout(a=0.3)),
    ),
    "real-srresnet-adaptive-a07": Recipe(
        "The same with a = 0.7, as its published checkpoint is named.",
        lambda: real(SRResNetConfig(block_init="default"), AdaptiveDropout(a=0.7)),
    ),
    "real-rrdb": Recipe("Real-RRDBNet without a regulariser (Reflash Dropout, Section 5.3).", lambda: real(RRDBNET)),
    "real-rrdb-dropout": Recipe(
        "Real-RRDBNet with channel dropout p = 0.5 before the last convolution (Reflash Dropout, Section 5.3).",
        lambda: real(RRDBNET, FeatureDropout(p=0.5)),
    ),
    "real-rrdb-align": Recipe(
        "Real-RRDBNet with alignment of two views (Simple-Align, by its public code).", lambda: real(RRDBNET, FeatureAlignment())
    ),
    "real-rrdb-two-view": Recipe("Real-RRDBNet on two views, without the alignment loss.", lambda: real(RRDBNET, views=2)),
    "real-swinir": Recipe(
        "SwinIR, nearest+conv, without a regulariser (Reflash Dropout, supplement; its configuration is not published).",
        lambda: real(SWINIR),
    ),
    "real-swinir-dropout": Recipe(
        "SwinIR with channel dropout before the last convolution; p = 0.5 is our choice, the paper's is not published.",
        lambda: real(SWINIR, FeatureDropout(p=0.5)),
    ),
    "real-swinir-align": Recipe("SwinIR with alignment of two views (Simple-Align).", lambda: real(SWINIR, FeatureAlignment())),
    "real-swinir-two-view": Recipe("SwinIR on two views, without the alignment loss.", lambda: real(SWINIR, views=2)),
    "bicubic-srresnet": Recipe(
        "SRResNet on bicubic resizing alone, without a regulariser (Reflash Dropout, Section 5.2).", lambda: bicubic(SRRESNET)
    ),
    "bicubic-srresnet-dropout": Recipe(
        "The same with channel dropout p = 0.1 before the last convolution (Reflash Dropout, Section 5.2, which tries 0.1 to 0.3).",
        lambda: bicubic(SRRESNET, FeatureDropout(p=0.1)),
    ),
}
"""Name on the command line -> the recipe."""


def find(name: str) -> TrainConfig:
    """The configuration of a recipe. Raises UserError for unknown names."""
    if name not in RECIPES:
        raise UserError(f"unknown recipe {name!r}: {config.nearest(name, RECIPES)} (or a .toml or .yaml file)")
    return RECIPES[name].make().model_copy(update={"recipe": name})


def load(name_or_file: str, overrides: Sequence[str] = ()) -> tuple[TrainConfig, list[str]]:
    """A recipe by name, or a file, then dotted overrides; and what there is to say about the file, a line each.

    A file is TOML or YAML of TrainConfig's shape (with `recipe = NAME`, laid over that recipe), or an option file of BasicSR and its
    relatives, which is known by its `network_g`. Raises UserError for unknown recipes, files, keys and values, saying what was meant."""
    path = Path(name_or_file)
    notes: list[str] = []
    if path.suffix in (".toml", ".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        given, what = config.read_file(path), str(path)
        if options.is_options(given):
            given, notes = options.convert(given, what)
        name = str(given.get("recipe", "custom"))
        values = config.merge((TrainConfig() if name == "custom" else find(name)).dump(), given)
    else:
        values, what = find(name_or_file).dump(), f"recipe {name_or_file}"
    training = config.build(TrainConfig, config.override(values, config.parse_overrides(overrides)), what)
    require_sites(training)
    return training, notes


class Cost(NamedTuple):
    """What a training costs: parameters of the network, and multiply-adds of one step's forward."""

    parameters: int
    macs: int


def cost(training: TrainConfig) -> Cost:
    """Counted on a network without memory: the forward of all LR patches of a step, convolutions and matrix products."""
    parameters, macs = _patch_cost(training.network, training.lr_patch)
    return Cost(parameters, macs * training.lr_patches)


@functools.cache
def _patch_cost(network: Config, side: int) -> tuple[int, int]:
    with torch.device("meta"):
        net = networks.create(network)
        patch = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(patch)
    return sum(parameter.numel() for parameter in net.parameters()), counter.get_total_flops() // 2


def table() -> list[dict[str, Any]]:
    """Every recipe as a row: name, sentence, parameters, multiply-adds of a step's forward, LR patches a step, steps."""
    rows = []
    for name, recipe in RECIPES.items():
        training = recipe.make()
        parameters, macs = cost(training)
        rows.append(
            {
                "name": name,
                "sentence": recipe.sentence,
                "parameters": parameters,
                "macs": macs,
                "patches": training.lr_patches,
                "steps": training.steps,
            }
        )
    return rows
