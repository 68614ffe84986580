"""Rectangles of pixels, and what they cut out of tensors."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Num
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top … bottom - 1, columns left … right - 1."""

    top: int
    left: int
    bottom: int
    right: int

    def wider(self, margin: int, within: "Box") -> "Box":
        """With `margin` more pixels on each side, as far as `within` reaches."""
        top, left = max(self.top - margin, within.top), max(self.left - margin, within.left)
        return Box(top, left, min(self.bottom + margin, within.bottom), min(self.right + margin, within.right))

    def times(self, scale: int) -> "Box":
        """The same place in a picture `scale` times as large."""
        return Box(self.top * scale, self.left * scale, self.bottom * scale, self.right * scale)

    def cut(self, x: Num[Tensor, "b c h w"], origin: "Box") -> Num[Tensor, "b c bh bw"]:
        """This box of a tensor that covers the box `origin`."""
        return x[..., self.top - origin.top : self.bottom - origin.top, self.left - origin.left : self.right - origin.left]

    def parts(self, height: int, width: int) -> "Iterator[Box]":
        """Boxes of height × width that cover this one, row by row; the last ones are as large as what is left."""
        for top in range(self.top, self.bottom, height):
            for left in range(self.left, self.right, width):
                yield Box(top, left, min(top + height, self.bottom), min(left + width, self.right))

    def even_parts(self, side: int) -> "Iterator[Box]":
        """As few boxes of one size as cover this one and are at most side × side; only the last ones may be smaller."""
        height, width = (-(-length // -(-length // side)) for length in (self.bottom - self.top, self.right - self.left))
        return self.parts(height, width)
