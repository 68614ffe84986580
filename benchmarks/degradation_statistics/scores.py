"""Statistics of wildsr's samples beside the twin's, as z-scores."""

import math
import statistics
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Score:
    """One statistic of wildsr's samples beside the twin's: the means, and the z-scores of the difference."""

    name: str
    ours: float
    twins: float
    mean: float
    spread: float
    distribution: float
    ends: float

    @property
    def worst(self) -> float:
        """The largest of the four, whatever its sign."""
        return max(abs(self.mean), abs(self.spread), abs(self.distribution), abs(self.ends))


def z_of_difference(ours: np.ndarray, twins: np.ndarray, paired: bool) -> float:
    """The z-score of the difference of the means; with `paired`, value i of both belongs to the same picture, or the same draws."""
    if paired:
        difference = ours - twins
        mean, error = difference.mean(), difference.std(ddof=1) / math.sqrt(len(difference))
    else:
        mean = ours.mean() - twins.mean()
        error = math.sqrt(ours.var(ddof=1) / len(ours) + twins.var(ddof=1) / len(twins))
    if mean == 0 or error == 0:
        return math.copysign(math.inf, mean) if mean else 0.0
    # From Student's t to z, after Wallace: with few values, large t are likelier than large z.
    free = min(len(ours), len(twins)) - 1
    return math.copysign((8 * free + 1) / (8 * free + 3) * math.sqrt(free * math.log1p((mean / error) ** 2 / free)), mean)


def z_of_distribution(ours: np.ndarray, twins: np.ndarray) -> float:
    """Kolmogorov and Smirnov's greatest distance between the two distributions, as the normal score of the same probability.

    Pairing is not used: it makes the score smaller, never larger."""
    edges = np.unique(np.concatenate([ours, twins]))
    ranks = [np.searchsorted(np.sort(values), edges, side="right") / len(values) for values in (ours, twins)]
    root = np.abs(ranks[0] - ranks[1]).max() * math.sqrt(len(ours) * len(twins) / (len(ours) + len(twins)))
    return z_of_chance(2 * math.exp(-2 * root**2))


def z_of_ends(ours: np.ndarray, twins: np.ndarray) -> float:
    """From how many values of one side lie beyond all of the other's: strict about ranges, where means and spreads are lenient."""
    least = 0.0
    for many, others in ((ours, twins), (twins, ours), (-ours, -twins), (-twins, -ours)):
        beyond = np.arange((many > others.max()).sum())
        least = min(least, float(np.log((len(many) - beyond) / (len(many) + len(others) - beyond)).sum()))
    return z_of_chance(math.exp(max(least, -600)))


def z_of_chance(chance: float) -> float:
    """The z-score, from 0 on, that is exceeded on either side with this probability."""
    return abs(statistics.NormalDist().inv_cdf(min(max(chance, 1e-300), 1.0) / 2))


def compare(ours: dict[str, Tensor], twins: dict[str, Tensor], paired: bool) -> list[Score]:
    """Statistic by statistic, the most striking first. A value of NaN says that the statistic has no meaning for that sample."""
    scores = []
    for name in ours:
        # Rounded, so that the last digits of equal values do not tell them apart.
        a, b = (side[name].double().numpy().round(6) for side in (ours, twins))
        if paired:
            known = ~np.isnan(a + b)
            a, b = a[known], b[known]
        else:
            a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        centre = np.concatenate([a, b]).mean()
        mean, spread = z_of_difference(a, b, paired), z_of_difference((a - centre) ** 2, (b - centre) ** 2, paired)
        ends = 0.0 if paired else z_of_ends(a, b)
        scores.append(Score(name, float(a.mean()), float(b.mean()), mean, spread, z_of_distribution(a, b), ends))
    return sorted(scores, key=lambda score: -score.worst)
