"""Rectangles of pixels, what they cut out of tensors, and the eight ways to turn both about."""

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Num
from torch import Tensor


@dataclass(frozen=True)
class Turn:
    """One of the eight symmetries of the square: rows and columns exchanged, then turned upside down, then left to right."""

    exchange: bool
    rows: bool
    columns: bool

    def apply(self, x: Num[Tensor, "*b h w"]) -> Num[Tensor, "*b th tw"]:
        """The picture, turned."""
        x = x.transpose(-2, -1) if self.exchange else x
        return x.flip([axis for axis, flipped in ((-2, self.rows), (-1, self.columns)) if flipped])

    def undo(self, x: Num[Tensor, "*b th tw"]) -> Num[Tensor, "*b h w"]:
        """The inverse of `apply`."""
        x = x.flip([axis for axis, flipped in ((-2, self.rows), (-1, self.columns)) if flipped])
        return x.transpose(-2, -1) if self.exchange else x


TURNS = tuple(Turn(exchange, rows, columns) for exchange in (False, True) for rows in (False, True) for columns in (False, True))
"""All eight; the first changes nothing."""


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

    def turned(self, turn: Turn, whole: "Box") -> "Box":
        """Where this box of a picture lies when the picture, which covers `whole` from (0, 0) on, is turned."""
        box = Box(self.left, self.top, self.right, self.bottom) if turn.exchange else self
        height, width = (whole.right, whole.bottom) if turn.exchange else (whole.bottom, whole.right)
        top, bottom = (height - box.bottom, height - box.top) if turn.rows else (box.top, box.bottom)
        left, right = (width - box.right, width - box.left) if turn.columns else (box.left, box.right)
        return Box(top, left, bottom, right)

    def parts(self, height: int, width: int) -> "Iterator[Box]":
        """Boxes of height × width that cover this one, row by row; the last ones are as large as what is left."""
        for top in range(self.top, self.bottom, height):
            for left in range(self.left, self.right, width):
                yield Box(top, left, min(top + height, self.bottom), min(left + width, self.right))

    def even_parts(self, side: int) -> "Iterator[Box]":
        """As few boxes of one size as cover this one and are at most side × side; only the last ones may be smaller."""
        height, width = (-(-length // -(-length // side)) for length in (self.bottom - self.top, self.right - self.left))
        return self.parts(height, width)
