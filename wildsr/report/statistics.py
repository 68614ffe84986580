"""How sure a mean is: bootstrap intervals over training seeds and pictures, and tests of paired differences.

Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3; Davison & Hinkley, "Bootstrap Methods and their Application"
(1997), section 3.8; Wilcoxon (1945); Holm (1979). All chance is a function of a seed."""

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
FEWEST = 6
"""Pictures that a p-value needs at least: with five, the smallest that the signed-rank test can give is 0.0625."""


class Interval(NamedTuple):
    """A mean, and the bounds of its 95 % interval; NaN where there was nothing to average."""

    mean: float
    low: float
    high: float


class Bootstrap:
    """Resampled means of anything measured on the same sets of pictures, by models that were trained with one or several seeds.

    A resample draws, with replacement, as many trainings as there are, and in each set as many pictures as it has; each pair of a drawn
    training and a drawn picture counts (crossed levels, for every training meets every picture). Sets are never resampled. Every method
    meets the same drawn pictures, and methods of the same training seeds the same drawn seeds, so that the difference of two results of
    `means` is that of paired resamples."""

    def __init__(self, sizes: Sequence[int], *, resamples: int = 2000, seed: int = 0) -> None:
        """`sizes`: how many pictures each set has."""
        self.sizes, self.resamples, self.seed = tuple(sizes), resamples, seed
        # (resamples, n) for each set: how often each picture was drawn.
        self._pictures = [self._counts(n, "pictures", i) for i, n in enumerate(self.sizes)]

    def means(self, values: Sequence[np.ndarray], trainings: Sequence[int] = ()) -> np.ndarray:
        """Resampled means, (resamples,): over sets, each weighing the same, of the mean over pictures and training seeds.

        values[i]: (seeds, sizes[i]), NaN where missing; row s of all sets is the same training. `trainings`: the seeds of the rows. Equal
        ones are drawn alike, different ones apart: what a seed does to one method (its start, its pictures) it may do to another, and in
        their difference that is gone.
        What is missing is left out and the rest weighs more. A set without any value is left out; a resample in which a set that has some
        drew none of them is NaN. For a paired difference, let NaN stand in both where either is missing. An infinite value makes the
        resamples that drew it infinite (NaN where both +∞ and −∞ were drawn). Raises ValueError for values of another shape."""
        values = [np.asarray(part, dtype=np.float64) for part in values]
        seeds = values[0].shape[0] if values and values[0].ndim == 2 else 0
        expected = [(seeds, n) for n in self.sizes]
        if [part.shape for part in values] != expected:
            raise ValueError(f"values have the shapes {[part.shape for part in values]}, expected {expected}")
        drawn = self._counts(seeds, "seeds", trainings)
        means = [
            _weighted_mean(part, drawn, pictures) for part, pictures in zip(values, self._pictures, strict=True) if not np.isnan(part).all()
        ]
        return _quiet_mean(np.stack(means)) if means else np.full(self.resamples, np.nan)

    def _counts(self, n: int, *key: object) -> np.ndarray:
        """(resamples, n): how often each of n was drawn in n draws."""
        if n < 2:
            return np.ones((self.resamples, n))
        text = "|".join(map(str, (self.seed, "bootstrap", *key)))
        # As in wildsr.chance, which would bring PyTorch along.
        digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
        rng = np.random.Generator(np.random.Philox(key=digest))
        return rng.multinomial(n, np.full(n, 1 / n), size=self.resamples).astype(np.float64)


def _weighted_mean(values: np.ndarray, trainings: np.ndarray, pictures: np.ndarray) -> np.ndarray:
    """(seeds, n), (resamples, seeds), (resamples, n) -> (resamples,): the mean with both weights multiplied, over what is there."""

    def total(of: np.ndarray) -> np.ndarray:
        return ((pictures @ of.T) * trainings).sum(1)

    # An infinite value times the weight 0 would be NaN: infinite values are counted apart.
    there, finite = ~np.isnan(values), np.isfinite(values)
    weight = total(there.astype(np.float64))
    means = np.full(len(weight), np.nan)
    np.divide(total(np.where(finite, values, 0.0)), weight, out=means, where=weight > 0)
    if (there & ~finite).any():
        up, down = total((values == np.inf).astype(np.float64)) > 0, total((values == -np.inf).astype(np.float64)) > 0
        means[up], means[down], means[up & down] = np.inf, -np.inf, np.nan
    return means


def _quiet_mean(means: np.ndarray) -> np.ndarray:
    """(sets, resamples) -> (resamples,); ∞ − ∞ is NaN without a word."""
    with np.errstate(invalid="ignore"):
        return means.sum(0) / len(means)


def interval(resampled: np.ndarray, mean: float) -> Interval:
    """The 95 % percentile interval of resampled means or differences of means, around the `mean` of all that was measured.

    Its bounds are order statistics, not interpolated between two: of n numbers in order (NaN left out), the one with ⌊0.025 n⌋ below it,
    and the one with as many above it. Bounds may be infinite."""
    ordered = np.sort(resampled[~np.isnan(resampled)])
    if not ordered.size:
        return Interval(mean, np.nan, np.nan)
    outside = int((1 - CONFIDENCE) / 2 * ordered.size + 1e-9)
    return Interval(mean, float(ordered[outside]), float(ordered[-1 - outside]))


def wilcoxon(differences: np.ndarray) -> float | None:
    """The two-sided p-value of Wilcoxon's signed-rank test over paired differences, one for each picture; None below six pictures.

    NaN is no picture. Zero differences count as pictures and are then dropped, as Wilcoxon does; where nothing else is left, 1. Equal sizes
    share their mean rank; infinite ones are the largest. Exact up to 50 differences, also where sizes are equal; beyond, the normal
    approximation with the variance of tied ranks."""
    differences = np.asarray(differences, dtype=np.float64)
    differences = differences[~np.isnan(differences)]
    if differences.size < FEWEST:
        return None
    differences = differences[differences != 0]
    n = differences.size
    if not n:
        return 1.0
    _, place, counts = np.unique(np.abs(differences), return_inverse=True, return_counts=True)
    # Doubled, so that the mean of tied ranks is whole.
    ranks = (2 * counts.cumsum() - counts + 1)[place]
    total, positive = int(ranks.sum()), int(ranks[differences > 0].sum())
    smaller = min(positive, total - positive)
    if n > EXACT:
        z = (smaller - total / 2) / math.sqrt(np.square(ranks.astype(np.float64)).sum() / 4)
        return math.erfc(-z / math.sqrt(2))
    # The chance of each sum of ranks, every difference being positive or negative with one half.
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for rank in ranks:
        chances[rank:] += chances[: total + 1 - rank].copy()
        chances /= 2
    return min(1.0, 2 * float(chances[: smaller + 1].sum()))


EXACT = 50
"""Differences up to which a p-value is exact."""


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment: p-values that hold together at one level, in the order given. None stays None and does not count."""
    there = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    adjusted: list[float | None] = [None] * len(ps)
    largest = 0.0
    for step, (p, place) in enumerate(there):
        largest = max(largest, min(1.0, (len(there) - step) * p))
        adjusted[place] = largest
    return adjusted
