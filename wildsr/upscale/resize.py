"""Bicubic resizing, antialiased, of pictures that come in strips."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from PIL import Image

Rows = Float[np.ndarray, "h w c"]


def taps(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """For each sample after: the first sample before that it is made of, and the weights (after, count), which sum to 1; Pillow's
    definition: Keys' cubic with a = -0.5, as wide as the ratio where it shrinks, cut off and renormalised at the borders."""
    ratio = before / after
    stretch = max(ratio, 1.0)
    centers = (np.arange(after) + 0.5) * ratio
    first = np.maximum((centers - 2 * stretch + 0.5).astype(int), 0)
    last = np.minimum((centers + 2 * stretch + 0.5).astype(int), before)
    count = int((last - first).max())
    places = first[:, None] + np.arange(count)
    x = np.abs((places - centers[:, None] + 0.5) / stretch)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0)) * (places < last[:, None])
    return first, weights / weights.sum(1, keepdims=True)


def resized(strips: Iterator[Rows], size: tuple[int, int], target: tuple[int, int]) -> Iterator[Rows]:
    """A picture of size (h, w), which comes in strips from top to bottom, at the size `target`, likewise. Values are not clamped.

    Across by Pillow, in float32; down by sums in float64. Memory: the strips that a row depends on, at the target's width."""
    first, weights = taps(size[0], target[0])
    kept: list[np.ndarray] = []
    begin = end = done = 0  # rows that are kept, and rows that are made
    for strip in strips:
        kept.append(np.stack([_across(strip[:, :, channel], target[1]) for channel in range(strip.shape[2])], axis=2))
        end += len(strip)
        until = done
        while until < target[0] and (first[until] + weights.shape[1] <= end or end == size[0]):
            until += 1
        if until == done:
            continue
        held = np.concatenate(kept)
        made = np.empty((until - done, *held.shape[1:]), np.float32)
        for row in range(done, until):
            start = first[row]
            used = held[start - begin : start + weights.shape[1] - begin]
            made[row - done] = np.tensordot(weights[row, : len(used)], used, axes=1)
        yield made
        done = until
        needed = first[done] if done < target[0] else end
        kept, begin = [held[needed - begin :]], needed


def _across(channel: np.ndarray, width: int) -> np.ndarray:
    """Rows at another width; Pillow resizes along one axis only where the other stays as it is."""
    rows = Image.fromarray(np.ascontiguousarray(channel, np.float32))
    return np.asarray(rows.resize((width, len(channel)), Image.Resampling.BICUBIC))
