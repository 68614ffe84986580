"""A training run, whole, as a configuration."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, field_serializer, model_validator

from wildsr import networks
from wildsr.config import Positive, Strict, nearest
from wildsr.degrade import DegradationConfig, TwoOrder
from wildsr.errors import UserError
from wildsr.regularize import RegularizerConfig, attach

Rate = Annotated[float, Field(ge=0, lt=1)]

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: 0.5 * (1 + math.cos(math.pi * progress)),
    "restarts": lambda progress: 0.5 * (1 + math.cos(math.pi * (2 * progress if progress <= 0.5 else progress - 0.5))),
    "constant": lambda progress: 1.0,
}
"""Name -> factor on the learning rate at a share of the run in [0, 1].

cosine: the papers' (Reflash Dropout, Section 5.1: one period). restarts: the released options', periods of 250,000 and 500,000 for a run
of 500,000 steps: down to 0 at half of the run, up again, and half way down. constant: Real-ESRNet's within its first million steps."""

BETAS = {"paper": (0.9, 0.999), "code": (0.9, 0.99)}
"""Adam's decay rates by name: Reflash Dropout's Section 5.1, and the released options of both papers."""

BOOKKEEPING = frozenset({"save_every", "snapshot_every", "val_every", "log_every", "graph"})
"""Keys that do not touch the result (`graph` may, in the last bit): they may change between the starts of a run, and stand in no model
file."""


def _betas(given: Any) -> Any:
    if isinstance(given, str) and given not in BETAS:
        raise ValueError(f"{given!r} is neither two numbers nor a name: {nearest(given, BETAS)}")
    return BETAS[given] if isinstance(given, str) else given


class TrainConfig(Strict, frozen=True):
    """A training run, whole. The defaults are the papers' settings; recipes name what they take from elsewhere.

    `network` and `degradation` without a `name` are an SRResNet and the two-order pipeline."""

    recipe: str = "custom"
    scale: networks.Scale = 4
    seed: Annotated[int, Field(ge=0)] = 0
    steps: Positive = 500_000
    """Optimiser steps."""
    batch_size: Positive = 16
    """HR pictures a step, over all processes; every view of them is an LR patch of its own."""
    accumulate: Positive = 1
    """Micro-batches a step, for networks whose activations do not fit into memory at once: each process goes through its pictures of a step
    in so many parts, and their mean gradient is that of the whole. Pictures and the regularisers' masks stay the same; alignment, which
    compares the pictures of a batch, centres each micro-batch (over all processes) by itself, and what a network draws in its forward
    (SwinIR's drop_path) is drawn anew for each."""
    lr_patch: Annotated[int, Field(ge=8)] = 32
    """Side of the LR patches in pixels; HR patches are `scale` times as large."""
    target_usm: bool = False
    """Sharpens the HR canvas first, so that target and degraded input both come from the sharpened picture (Real-ESRGAN's gt_usm)."""
    views: Literal[1, 2] = 1
    """Degraded views of each HR picture, at least; a regulariser that compares views asks for them by itself."""
    network: networks.NetworkConfig = networks.SRResNetConfig()
    degradation: DegradationConfig = TwoOrder()
    regularizers: tuple[RegularizerConfig, ...] = ()
    learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    betas: Annotated[tuple[Rate, Rate], BeforeValidator(_betas)] = BETAS["paper"]
    """Adam's decay rates: two numbers, or "paper" or "code" for those of `BETAS`."""
    schedule: Literal["cosine", "restarts", "constant"] = "cosine"
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest Euclidean norm of the whole gradient."""
    ema: Rate = 0.999
    """Decay of the averaged weights a step; at step t it is at most (1 + t)/(10 + t), so that short runs forget their start."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the network's forward and backward; weights, losses and averages are float32. auto: bf16 where the device computes in it."""
    graph: Literal["auto", True, False] = "auto"
    """Repeats a step as one CUDA graph, which spares the processor most of its work. auto: with CUDA, a single process, no accumulation,
    and a network that draws nothing by itself."""
    save_every: Positive = 1000
    snapshot_every: Positive = 50_000
    val_every: Positive = 5000
    log_every: Positive = 100

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        values = dict(values)
        for part, name in (("network", "srresnet"), ("degradation", "two-order")):
            if isinstance(values.get(part), Mapping):
                values[part] = {"name": name, **values[part]}
        scale, network = values.get("scale", 4), values.get("network", {"name": "srresnet"})
        if isinstance(network, Strict):
            given, network = "scale" in network.model_fields_set, network.model_dump()
        elif isinstance(network, Mapping):
            given = "scale" in network
        else:
            return values
        if given and network["scale"] != scale:
            raise ValueError(f"network.scale = {network['scale']} against scale = {scale}: set the scale at the top level alone")
        return {**values, "network": {**network, "scale": scale}}

    @field_serializer("network")
    def _network_without_scale(self, network: networks.NetworkConfig) -> dict[str, Any]:
        return network.model_dump(mode="json", exclude={"scale"})

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if self.canvas < self.hr_patch:
            raise ValueError(
                f"degradation.canvas = {self.degradation.canvas} is smaller than the HR patch of {self.hr_patch} (lr_patch × scale)"
            )
        self.degradation.require(self.canvas, self.scale)
        if self.target_usm and self.canvas <= 25:  # half of the filter's 51 taps
            raise ValueError(
                f"degradation.canvas = {self.degradation.canvas} is too small for target_usm: sharpening needs 26 pixels or more"
            )
        if self.views_drawn > 1 and not self.degradation.random:
            raise ValueError(
                f"degradation.name = {self.degradation.name!r}: nothing is drawn, and two views of a picture would be the same; "
                'use "two-order", or one view and no alignment'
            )
        self.pictures(1)
        if self.batch_size // self.accumulate < 2 and any(regularizer.views > 1 for regularizer in self.regularizers):
            single = f"batch_size = {self.batch_size}" + (f" with accumulate = {self.accumulate}" if self.accumulate > 1 else "")
            raise ValueError(
                f"{single}: alignment centres its statistics over the pictures of a batch, and for a single one they vanish; "
                f"use {2 * self.accumulate} pictures a step at least"
            )
        return self

    @property
    def hr_patch(self) -> int:
        """Side of the HR patches in pixels."""
        return self.lr_patch * self.scale

    @property
    def canvas(self) -> int:
        """Side of the HR canvas: the configured one, cut to a multiple of the scale so that LR and HR stay aligned."""
        return self.degradation.canvas - self.degradation.canvas % self.scale

    @property
    def views_drawn(self) -> int:
        """Degraded views of each HR picture: `views`, or more where a regulariser asks for them."""
        return max(self.views, *(regularizer.views for regularizer in self.regularizers), 1)

    @property
    def lr_patches(self) -> int:
        """LR patches a step: every view of every picture."""
        return self.batch_size * self.views_drawn

    def pictures(self, processes: int) -> int:
        """HR pictures of a micro-batch of one of some processes. Raises ValueError (UserError) when they cannot be equally many."""
        parts = processes * self.accumulate
        if self.batch_size % parts:
            fitting = " or ".join(str(size) for size in (self.batch_size // parts * parts, -(-self.batch_size // parts) * parts) if size)
            shares = " × ".join(
                [f"{processes} processes"] * (processes > 1) + [f"{self.accumulate} micro-batches (accumulate)"] * (self.accumulate > 1)
            )
            raise UserError(f"batch_size = {self.batch_size} does not divide into {shares}: use {fitting}")
        return self.batch_size // parts

    def dump(self) -> dict[str, Any]:
        """As plain JSON values; `TrainConfig.model_validate` reads them back."""
        return self.model_dump(mode="json")

    def identity(self) -> dict[str, Any]:
        """What the result hangs on: all but the bookkeeping."""
        return {key: value for key, value in self.dump().items() if key not in BOOKKEEPING}


def require_sites(training: TrainConfig) -> None:
    """Raises UserError when the network lacks a site that a regulariser asks for; tried on a network without memory."""
    if training.regularizers:
        _require_sites(training.network, training.regularizers)


@functools.cache
def _require_sites(network: networks.Config, regularizers: tuple[RegularizerConfig, ...]) -> None:
    with torch.device("meta"):
        net = networks.create(network)
        with attach(net, *regularizers, example=torch.empty(1, 3, 32, 32)):
            pass
