"""Tiles: where a picture is cut, how many windows go through the network together, and what happens when memory runs out.

A window is what the network sees; its part is what is kept of the result. Windows of a picture are of one size, so that they can be
batched: at the borders they are moved inwards, not cut, and they are no larger than an even division asks for."""

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from wildsr.errors import no_memory
from wildsr.upscale.box import Box

SMALLEST = 32
"""Side in LR pixels below which tiles are not halved."""

Say = Callable[[str], None]
Progress = Callable[[int, int], None]
Piece = tuple[Box, Tensor]
"""A place in the LR picture, and its result."""


@runtime_checkable
class Upscaler(Protocol):
    """What strips and kinds of pictures ask of a model."""

    @property
    def scale(self) -> int:
        """How many times larger."""
        ...

    @property
    def overlap(self) -> int:
        """LR pixels of context that a tile has on each side."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def cuts(self, height: int, width: int) -> bool:
        """Whether a picture of this size goes through in several tiles."""
        ...

    def tiles(self, lr: Tensor) -> Iterator[tuple[tuple[int, int], Tensor]]:
        """The result of (B, 3, h, w) piece by piece: (top, left), and the pixels."""
        ...

    def pieces(
        self,
        whole: Box,
        cut: Callable[[Box], Tensor],
        *,
        rows: int | None = None,
        together: int = 1,
        say: Say | None = None,
        progress: Progress | None = None,
    ) -> Iterator[Piece]:
        """The result piece by piece, those of a row of tiles before those of the next."""
        ...


@dataclass(frozen=True)
class Window:
    """What goes through the network at once (`sees`), and which part of it is kept (`gives`); both in LR pixels of the picture."""

    sees: Box
    gives: Box


def spans(begin: int, end: int, length: int, side: int, overlap: int, grid: int = 1) -> list[tuple[int, int, int, int]]:
    """Cuts begin … end of an axis of `length` pixels: (from, to) of each window, then of the part that it gives.

    Windows are at most side + 2·overlap long, see `overlap` pixels around their part as far as there are any, begin at multiples of
    `grid`, and are equally long; only at the picture's end may one be shorter, by less than a grid cell. side and overlap are multiples of
    the grid."""
    low = max(0, (begin - overlap) // grid * grid)
    high = min(length, end + overlap)
    if high - low <= side + 2 * overlap:
        return [(low, high, begin, end)]
    count = -(-(high - low - 2 * overlap) // side)
    step = -(-(high - low - 2 * overlap) // (count * grid)) * grid
    size = step + 2 * overlap
    found, given = [], begin
    for i in range(count):
        start = low + i * step
        if start + size >= high:
            start, until = max(0, -(-(high - size) // grid) * grid), end
        else:
            until = start + size - overlap
        found.append((start, min(start + size, length), given, until))
        given = until
        if given == end:
            break
    return found


def windows(part: Box, whole: Box, side: tuple[int, int], overlap: int, grid: int = 1) -> list[Window]:
    """The windows that give `part` of a picture, row by row. side: most rows and columns of a window without its overlap."""
    rows = spans(part.top, part.bottom, whole.bottom, side[0], overlap, grid)
    columns = spans(part.left, part.right, whole.right, side[1], overlap, grid)
    return [
        Window(Box(top, left, bottom, right), Box(from_row, from_column, to_row, to_column))
        for top, bottom, from_row, to_row in rows
        for left, right, from_column, to_column in columns
    ]


def walk(
    plan: Sequence[Window],
    compute: Callable[[Sequence[Window]], Iterator[Piece]],
    halve: Callable[[Sequence[Window]], list[Window]],
    *,
    together: int = 1,
    progress: Progress | None = None,
) -> Iterator[Piece]:
    """Goes through a plan in its order, `together` windows at once where they are of one size, and yields what `compute` gives.

    When memory runs out, half as many windows go at once; when it does for one alone, all that are left are replaced by what `halve` makes
    of them. progress: called with windows done, and windows in all."""
    left, done = deque(plan), 0
    while left:
        batch = [left.popleft()]
        while left and len(batch) < together and _size(left[0]) == _size(batch[0]):
            batch.append(left.popleft())
        pieces = compute(batch)
        first = _first(pieces)
        if first is None:
            # Here the failed call's frames, and the tensors that they held, are gone.
            del pieces
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            left.extendleft(reversed(batch))
            if len(batch) > 1:
                together = len(batch) // 2
            else:
                left = deque(halve(list(left)))
            continue
        yield first
        yield from pieces
        done += len(batch)
        if progress is not None:
            progress(done, done + len(left))


def _size(window: Window) -> tuple[int, int]:
    return window.sees.bottom - window.sees.top, window.sees.right - window.sees.left


def _first(pieces: Iterator[Piece]) -> Piece | None:
    """The first piece; None when there was no memory for it. Networks run before their first piece is there."""
    try:
        return next(pieces)
    except RuntimeError as error:
        if no_memory(error):
            return None
        raise


def warn(message: str) -> None:
    """Where nobody gave a `say`: a Python warning."""
    warnings.warn(message, stacklevel=2)
