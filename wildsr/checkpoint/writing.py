"""Writing safetensors, the same bytes for the same contents."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wildsr import files
from wildsr.checkpoint.weights import Checkpoint, to_bytes

FORMAT_VERSION = 1

_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32"}


def write_safetensors(path: Path | str, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file atomically, with a canonical header: tensors and metadata in the order of their names.

    The library orders metadata at random, so that equal contents would not give equal files."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name, tensor in sorted(tensors.items()):
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with files.atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in sorted(tensors.items()):
            file.write(to_bytes(tensor))


def metadata_of(checkpoint: Checkpoint) -> dict[str, str]:
    """What a file says of its weights: wildsr.* (JSON values) and the modelspec.* keys that model managers read."""
    network = checkpoint.network
    return {
        **{f"wildsr.{key}": json.dumps(value, sort_keys=True) for key, value in checkpoint.metadata.items()},
        "wildsr.format_version": json.dumps(FORMAT_VERSION),
        "wildsr.network": json.dumps(network.model_dump(mode="json"), sort_keys=True),
        "wildsr.scale": json.dumps(network.scale),
        "wildsr.weights_key": json.dumps(checkpoint.weights_key),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": network.name,
        "modelspec.implementation": "wildsr",
        "modelspec.title": f"{network.name} x{network.scale}",
    }


def save(path: Path | str, checkpoint: Checkpoint, more: Mapping[str, str] | None = None) -> None:
    """Writes flat weights with readable metadata (`metadata_of`), and `more`, which goes before it."""
    write_safetensors(path, checkpoint.weights, {**metadata_of(checkpoint), **(more or {})})
