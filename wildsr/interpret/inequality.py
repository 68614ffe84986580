"""How unequal numbers are, and how alike two rankings: single numbers for many channels."""

from typing import Any

import numpy as np

from wildsr.errors import UserError


def gini(values: Any, *, shift: bool = False) -> float:
    """The Gini coefficient of numbers ≥ 0, in [0, 1): 0 when all are equal (also all 0), (n − 1) / n when one of n has everything.

    The mean absolute difference of two of them, drawn with replacement, over twice their mean; a common factor changes nothing.
    Negative numbers have none and raise UserError, unless `shift` moves all up by the smallest of them, as LAM's code does.
    values: any array or tensor on the CPU, flattened. Raises UserError for none, and for what is not finite."""
    x = _numbers(values, "the Gini coefficient")
    if x.min() < 0:
        if not shift:
            raise UserError(f"the Gini coefficient is of numbers that are not negative, and {x.min():.3g} is among them: take shift=True")
        x = x - x.min()
    total, n = x.sum(), x.size
    if total == 0:
        return 0.0
    x = np.sort(x / total)
    return max(0.0, float(((2 * np.arange(1, n + 1) - n - 1) * x).sum() / n))


def rank_correlation(a: Any, b: Any) -> float:
    """Spearman's rank correlation in [-1, 1]: Pearson's of the ranks, ties sharing the mean of theirs.

    NaN when one side's numbers are all equal, which ranks nothing. a, b: arrays or tensors on the CPU, equally many, at least two.
    Raises UserError otherwise, and for what is not finite."""
    x, y = _numbers(a, "a rank correlation"), _numbers(b, "a rank correlation")
    if x.size != y.size or x.size < 2:
        raise UserError(f"a rank correlation is of two lists of one length, at least 2: these have {x.size} and {y.size}")
    x, y = _ranks(x), _ranks(y)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float("nan") if size == 0 else float(np.clip((x @ y) / size, -1, 1))


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 0; equal values have the mean of their places."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts + 1) / 2)[which]


def _numbers(values: Any, what: str) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64).ravel()
    if not x.size:
        raise UserError(f"{what} needs numbers, and there are none")
    if not np.isfinite(x).all():
        raise UserError(f"{what} needs finite numbers: {np.count_nonzero(~np.isfinite(x))} of {x.size} are not")
    return x
