"""How far tiles are from the whole picture, where they are not equal to it: measured once for a model's weights, and kept."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildsr import files, images

if TYPE_CHECKING:
    from wildsr.upscale.model import Model

_BESIDE = 192
"""LR pixels that a piece is longer than the context of a tile."""


@dataclass(frozen=True)
class Seams:
    """The largest difference, of samples in [0, 1], between tiles and the whole, as measured on a piece of height × width LR pixels."""

    difference: float
    overlap: int
    height: int
    width: int

    def __str__(self) -> str:
        return (
            f"tiles differ from the whole picture by at most {self.difference:.2g} ({255 * self.difference:.2g} of 255), "
            f"measured on {self.width}×{self.height} pixels with an overlap of {self.overlap}"
        )


def measure_seams(model: "Model", lr: Float[Tensor, "1 3 h w"]) -> float:
    """The largest difference, of samples in [0, 1], between a piece of a picture upscaled in tiles and as a whole.

    The tiles are as large as let there be two along a side of more than 2 · overlap + 32 pixels; 0 where a piece is too small for two.
    What lies farther away than the piece reaches is not in it. Computed in float32 and without an ensemble: rounding is no seam."""
    model = replace(model, dtype="float32", ensemble=False)
    longest, grid = max(lr.shape[-2:]), model.network.grid
    side = (longest - 2 * model.overlap) // 2
    if side < 16:
        return 0.0
    tiled = replace(model, tile=-(-side // grid) * grid)(lr)
    return float((tiled - replace(model, tile=longest + grid)(lr)).abs().max())


def seams_of(model: "Model", photo: images.Photo, say: Callable[[str], None] | None = None) -> Seams | None:
    """What tiles cost a picture: None where a model's tiles are exact, or the picture goes through at once; else what is known of these
    weights from as large a piece, or else is measured now, on the middle of the picture, and kept in the user's cache. say: told before
    measuring."""
    height, width = photo.pixels.shape[:2]
    if not model.cuts(height, width) or model.exact:
        return None
    tall, long = min(height, _BESIDE), min(width, 2 * model.overlap + _BESIDE)
    if height > width:
        tall, long = min(height, 2 * model.overlap + _BESIDE), min(width, _BESIDE)
    before = known_seams(model.weights_sha256, model.overlap)
    if before is not None and before.height * before.width >= tall * long:
        return before
    top, left = (height - tall) // 2, (width - long) // 2
    piece = photo.pixels[top : top + tall, left : left + long]
    piece = piece[..., : 3 if piece.shape[2] >= 3 else 1].astype(np.float32)
    piece = piece / float(np.iinfo(photo.pixels.dtype).max) if photo.pixels.dtype.kind == "u" else piece
    lr = torch.from_numpy(piece).clamp(0, 1).permute(2, 0, 1)[None].expand(1, 3, -1, -1).contiguous()
    if say is not None:
        say("measuring how far tiles are from the whole picture, once for this model")
    found = Seams(measure_seams(model, lr), model.overlap, tall, long)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs the next start some time
        name, values = _name(model.weights_sha256, model.overlap), [found.difference, found.overlap, found.height, found.width]
        files.write_text(_place(), files.to_json({**_read(_place()), name: values}))
    return found


def known_seams(weights_sha256: str, overlap: int) -> Seams | None:
    """What was measured before, of a model's weights; None for nothing."""
    try:
        difference, overlap, tall, long = _read(_place())[_name(weights_sha256, overlap)]  # pyright: ignore[reportGeneralTypeIssues]
        return Seams(float(difference), int(overlap), int(tall), int(long))
    except (KeyError, TypeError, ValueError):
        return None


def _place() -> Path:
    return files.cache_folder() / "seams.json"


def _name(weights_sha256: str, overlap: int) -> str:
    return f"{weights_sha256} {overlap}"


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
