"""Weights in memory, and what is said of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from wildsr import files, networks


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what their file says of them.

    `weights_key`: which of a training's weights these are ("ema", "raw", or another project's name for them, "flat" when it has none)."""

    network: networks.Config
    weights: dict[str, Tensor]
    weights_key: str
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def weights_sha256(self) -> str:
        """`weights_sha256` of these weights: the same whatever file they lie in."""
        return weights_sha256(self.weights)


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the tensors' bytes, one after the other in the order of their names."""
    return files.sha256(b"".join(to_bytes(tensor) for _, tensor in sorted(weights.items())))


def to_bytes(tensor: Tensor) -> bytes:
    """A tensor's numbers, row by row."""
    # bfloat16 is unknown to NumPy; bytes are all that is wanted.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def build(checkpoint: Checkpoint) -> networks.Network:
    """The network with its weights, in eval mode, float32."""
    with torch.random.fork_rng(devices=[]):
        net = networks.create(checkpoint.network)
    net.load_state_dict({name: tensor.float() for name, tensor in checkpoint.weights.items()})
    return net.eval()


def parameter_count(weights: Mapping[str, Tensor]) -> int:
    """How many numbers the weights are."""
    return sum(tensor.numel() for tensor in weights.values())
