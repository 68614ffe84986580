"""Weights for other programs: flat safetensors, and .pth files as BasicSR writes them."""

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from wildsr import checkpoint, files
from wildsr.checkpoint import Checkpoint
from wildsr.errors import UserError
from wildsr.export.about import About
from wildsr.export.elsewhere import facts
from wildsr.networks import SRResNet

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
"""Number types that files are written in, by name."""


def converted(weights: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Weights in another number type; whole numbers stay as they are. Raises UserError for those that it cannot hold, and for weights
    that are no numbers."""
    result = {}
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"weight {name} is not finite: the model is damaged, or its training diverged")
        result[name] = tensor.to(DTYPES[dtype]).contiguous().clone() if tensor.is_floating_point() else tensor.contiguous().clone()
        if tensor.is_floating_point() and not result[name].isfinite().all():
            raise UserError(f"weight {name} reaches {tensor.abs().max():g}, and fp16 ends at 65504: use --dtype fp32")
    return result


def write_safetensors(target: Path, found: Checkpoint, about: About, dtype: str) -> list[str]:
    """Flat weights with ModelSpec 1.0.1's keys and traiNNer's `metadata`. Returns what was done, a line each."""
    weights = converted(found.weights, dtype)
    digest = checkpoint.weights_sha256(weights)
    kept = found.metadata if digest == found.weights_sha256 else {**found.metadata, "source_weights_sha256": found.weights_sha256}
    known = facts(found.network)
    spec = {
        "title": about.title,
        "author": about.author,
        "description": about.description,
        "license": about.license,
        "date": about.date,
        "tags": ", ".join(about.tags),
        "hash_sha256": f"0x{digest}",
    }
    more = {f"modelspec.{key}": value for key, value in spec.items() if value}
    checkpoint.save(
        target, Checkpoint(found.network, weights, found.weights_key, kept), {**more, "metadata": json.dumps(known.hyperparameters)}
    )
    return [
        f"{len(weights)} tensors in {dtype}, flat, with ModelSpec and traiNNer metadata",
        f"weights_sha256 {digest}",
        _elsewhere(known.obstacle),
    ]


def write_pth(target: Path, raw: Checkpoint, averaged: Checkpoint, layout: str, dtype: str) -> list[str]:
    """{'params': OrderedDict, 'params_ema': OrderedDict} of plain tensors, as BasicSR writes and reads it. Returns what was done."""
    if layout == "details" and raw.network.name != "srresnet":
        raise UserError(f"layout details is SRResNet's, and this is {raw.network.name}: use layout basicsr")
    keys = SRResNet.to_details_keys if layout == "details" else dict
    groups = {
        "params": OrderedDict(keys(converted(raw.weights, dtype))),
        "params_ema": OrderedDict(keys(converted(averaged.weights, dtype))),
    }
    with files.atomic_write(target) as file:
        torch.save(groups, file)
    lines = [f"params ({raw.weights_key}) and params_ema ({averaged.weights_key}) in {dtype}, keys as in layout {layout}"]
    lines.append(f"weights_sha256 {checkpoint.weights_sha256(groups['params_ema'])} (params_ema, in this layout)")
    return [*lines, _elsewhere(facts(raw.network).obstacle)]


def _elsewhere(obstacle: str) -> str:
    return obstacle or "opens in spandrel, chaiNNer and ComfyUI"
