"""What the page shows of a picture: the whole, small enough for a screen, and a part of it as it is."""

import numpy as np
from PIL import Image

SIDE = 1600
"""Most pixels a side of a picture that is shown as a whole."""

DETAIL = 512
"""Pixels a side of the part that is shown as it is."""

Box = tuple[int, int, int, int]
"""Top, left, bottom, right."""


def shown(pixels: np.ndarray) -> Image.Image:
    """Samples (H, W, C) of any kind as an 8-bit Pillow picture, RGB or RGBA."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        pixels = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return picture.convert("RGBA" if pixels.shape[2] in (2, 4) else "RGB")


def busiest(pixels: np.ndarray, side: int) -> Box:
    """The side × side pixels, or what there is of them, whose neighbours differ most."""
    grey = np.asarray(shown(pixels).convert("L"), np.float32)
    height, width = grey.shape
    tall, wide = min(side, height), min(side, width)
    change = np.zeros_like(grey)
    change[1:] += np.abs(np.diff(grey, axis=0))
    change[:, 1:] += np.abs(np.diff(grey, axis=1))
    sums = np.pad(change.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
    found = sums[tall:, wide:] - sums[:-tall, wide:] - sums[tall:, :-wide] + sums[:-tall, :-wide]
    top, left = np.unravel_index(found.argmax(), found.shape)
    return int(top), int(left), int(top) + tall, int(left) + wide


class Preview:
    """Looks at the strips of a result as they go by, and keeps what is shown of it."""

    def __init__(self, height: int, width: int, detail: Box) -> None:
        self.factor = max(1, -(-max(height, width) // SIDE))
        self.detail_box = detail
        self._whole: list[np.ndarray] = []
        self._detail: list[np.ndarray] = []
        self._held: np.ndarray | None = None
        self._row = 0

    def take(self, rows: np.ndarray) -> None:
        """The next rows."""
        top, left, bottom, right = self.detail_box
        begin, end = max(top - self._row, 0), max(bottom - self._row, 0)
        self._detail.append(rows[begin:end, left:right])
        self._row += len(rows)
        held = rows if self._held is None else np.concatenate([self._held, rows])
        fit = len(held) // self.factor * self.factor
        self._whole.append(self._reduced(held[:fit]))
        self._held = held[fit:]

    def _reduced(self, rows: np.ndarray) -> np.ndarray:
        """Means of squares of `factor` pixels, or of what a thinner picture has; what is left over at the borders is not shown."""
        if self.factor == 1:
            return rows
        down, across = self.factor, min(self.factor, rows.shape[1])
        wide = rows.shape[1] // across * across
        blocks = rows[:, :wide].reshape(len(rows) // down, down, wide // across, across, rows.shape[2])
        return blocks.mean((1, 3), dtype=np.float32).astype(rows.dtype)

    def whole(self) -> Image.Image:
        """The whole result, reduced `factor` times."""
        pixels = np.concatenate(self._whole)
        if not len(pixels) and self._held is not None:  # lower than one square
            row = self._held.mean(0, dtype=np.float32, keepdims=True).astype(pixels.dtype)
            pixels = self._reduced(np.repeat(row, self.factor, axis=0))
        return shown(pixels)

    def detail(self) -> Image.Image:
        """The part of the result."""
        return shown(np.concatenate(self._detail))
