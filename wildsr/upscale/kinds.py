"""Whatever holds a picture, through a model, and back as the same kind."""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wildsr import images
from wildsr.errors import UserError
from wildsr.upscale.strips import enlarge, luma
from wildsr.upscale.tiling import Upscaler, warn

_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "I;16": "I;16"}
"""Pillow's modes that are taken, and as what they come back."""


def upscale_any(model: Upscaler, picture: Any) -> Any:
    """A tensor, an array or a Pillow picture: `Model.__call__`."""
    if isinstance(picture, Tensor):
        return _tensor(model, picture)
    if isinstance(picture, np.ndarray):
        return _array(model, picture)
    if isinstance(picture, Image.Image):
        return _pillow(model, picture)
    raise TypeError(f"a model takes a Pillow picture, a NumPy array or a tensor, not {type(picture).__name__}; files: wildsr upscale")


def _tensor(model: Upscaler, picture: Tensor) -> Tensor:
    if picture.ndim not in (3, 4) or picture.shape[-3] not in (1, 3) or 0 in picture.shape:
        raise UserError(f"a tensor of shape {tuple(picture.shape)}: use (B, 3, h, w) or (3, h, w), or 1 channel for grey")
    if not (picture.is_floating_point() or picture.dtype == torch.uint8):
        raise UserError(f"a tensor of {str(picture.dtype).removeprefix('torch.')}: use floats in [0, 1], or uint8")
    if picture.is_floating_point():
        _require_floats(float(picture.max()))
        picture = _in_range(picture)
    batch = picture if picture.ndim == 4 else picture[None]
    grey = batch.shape[1] == 1
    lr = batch.expand(-1, 3, -1, -1) if grey else batch
    b, _, h, w = lr.shape
    sr = torch.empty((b, batch.shape[1], h * model.scale, w * model.scale), dtype=batch.dtype, device=batch.device)
    for (top, left), tile in model.tiles(lr):
        tile = luma(tile) if grey else tile
        tile = images.to_uint8(tile) if batch.dtype == torch.uint8 else tile.to(batch.dtype)
        sr[..., top : top + tile.shape[-2], left : left + tile.shape[-1]] = tile
    return sr if picture.ndim == 4 else sr[0]


def _array(model: Upscaler, picture: np.ndarray) -> np.ndarray:
    if picture.ndim not in (2, 3) or (picture.ndim == 3 and not 1 <= picture.shape[2] <= 4) or picture.size == 0:
        raise UserError(f"an array of shape {picture.shape}: use (h, w), or (h, w, C) of grey, grey and alpha, RGB or RGBA")
    if picture.dtype.kind != "f" and not (picture.dtype.kind == "u" and picture.dtype.itemsize <= 2):
        raise UserError(f"an array of {picture.dtype}: use uint8, uint16, or floats in [0, 1]")
    if picture.dtype.kind == "f":
        _require_floats(float(picture.max()))
    pixels = picture[:, :, None] if picture.ndim == 2 else picture
    pixels = pixels.astype(np.float32 if pixels.dtype.kind == "f" else pixels.dtype.newbyteorder("="), copy=False)
    result = _whole(model, pixels).astype(picture.dtype)
    return result[:, :, 0] if picture.ndim == 2 else result


def _in_range(picture: Tensor) -> Tensor:
    """A tensor as an array would be taken (`enlarge`): clipped to [0, 1] with a warning. Raises UserError for what is no number."""
    if not picture.isfinite().all():
        raise UserError("the tensor holds samples that are not numbers: replace them first")
    if outside := int(((picture < 0) | (picture > 1)).sum()):
        warn(f"{100 * outside / picture.numel():.3g} % of the samples lie outside 0 (black) to 1 (white), and were clipped")
        return picture.clamp(0, 1)
    return picture


def _require_floats(largest: float) -> None:
    if largest > 2:
        raise UserError(f"floats up to {largest:g}: use floats in [0, 1] (divide by 255), or uint8")


def _pillow(model: Upscaler, picture: Image.Image) -> Image.Image:
    if picture.mode not in _MODES:
        raise UserError(f"a Pillow picture of mode {picture.mode}: convert it to one of {', '.join(_MODES)}")
    mode = _MODES[picture.mode]
    if mode == "I;16" and picture.has_transparency_data:
        raise UserError(
            "a Pillow picture of mode I;16 with a transparent colour: Pillow has no mode for the result; use an array (h, w, 2) of uint16, "
            "or upscale the file"
        )
    if mode not in ("LA", "RGBA") and picture.has_transparency_data:
        mode = "RGBA" if picture.mode in ("P", "RGB") else "LA"
    pixels = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    if mode == "I;16":
        pixels = pixels.astype(np.uint16)
    result = Image.fromarray(_whole(model, pixels[:, :, None] if pixels.ndim == 2 else pixels).squeeze(2 if pixels.ndim == 2 else ()))
    result.info = {name: value for name, value in picture.info.items() if name in ("icc_profile", "exif", "xmp", "dpi")}
    return result


def _whole(model: Upscaler, pixels: np.ndarray) -> np.ndarray:
    result = enlarge(model, images.Photo(pixels), say=warn)
    whole = np.empty((result.height, result.width, result.channels), result.dtype)
    top = 0
    for strip in result.rows:
        whole[top : top + len(strip)] = strip
        top += len(strip)
    return whole
