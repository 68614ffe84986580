"""Colours under transparency: what nobody sees, and a network would drag into what is seen."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 512


class Visible:
    """A picture (H, W, C + 1), its last channel alpha, whose wholly transparent pixels take the colours of visible ones near them.

    A pyramid of means weighted by alpha, each level filled from the coarser one (pull and push). Held is its half-size level and what is
    below, a third of a float picture's memory at most; the picture itself is filled where it is looked at."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self._whole = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
        hidden = any((pixels[top : top + _ROWS, :, -1] <= 0).any() for top in range(0, len(pixels), _ROWS))
        self._half = self._pushed() if hidden else None

    def cut(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Colours (h, w, C) of a part, in the picture's own number type."""
        part = self._pixels[top:bottom, left:right]
        colour, hidden = part[..., :-1], part[..., -1] <= 0
        if self._half is None or not hidden.any():
            return colour
        rows, columns = np.arange(top, bottom) // 2, np.arange(left, right) // 2
        near = self._half[:, rows[:, None], columns].permute(1, 2, 0).numpy() * self._whole
        near = near.round() if colour.dtype.kind == "u" else near
        return np.where(hidden[..., None], near.astype(colour.dtype), colour)

    def _pushed(self) -> Tensor:
        """Colours at half the size, filled everywhere: (C, H/2, W/2) in [0, 1]."""
        level = self._halved()
        levels = []
        while True:
            levels.append(level)
            if level.shape[-1] == 1 and level.shape[-2] == 1:
                break
            level = F.avg_pool2d(level, 2, ceil_mode=True, count_include_pad=False)
        filled = None
        for sums in reversed(levels):
            weight = sums[:, -1:]
            own = sums[:, :-1] / weight.clamp_min(torch.finfo().tiny)
            if filled is None:
                filled = torch.where(weight > 0, own, torch.full_like(own, 0.5))  # nothing is to be seen at all
            else:
                coarse = F.interpolate(filled, size=sums.shape[-2:], mode="bilinear", align_corners=False)
                filled = torch.where(weight > 0, own, coarse)
        assert filled is not None
        return filled[0]

    def _halved(self) -> Tensor:
        """(1, C + 1, H/2, W/2): means of colour · alpha, and of alpha."""
        strips = []
        for top in range(0, len(self._pixels), _ROWS):
            strip = torch.from_numpy(self._pixels[top : top + _ROWS].astype(np.float32)).permute(2, 0, 1)[None] / self._whole
            alpha = strip[:, -1:].clamp(0, 1)
            sums = torch.cat([strip[:, :-1].clamp(0, 1) * alpha, alpha], 1)
            strips.append(F.avg_pool2d(sums, 2, ceil_mode=True, count_include_pad=False))
        return torch.cat(strips, 2)
