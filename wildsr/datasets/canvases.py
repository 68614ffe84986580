"""HR canvases, and the order in which pictures come."""

import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from wildsr import chance
from wildsr.datasets.source import Source

_AHEAD = 4  # slots whose groups are read before they are needed


class Order:
    """Which picture sample n comes from: every epoch is another permutation, and a pure function of (seed, epoch).

    Pictures lie in groups that are read at once, of `groups` pictures each. The groups are put in a random order, and the rows of each,
    shuffled, are dealt out to `window` successive slots; slot t mixes what the groups t, t − 1, …, t − window + 1 deal to it (counted
    round the epoch). So reading is even, one new group a slot; a picture's neighbours are of `window` groups; and no more than that many
    need be in memory. With groups of one picture and a window of 1, this is a permutation of all pictures."""

    def __init__(self, groups: Sequence[int] | np.ndarray, window: int, seed: int) -> None:
        self._sizes, self._window, self._seed = np.asarray(groups), window, seed
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._count = int(self._sizes.sum())
        self._epoch = lru_cache(2)(self._draw_epoch)
        self._soon = lru_cache(4)(self._list_soon)
        self._members = lru_cache(4)(self._draw_members)
        self._rows = lru_cache(2 * window)(self._draw_rows)

    def __call__(self, n: int) -> int:
        """The picture of sample n."""
        epoch, slot, place = self._slot(n)
        return int(self._members(epoch, slot)[place])

    def soon(self, n: int) -> tuple[int, ...]:
        """The groups that the slot of sample n needs, and those that the next few slots need besides."""
        epoch, slot, _ = self._slot(n)
        return self._soon(epoch, slot)

    def _slot(self, n: int) -> tuple[int, int, int]:
        """(epoch, slot in it, place in that) of sample n."""
        epoch, place = divmod(n, self._count)
        _, ends = self._epoch(epoch)
        slot = int(np.searchsorted(ends, place, side="right"))
        return epoch, slot, place - (int(ends[slot - 1]) if slot else 0)

    def _draw_epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The order of the groups, and where each slot ends."""
        order = chance.generator(self._seed, "order", epoch).permutation(len(self._sizes))
        sizes = self._sizes[order]
        shares = (np.roll(sizes * (j + 1) // self._window - sizes * j // self._window, j) for j in range(self._window))
        return order, np.cumsum(sum(shares))

    def _groups(self, epoch: int, slot: int) -> list[int]:
        """The groups of a slot, the newest first."""
        order, _ = self._epoch(epoch)
        return [int(order[(slot - j) % len(order)]) for j in range(self._window)]

    def _list_soon(self, epoch: int, slot: int) -> tuple[int, ...]:
        slots = (divmod(epoch * len(self._sizes) + slot + ahead, len(self._sizes)) for ahead in range(_AHEAD + 1))
        return tuple(dict.fromkeys(group for place in slots for group in self._groups(*place)))

    def _draw_members(self, epoch: int, slot: int) -> np.ndarray:
        """The pictures of a slot, in order."""
        dealt = [self._starts[group] + self._rows(epoch, group)[self._share(group, j)] for j, group in enumerate(self._groups(epoch, slot))]
        members = np.concatenate(dealt)
        return chance.generator(self._seed, "slot", epoch, slot).permutation(members) if len(members) > 1 else members

    def _share(self, group: int, j: int) -> slice:
        """What a group deals to the j-th of its slots."""
        size = int(self._sizes[group])
        return slice(size * j // self._window, size * (j + 1) // self._window)

    def _draw_rows(self, epoch: int, group: int) -> np.ndarray:
        """A group's rows, shuffled."""
        size = int(self._sizes[group])
        return chance.generator(self._seed, "rows", epoch, group).permutation(size) if size > 1 else np.zeros(size, np.int64)


class Canvases:
    """HR canvases, each a pure function of (seed, n): n, the count of HR pictures drawn since the start of the run, fixes the picture,
    the place of the canvas in it, and the flip.

    Every epoch is a new permutation of the pictures (see `Order`). A picture smaller than the canvas is reflect-padded at right and bottom
    (without repeating the edge), as in the reference."""

    def __init__(self, source: Source, side: int, seed: int) -> None:
        self.source, self.side, self.seed = source, side, seed
        self.index = Order(source.groups, source.window, seed)
        self._held: tuple[int, ...] = ()
        self._ahead: dict[int, Future[UInt8[Tensor, "3 side side"]]] = {}
        self._pool = ThreadPoolExecutor(min(16, os.cpu_count() or 1), "canvases")

    def __call__(self, n: int) -> UInt8[Tensor, "3 side side"]:
        started = self._ahead.pop(n, None)
        return started.result() if started is not None else self._make(n)

    def prepare(self, numbers: Sequence[int]) -> None:
        """Starts to make the canvases of these samples in other threads, while this one does other work; earlier ones that were started
        are let go. What comes of a call is the same with and without it."""
        later = {n: started for n, started in self._ahead.items() if n >= min(numbers)}
        self._ahead = later | {n: self._pool.submit(self._make, n) for n in numbers if n not in later}

    def _make(self, n: int) -> UInt8[Tensor, "3 side side"]:
        if self.source.window > 1 and (soon := self.index.soon(n)) != self._held:
            self._held = soon
            self.source.hold(soon)
        picture = self.source.read(self.index(n))
        _, height, width = picture.shape
        if min(height, width) < self.side:
            pad = ((0, 0), (0, max(0, self.side - height)), (0, max(0, self.side - width)))
            # NumPy's reflection goes back and forth where the padding is wider than the picture.
            picture = np.pad(picture, pad, mode="reflect")
            _, height, width = picture.shape
        rng = chance.generator(self.seed, "canvas", n)
        top, left = int(rng.integers(height - self.side + 1)), int(rng.integers(width - self.side + 1))
        # Cut before copying: of a picture on the disk, no more is read than the canvas needs.
        canvas = torch.from_numpy(picture[:, top : top + self.side, left : left + self.side].copy())
        return canvas.flip(-1) if rng.random() < 0.5 else canvas
