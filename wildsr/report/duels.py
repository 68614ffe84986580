"""Two methods against each other, picture by picture: every pair of a few, worked out beforehand."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wildsr.report.methods import Cell, Grid, bounds
from wildsr.report.parts import Html, Look, fill
from wildsr.report.statistics import FEWEST, Bootstrap, holm, interval, wilcoxon
from wildsr.report.tables import BICUBIC, metric_of, plural, signed

DUELISTS = 6
"""Methods of which every pair is worked out, at most."""
EXTREMES = 3
"""Pictures with the largest gains that are shown, and as many with the largest losses."""


@dataclass(frozen=True)
class Line:
    """One line of a paired table: over how many pictures, the mean difference with its interval, and the p-values."""

    count: int
    cell: Cell
    p: float | None
    adjusted: float | None


@dataclass(frozen=True)
class Duel:
    """Two methods of one grid. `lines`: of the mean over all degradations (None), and of each, with p adjusted over the degradations.
    `gains` and `losses`: (degradation, index of the picture) where the first is better, or worse, than the second by most."""

    first: str
    second: str
    lines: dict[str | None, Line]
    gains: list[tuple[str, int]]
    losses: list[tuple[str, int]]


class Duels:
    """All pairs of some methods under one metric of one suite, over the pictures of all sets pooled. A picture that stands in two sets
    (Set5's head is Set14's face) counts once: `twice` has it, and as what it counts."""

    def __init__(self, grid: Grid, names: Sequence[str]) -> None:
        self.grid, self.names = grid, list(names)
        known: dict[str, tuple[str, str]] = {}
        self.twice: dict[tuple[str, str], tuple[str, str]] = {}
        for place in grid.summary.images():
            first = known.setdefault(grid.summary.hashes.get(place, str(place)), place)
            if first != place:
                self.twice[place] = first
        self._kept = np.array([place not in self.twice for place in grid.summary.images()])
        self.pictures = [place for place in grid.summary.images() if place not in self.twice]
        self.columns: list[str | None] = [None, *grid.summary.degradations]
        self._boot = Bootstrap([len(self.pictures)])
        self._values: dict[tuple[str, str | None], np.ndarray] = {}
        self._duels: dict[tuple[str, str], Duel] = {}

    def values(self, name: str, degradation: str | None) -> np.ndarray:
        """(seeds, pictures), NaN where missing; None: the mean over the degradations, of pictures that have all."""
        key = (name, degradation)
        if key not in self._values:
            if degradation is None:
                found = np.stack([self.values(name, one) for one in self.grid.summary.degradations])
                with np.errstate(invalid="ignore"):
                    self._values[key] = found.mean(0)
            else:
                parts = [self.grid.values(name, of_set, degradation) for of_set in self.grid.summary.sets]
                self._values[key] = np.concatenate(parts, axis=1)[:, self._kept]
        return self._values[key]

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every pair once, in the order of the methods."""
        return itertools.combinations(self.names, 2)

    def duel(self, first: str, second: str) -> Duel:
        """One pair. p-values are None below six pictures."""
        if (first, second) in self._duels:
            return self._duels[first, second]
        lines = {column: self._line(first, second, column) for column in self.columns}
        adjusted = holm([lines[name].p for name in self.columns[1:]])
        for name, p in zip(self.columns[1:], adjusted, strict=True):
            lines[name] = replace(lines[name], adjusted=p)
        return self._duels.setdefault((first, second), Duel(first, second, lines, *self._extremes(first, second)))

    def differences(self, first: str, second: str, column: str | None) -> np.ndarray:
        """(pictures,): the first's mean over seeds minus the second's, NaN where either is missing."""
        with np.errstate(invalid="ignore"):
            return self.values(first, column).mean(0) - self.values(second, column).mean(0)

    def _line(self, first: str, second: str, column: str | None) -> Line:
        differences = self.differences(first, second, column)
        lacking = np.isnan(differences)
        count = int((~lacking).sum())
        if not count:
            return Line(0, Cell(None, 0, 0), None, None)
        mean = float(differences[~lacking].mean())
        cell = Cell(mean, count, count)
        if math.isfinite(mean) and count > 1:
            values = {name: np.where(lacking, math.nan, self.values(name, column)) for name in (first, second)}
            drawn = [self._boot.means([each], self.grid.seeds[name]) for name, each in values.items()]
            ends = interval(drawn[0] - drawn[1], mean)
            cell = Cell(mean, count, count, ends.low, ends.high)
        return Line(count, cell, wilcoxon(differences), None)

    def _extremes(self, first: str, second: str) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Each picture stands once on either side, under the degradation where its difference is largest."""
        degradations = self.grid.summary.degradations
        merits = self.grid.sign * np.stack([self.differences(first, second, name) for name in degradations])
        found = []
        for way in (1, -1):
            ranked = np.where(np.isfinite(merits), way * merits, -math.inf)
            best = ranked.argmax(0)
            sizes = ranked[best, np.arange(len(self.pictures))]
            order = [int(i) for i in np.argsort(-sizes, kind="stable")[:EXTREMES] if sizes[i] > 0]
            found.append([(degradations[int(best[i])], i) for i in order])
        return found[0], found[1]


def p_words(p: float | None) -> str:
    """A p-value as it is shown."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def duelists(grid: Grid, look: Look) -> list[str]:
    """The methods whose pairs are worked out: bicubic, the baseline, and of the others those with the best means."""
    means = {name: cell.mean for name in grid.names if (cell := grid.cell(name)).mean is not None}
    ranked = sorted(means, key=lambda name: (name not in (BICUBIC, look.baseline), -grid.merit(means[name] or 0)))
    return [name for name in grid.names if name in ranked[:DUELISTS]]


def opening(grid: Grid, names: Sequence[str], look: Look) -> tuple[str, str]:
    """The pair that the page opens with: the best method that is not the baseline against the baseline, or against bicubic."""
    means = {name: grid.cell(name).mean for name in names}
    others = [name for name in names if name not in (BICUBIC, look.baseline) and means[name] is not None]
    if not others:
        return names[-1], names[0]
    best = max(others, key=lambda name: grid.merit(means[name] or 0))
    return best, look.baseline if look.baseline is not None and look.baseline in names else BICUBIC


def payload(all_duels: Sequence[Duels], look: Look) -> dict[str, Any]:
    """What the page's script shows of one suite; `all_duels`: of its metrics. Numbers for tables are words already."""
    first = all_duels[0]
    summary = first.grid.summary
    pair = opening(first.grid, first.names, look)
    return {
        "pictures": first.pictures,
        "degradations": [[name, summary.words[name]] for name in summary.degradations],
        "sets": summary.sets,
        "methods": [[name, look.colours[name]] for name in first.names],
        "pair": [first.names.index(name) for name in pair],
        "metrics": {duels.grid.summary.key: _metric(duels, first) for duels in all_duels},
    }


def _metric(duels: Duels, first: Duels) -> dict[str, Any]:
    summary = duels.grid.summary
    places = {place: index for index, place in enumerate(first.pictures)}
    decimals = metric_of(summary.metric).decimals

    def column(name: str, degradation: str) -> list[float | None]:
        found: list[float | None] = [None] * len(first.pictures)
        for place, value in zip(duels.pictures, duels.values(name, degradation).mean(0), strict=True):
            if place in places and math.isfinite(value):
                found[places[place]] = round(float(value), decimals)
        return found

    known = {name: index for index, name in enumerate(first.names)}
    numbers = {name: index for index, name in enumerate(summary.degradations)}
    pairs = {}
    for one, two in duels.pairs():
        duel = duels.duel(one, two)
        pairs[f"{known[one]}-{known[two]}"] = {
            "lines": [_words(duels.grid, duel.lines[column]) for column in duels.columns],
            "ends": [
                [
                    [numbers[name], places[duels.pictures[i]], signed(float(duels.differences(one, two, name)[i]), summary.metric)]
                    for name, i in end
                ]
                for end in (duel.gains, duel.losses)
            ],
        }
    values = [[column(name, degradation) for degradation in first.grid.summary.degradations] for name in first.names]
    return {"title": summary.title, "unit": summary.unit, "decimals": decimals, "sign": duels.grid.sign, "values": values, "pairs": pairs}


def _words(grid: Grid, line: Line) -> list[Any]:
    """count, mean, low, high, p, adjusted p, and who is better: 1 or −1 where the interval excludes 0, else 0."""
    cell, metric = line.cell, grid.summary.metric
    ends = [signed(end, metric) if end is not None else "" for end in (cell.low, cell.high)]
    better = grid.sign * (1 if (cell.mean or 0) > 0 else -1) if cell.certain else 0
    return [line.count, signed(cell.mean, metric), *ends, p_words(line.p), p_words(line.adjusted), better]


def static_table(duels: Duels, look: Look) -> Html:
    """The table of the opening pair, for a reader without script."""
    summary = duels.grid.summary
    one, two = opening(duels.grid, duels.names, look)
    duel = duels.duel(one, two)
    rows = []
    for name in duels.columns:
        line = duel.lines[name]
        fields = {"n": line.count, "gain": signed(line.cell.mean, summary.metric), "between": bounds(line.cell, summary.metric, gain=True)}
        label = name or "mean of all"
        rows.append(fill("duel-row", label=label, p=p_words(line.p), adjusted=p_words(line.adjusted) if name else "", **fields))
    return fill("duel-static", suite=summary.suite, metric=summary.title, first=one, second=two, rows=rows)


def section(by_suite: Sequence[Sequence[Duels]], look: Look, left_out: Sequence[str]) -> Html:
    """The section with the two selects; what they choose among stands in the page's JSON."""
    first = by_suite[0][0]
    without = [
        fill("duel-few", suite=duels[0].grid.summary.suite, count=f"there are {plural(len(duels[0].pictures), 'picture')}")
        for duels in by_suite
        if len(duels[0].pictures) < FEWEST
    ]
    left = f"Pairs are worked out for {len(first.names)} methods; without {', '.join(left_out)}. " if left_out else ""
    twice = {place: other for duels in by_suite for place, other in duels[0].twice.items()}
    left += "; ".join(f"{' '.join(place)} is the same picture as {' '.join(other)} and counts once" for place, other in twice.items())
    return fill("duel", tables=[static_table(first, look)], left_out=left, without=without)
