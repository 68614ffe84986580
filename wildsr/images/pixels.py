"""Conversions: Pillow's pictures, uint8 tensors, floats, luma, and hashes of pixels."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from wildsr import files


def from_pillow(picture: Image.Image) -> UInt8[Tensor, "3 h w"]:
    """Pillow picture -> uint8 RGB."""
    # Turned about by NumPy, in this thread alone: pictures are decoded in several at once.
    return torch.from_numpy(np.array(picture.convert("RGB")).transpose(2, 0, 1).copy())


def to_pillow(picture: UInt8[Tensor, "3 h w"]) -> Image.Image:
    """uint8 RGB -> Pillow picture."""
    return Image.fromarray(picture.permute(1, 2, 0).contiguous().cpu().numpy())


def to_float(picture: UInt8[Tensor, "*size"]) -> Float[Tensor, "*size"]:
    """uint8 -> float32 in [0, 1]."""
    return picture.to(torch.float32) / 255


def to_uint8(picture: Float[Tensor, "*size"]) -> UInt8[Tensor, "*size"]:
    """Float in [0, 1] (clamped) -> uint8, rounded half to even."""
    return (picture.float().clamp(0, 1) * 255).round().to(torch.uint8)


def to_y(picture: Float[Tensor, "*batch 3 h w"]) -> Float[Tensor, "*batch h w"]:
    """Luma of ITU-R BT.601 with MATLAB's constants: RGB in [0, 255] -> Y in [16, 235], not rounded."""
    red, green, blue = picture.unbind(-3)
    return 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255


def crop_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Cuts (..., H, W) at right and bottom to multiples of `multiple`."""
    height, width = picture.shape[-2:]
    return picture[..., : height - height % multiple, : width - width % multiple]


def pixels_sha256(picture: UInt8[Tensor, "3 h w"]) -> str:
    """SHA-256 of the pixels in (H, W, 3) order."""
    return files.sha256(picture.permute(1, 2, 0).contiguous().numpy().tobytes())
