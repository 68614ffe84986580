"""Sub-pixel alignment of pictures that are shifted against each other."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from wildsr import images
from wildsr.errors import UserError

FINENESS = 100
"""Parts of an HR pixel to which a shift is measured."""

ROUNDS = 4
"""How often a shift is measured on what is left of it. A window that stays while the scene moves draws each estimate towards 0, by about a
tenth."""

Plane = Float[np.ndarray, "h w"]


def subpixel_shift(picture: UInt8[Tensor, "3 h w"], reference: UInt8[Tensor, "3 h w"], *, most: float) -> tuple[float, float]:
    """How far what `picture` shows lies below and to the right of where `reference` shows it, in pixels.

    Luma of both, without its mean and faded towards the borders (Hann), by the peak of their cross-correlation, refined by an upsampled
    Fourier transform (Guizar-Sicairos et al. 2008; scikit-image), and again on what is left. Raises UserError for more than `most`
    pixels: no shift of one scene."""
    registration, moving, fixed = _scikit_image(), _luma(picture), _luma(reference)
    fade = np.multiply.outer(*(np.hanning(side + 2)[1:-1] for side in moving.shape))
    shift = np.zeros(2)
    for _ in range(ROUNDS):
        moved = _moved(fixed, (shift[0], shift[1]))
        left, _, _ = registration.phase_cross_correlation(moving * fade, moved * fade, upsample_factor=FINENESS, normalization=None)
        shift += left
        if abs(shift).max() > most:
            raise UserError(
                f"the pair seems shifted by ({shift[0]:g}, {shift[1]:g}) pixels, more than the bound of {most:g}: is it one scene?"
            )
    return round(float(shift[0]), 2), round(float(shift[1]), 2)


def aligned(picture: UInt8[Tensor, "3 h w"], shift: tuple[float, float]) -> tuple[UInt8[Tensor, "3 h2 w2"], int]:
    """The picture moved down and to the right by `shift` pixels (cubic splines), without the border that it has not got there, and the
    width of that border, the same on all sides."""
    moved = np.stack([_moved(channel, shift) for channel in picture.numpy().astype(np.float64)])
    margin = int(np.ceil(max(map(abs, shift))))
    height, width = picture.shape[-2:]
    inner = moved[:, margin : height - margin, margin : width - margin]
    return torch.from_numpy(inner.clip(0, 255).round().astype(np.uint8)), margin


def _luma(picture: UInt8[Tensor, "3 h w"]) -> Plane:
    y = images.to_y(picture.double()).numpy()
    return y - y.mean()


def _moved(plane: Plane, shift: tuple[float, float]) -> Plane:
    from scipy import ndimage

    return ndimage.shift(plane, shift, order=3, mode="mirror")


def _scikit_image() -> Any:
    try:
        from skimage import registration
    except ImportError:
        raise UserError("aligning pictures takes scikit-image, which is not installed: pip install 'wildsr[bench]'") from None
    return registration
