"""Any community model, through spandrel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wildsr import devices, files
from wildsr.errors import UserError


@dataclass(frozen=True)
class Foreign:
    """A model that spandrel recognised: float (B, 3, h, w) in [0, 1] -> (B, 3, s·h, s·w), clamped; spandrel pads what it has to.

    architecture: what spandrel calls the network."""

    descriptor: Any
    scale: int
    architecture: str
    weights_sha256: str
    device: torch.device

    @torch.inference_mode()
    def __call__(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        return self.descriptor(lr.to(self.device)).float().clamp(0, 1).to(lr.device)


def load_foreign(path: Path | str, *, device: str = "auto") -> Foreign:
    """Loads a model file of any architecture that spandrel knows; the hash is the file's.

    Raises UserError when spandrel is not installed, does not recognise the file, or it is no model that makes RGB pictures of RGB ones."""
    try:
        import spandrel  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise UserError(f"{path}: not a network known here; spandrel may know it: pip install 'wildsr[spandrel]'") from None
    place = devices.pick(device)
    try:
        descriptor = spandrel.ModelLoader(device=place).load_from_file(path)
    except Exception as error:  # It raises whatever its parts run into.
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{path}: neither a network known here nor one that spandrel opens ({why})") from None
    channels = (getattr(descriptor, "input_channels", None), getattr(descriptor, "output_channels", None))
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or channels != (3, 3):
        raise UserError(f"{path}: {descriptor.architecture.name} does not make one RGB picture of another: only such models can be used")
    return Foreign(descriptor.eval(), descriptor.scale, descriptor.architecture.name, files.sha256_file(path), place)
