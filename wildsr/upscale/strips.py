"""A picture as it lies in its file, through a model, strip by strip: any depth, grey, transparent, at any output size."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wildsr import images
from wildsr.errors import UserError
from wildsr.upscale.box import Box
from wildsr.upscale.hidden import Visible
from wildsr.upscale.resize import resized
from wildsr.upscale.tiling import Progress, Say, Upscaler, warn

STRIP_BYTES = 2**26
"""Bytes of one strip of a result, about: what is held of it at once."""

LARGEST = 64
"""Greatest factor by which a picture is enlarged."""

ALPHAS = ("premultiplied", "model")

_ROWS = 512
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Enlarged:
    """A result on its way: rows gives its strips (h, width, channels) from top to bottom, once, computed while they are taken."""

    height: int
    width: int
    channels: int
    dtype: str
    meta: images.Meta
    rows: Iterator[np.ndarray]


def enlarge(
    model: Upscaler,
    photo: images.Photo,
    *,
    outscale: float | None = None,
    alpha: str = "premultiplied",
    say: Say | None = None,
    progress: Progress | None = None,
) -> Enlarged:
    """Upscales a picture of any kind to the same kind: number type, grey, alpha and all that belongs to it stay.

    Grey goes through the network as RGB and comes back by BT.601's weights. Samples in float are clipped to [0, 1], and `say` is told.
    outscale: another factor than the model's; its result is resampled bicubically (antialiased) to round(outscale · side), 1 at least.
    alpha: how transparency is enlarged, "premultiplied" (colours that are wholly hidden give way to visible ones near them, weighted by
    alpha; alpha itself bicubically) or "model" (alpha through the network as well). say: notes, as of smaller tiles when memory ran out;
    without it, Python warnings. progress: tiles done, and tiles in all.

    Memory beside the picture: a strip of about 64 MB, or of a picture that one tile holds, twice, and what the network needs for a tile.
    Raises UserError for factors and names out of range, for samples that are not finite, and, while rows are taken, for a network's
    output that is not."""
    if alpha not in ALPHAS:
        raise UserError(f"unknown alpha {alpha!r}: use {' or '.join(ALPHAS)}")
    factor = model.scale if outscale is None else outscale
    if not 0 < factor <= LARGEST:
        raise UserError(f"outscale = {outscale}: use a number above 0, {LARGEST} at most")
    pixels = photo.pixels
    height, width, channels = pixels.shape
    tell = say or warn
    if pixels.dtype.kind == "f":
        _require_range(pixels, tell)
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    job = _Job(model, pixels, size, tell, progress, through=channels % 2 == 0 and alpha == "model")
    return Enlarged(*size, channels, pixels.dtype.name, photo.meta, job.rows())


def _require_range(pixels: np.ndarray, tell: Say) -> None:
    outside = 0
    for top in range(0, len(pixels), _ROWS):
        rows = pixels[top : top + _ROWS]
        if not np.isfinite(rows).all():
            raise UserError("the picture holds samples that are not numbers: replace them first")
        outside += int(((rows < 0) | (rows > 1)).sum())
    if outside:
        tell(f"{100 * outside / pixels.size:.3g} % of the samples lie outside 0 (black) to 1 (white), and were clipped")


class _Job:
    """One picture. through: alpha goes through the network."""

    def __init__(
        self, model: Upscaler, pixels: np.ndarray, size: tuple[int, int], say: Say, progress: Progress | None, *, through: bool
    ) -> None:
        self.model, self.pixels, self.size, self.say, self.through = model, pixels, size, say, through
        self.has_alpha = pixels.shape[2] % 2 == 0
        self.whole = Box(0, 0, *pixels.shape[:2])
        self.top = float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0
        self.enlarged = (pixels.shape[0] * model.scale, pixels.shape[1] * model.scale)
        # While strips are resampled, they are floats.
        bytes_a_row = self.enlarged[1] * model.scale * pixels.shape[2] * (pixels.itemsize if size == self.enlarged else 4)
        # With fewer rows than their overlap, more would be computed twice than once; and what a tile holds is not cut.
        cuts = model.cuts(*pixels.shape[:2])
        self.strip_rows = max(64, 2 * model.overlap, STRIP_BYTES // bytes_a_row) if cuts else None
        self.counts = [(0, 0), (0, 0)]
        self.progress = progress

    def rows(self) -> Iterator[np.ndarray]:
        """The result's strips."""
        colour = map(self._typed, self._resized(self._strips(0, self._colours())))
        if not self.has_alpha:
            yield from colour
            return
        if self.through:
            alpha = self._resized(self._strips(1, self._alpha))
        else:
            plain = (self.pixels[top : top + _ROWS, :, -1:].astype(np.float32) / self.top for top in range(0, self.whole.bottom, _ROWS))
            alpha = resized(plain, (self.whole.bottom, self.whole.right), self.size)
        take = _Taker(map(self._typed, alpha))
        for strip in colour:
            yield np.concatenate([strip, take.rows(len(strip))], axis=2)
        deque(alpha, 0)  # so that its last tile is counted

    def _resized(self, strips: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        return strips if self.size == self.enlarged else resized(strips, self.enlarged, self.size)

    def _typed(self, strip: np.ndarray) -> np.ndarray:
        """Floats in the picture's number type, rounded half to even."""
        if strip.dtype == self.pixels.dtype and strip.dtype.kind == "u":
            return strip
        strip = strip.clip(0, 1)
        return (strip * self.top).round().astype(self.pixels.dtype) if self.pixels.dtype.kind == "u" else strip

    def _colours(self) -> Callable[[Box], np.ndarray]:
        if not self.has_alpha:
            return lambda box: self.pixels[box.top : box.bottom, box.left : box.right]
        visible = Visible(self.pixels)
        return lambda box: visible.cut(box.top, box.bottom, box.left, box.right)

    def _alpha(self, box: Box) -> np.ndarray:
        return self.pixels[box.top : box.bottom, box.left : box.right, -1:]

    def _strips(self, number: int, samples: Callable[[Box], np.ndarray]) -> Iterator[np.ndarray]:
        """Grey or colour through the network, in strips (h, W, C): floats in [0, 1] where they are resampled, else samples."""
        model, grey = self.model, self.pixels.shape[2] < 3 or number == 1

        def cut(box: Box) -> Tensor:
            part = torch.from_numpy(samples(box).astype(np.float32)).to(model.device) / self.top
            return part.clamp(0, 1).permute(2, 0, 1)[None].expand(1, 3, -1, -1).contiguous()

        def count(done: int, total: int) -> None:
            self.counts[number] = (done, total)
            if self.progress is not None:
                most = max(of for _, of in self.counts)
                self.progress(sum(done for done, _ in self.counts), most * (2 if self.through else 1))

        width, begin = self.enlarged[1], 0
        waiting: list[tuple[Box, np.ndarray]] = []
        for place, out in model.pieces(self.whole, cut, rows=self.strip_rows, say=self.say, progress=count):
            out = luma(out) if grey else out
            piece = out[0].permute(1, 2, 0).cpu().numpy()
            waiting.append((place.times(model.scale), self._typed(piece) if self.size == self.enlarged else piece))
            # Tiles come row by row: when they fill whole rows, these are done.
            end = max(box.bottom for box, _ in waiting)
            if sum(pixels.shape[0] * pixels.shape[1] for _, pixels in waiting) == width * (end - begin):
                strip = np.empty((end - begin, width, piece.shape[2]), waiting[0][1].dtype)
                for box, pixels in waiting:
                    strip[box.top - begin : box.bottom - begin, box.left : box.right] = pixels
                waiting.clear()
                begin = end
                yield strip


def luma(rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """Grey of RGB, by BT.601's weights."""
    weights = rgb.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (rgb * weights).sum(1, keepdim=True)


class _Taker:
    """Strips cut anew, into as many rows as are asked for."""

    def __init__(self, strips: Iterator[np.ndarray]) -> None:
        self._strips, self._held = strips, []
        self._count = 0

    def rows(self, count: int) -> np.ndarray:
        """The next rows."""
        while self._count < count:
            self._held.append(next(self._strips))
            self._count += len(self._held[-1])
        held = np.concatenate(self._held)
        self._held, self._count = [held[count:]], len(held) - count
        return held[:count]
