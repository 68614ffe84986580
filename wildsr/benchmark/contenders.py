"""What is measured: anything that upscales, and plain resizing, which it has to beat."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from wildsr import images
from wildsr.errors import UserError

BATCH_PIXELS = 100_000
"""Most LR pixels that go through a network at once: enough for a GPU; the features of one layer take 0.4 GB (64 channels, ×4)."""


@dataclass(frozen=True)
class Contender:
    """Something that upscales, and what its rows say of it. `upscale`: float (B, 3, h, w) in [0, 1] -> (B, 3, s·h, s·w).

    batched: whether B may be more than 1. training, training_seed: models of equal `training` and different seeds are the same training
    begun with different chance, and are averaged in reports."""

    name: str
    upscale: Callable[[Tensor], Tensor]
    scale: int
    weights_sha256: str | None = None
    weights_key: str | None = None
    tile: int | None = None
    dtype: str = "float32"
    batched: bool = False
    training: str | None = None
    training_seed: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What every row says of it."""
        names = ("training", "training_seed", "weights_sha256", "weights_key", "tile", "dtype")
        return {"model": self.name, **{name: getattr(self, name) for name in names}}


RESIZERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
"""Words that stand for a model: Pillow's resizers."""


def resizer(name: str, scale: int) -> Contender:
    """Plain resizing by Pillow, on 8 bits: "bicubic" is what a network has to beat."""

    def enlarge(lr: Tensor) -> Tensor:
        picture = images.to_pillow(images.to_uint8(lr[0]))
        larger = picture.resize((picture.width * scale, picture.height * scale), RESIZERS[name])
        return images.to_float(images.from_pillow(larger)).unsqueeze(0)

    return Contender(name, enlarge, scale, dtype="uint8")


def bicubic(scale: int) -> Contender:
    """Plain resizing by Pillow's bicubic."""
    return resizer("bicubic", scale)


Result = UInt8[Tensor, "3 sh sw"] | str
"""An upscaled picture, or why there is none."""


def results(contender: Contender, inputs: Sequence[UInt8[Tensor, "3 _ _"]]) -> list[Result]:
    """The results of some inputs, neighbours of one size in batches where the contender takes them. Where a batch fails, its pictures are
    tried one by one, so that one spares the others; a result of wrong size, or with values that are not finite, is a failure."""
    found: list[Result] = []
    for (height, width), neighbours in itertools.groupby(inputs, key=lambda lr: lr.shape[-2:]):
        same = list(neighbours)
        at_once = max(1, BATCH_PIXELS // (height * width)) if contender.batched else 1
        for batch in (same[start : start + at_once] for start in range(0, len(same), at_once)):
            try:
                found += _upscaled(contender, batch)
            except Exception as error:  # A model may fail in any way; the others' rows must not be lost for it.
                found += [_alone(contender, lr) for lr in batch] if len(batch) > 1 else [f"{type(error).__name__}: {error}"]
    return found


def _alone(contender: Contender, lr: UInt8[Tensor, "3 h w"]) -> Result:
    try:
        return _upscaled(contender, [lr])[0]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _upscaled(contender: Contender, batch: list[UInt8[Tensor, "3 h w"]]) -> list[UInt8[Tensor, "3 sh sw"]]:
    given: Float[Tensor, "b 3 h w"] = images.to_float(torch.stack(batch))
    upscaled = contender.upscale(given)
    wanted = (len(batch), 3, *(side * contender.scale for side in given.shape[-2:]))
    if upscaled.shape != wanted:
        raise UserError(f"the result has the shape {list(upscaled.shape)}, not {list(wanted)}")
    if not upscaled.isfinite().all():
        raise UserError("the result holds values that are not finite")
    return list(images.to_uint8(upscaled).cpu())
