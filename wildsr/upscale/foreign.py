"""Any community model, through spandrel."""

import math
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from wildsr import files
from wildsr.errors import UserError
from wildsr.upscale.reach import receptive_radius


class Adapted(nn.Module):
    """A network that spandrel recognised, (B, 3, h, w) in [0, 1] -> (B, 3, s·h, s·w), of any size: what it cannot take is filled up by
    reflection and cut off again. architecture: what spandrel calls it; grid: what its sides have to be multiples of."""

    def __init__(self, descriptor: Any, sha256: str) -> None:
        super().__init__()
        self.network: nn.Module = descriptor.model
        self.scale, self.architecture, self.sha256 = int(descriptor.scale), str(descriptor.architecture.name), sha256
        self.supports_half, self.supports_bfloat16 = bool(descriptor.supports_half), bool(descriptor.supports_bfloat16)
        asked = descriptor.size_requirements
        # Networks of windows that fill up by themselves ask for nothing; tiles have to begin where windows do.
        windows: list[Any] = [getattr(part, "window_size", None) for part in self.network.modules()]
        self.grid = math.lcm(max(1, asked.multiple_of), *(size for size in windows if isinstance(size, int) and 0 < size <= 64))
        self._multiple, self._smallest, self._square = max(1, asked.multiple_of), asked.minimum, asked.square
        # spandrel's own call clamps, and then an overflow is not to be seen.
        self._call = descriptor._call_fn

    @cached_property
    def radius(self) -> int | None:
        """Receptive radius in LR pixels, measured when it is first asked for; None where it is more than 64, or cannot be measured."""
        try:
            with torch.inference_mode(False), torch.enable_grad():
                return receptive_radius(self, self.scale, self.grid)
        except (RuntimeError, TypeError, ValueError):  # whatever a network of others does not take float64 or a gradient for
            return None

    def forward(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        """Pictures one by one, for not every network takes batches."""
        height, width = lr.shape[-2:]
        sides = [-(-max(side, self._smallest) // self._multiple) * self._multiple for side in (height, width)]
        if self._square:
            sides = [max(sides)] * 2
        filled = _filled(lr, *sides)
        out = torch.cat([self._call(self.network, one) for one in filled.split(1)])
        if out.shape[-2:] != (filled.shape[-2] * self.scale, filled.shape[-1] * self.scale):
            raise UserError(
                f"{self.architecture} gave {tuple(out.shape[-2:])} for {tuple(filled.shape[-2:])}, not {self.scale} times as much"
            )
        return out[..., : height * self.scale, : width * self.scale]


def _filled(lr: Tensor, height: int, width: int) -> Tensor:
    """Mirrored at right and bottom, several times where that is more than the picture has; a single row or column is repeated."""
    while (more := height - lr.shape[-2]) > 0:
        lr = F.pad(lr, (0, 0, 0, min(more, max(1, lr.shape[-2] - 1))), mode="reflect" if lr.shape[-2] > 1 else "replicate")
    while (more := width - lr.shape[-1]) > 0:
        lr = F.pad(lr, (0, min(more, max(1, lr.shape[-1] - 1)), 0, 0), mode="reflect" if lr.shape[-1] > 1 else "replicate")
    return lr


def load_foreign(path: Path | str, *, device: torch.device | str = "cpu", unknown: UserError | None = None) -> Adapted:
    """Loads a model file of any architecture that spandrel knows; its hash is the file's. unknown: why it is no network known here, for
    errors.

    Raises UserError when spandrel is not installed, does not recognise the file, or it is no model that makes a larger RGB picture of
    another."""
    why = " ".join(str(unknown).removeprefix(f"{path}: ").split()) if unknown is not None else "not a network known here"
    try:
        import spandrel  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        lacks = "" if error.name in (None, "spandrel") else f" (spandrel is here, but not {error.name})"
        raise UserError(f"{path}: {why}; spandrel may know it: pip install 'wildsr[spandrel]'{lacks}") from None
    try:
        descriptor = spandrel.ModelLoader(device=torch.device(device)).load_from_file(path)
    except Exception as error:  # It raises whatever its parts run into.
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{path}: {why}; nor one that spandrel opens ({cause})") from None
    name = descriptor.architecture.name
    channels = (getattr(descriptor, "input_channels", None), getattr(descriptor, "output_channels", None))
    if not isinstance(descriptor, spandrel.ImageModelDescriptor) or channels != (3, 3):
        raise UserError(f"{path}: {name} does not make one RGB picture of another: only such models can be used")
    if descriptor.scale < 2:
        raise UserError(f"{path}: {name} does not enlarge (scale {descriptor.scale}): use a model of scale 2 or more")
    net = Adapted(descriptor, files.sha256_file(path))
    return net.eval().requires_grad_(False)
